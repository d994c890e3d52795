import numpy as np
import pytest
import tensorflow as tf

from tests.closeness import assert_close
from tfar import orderings
from tfar.core.scope import Incremental
from tfar.core.states import initial_state
from tfar.layers import LocallyMaskedConv2D, MaskedConv2D
from tfar.testing import dependencies, randomize_weights

GRID = (3, 4)
X = np.random.default_rng(0).normal(size=(2, 12, 2)).astype(np.float32)


def layer(**kwargs):
    built = LocallyMaskedConv2D(3, GRID, **kwargs)
    built(X)
    randomize_weights(built)
    return built


@pytest.mark.parametrize("mask_type", ["A", "B"])
@pytest.mark.parametrize("kernel_size", [3, 5])
def test_in_raster_order_it_is_a_masked_convolution(mask_type, kernel_size):
    local, masked = layer(kernel_size=kernel_size, exclusive=mask_type == "A"), MaskedConv2D(3, kernel_size, mask_type)
    image = X.reshape(2, *GRID, 2)
    masked(image)
    masked.set_weights(local.get_weights())
    assert_close(tf.reshape(masked(image), [2, 12, 3]), local(X))


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("rate", [1, 2])
@pytest.mark.parametrize("ordering", [orderings.snake(*GRID), orderings.zigzag(*GRID), orderings.random(*GRID, seed=0)])
def test_sees_neighbours_that_are_drawn_before(ordering, exclusive, rate):
    local = layer(exclusive=exclusive, dilation_rate=rate)
    seen = dependencies(lambda x: local(x, ordering.permutation), tf.constant(X))[0] > 0
    ranks, places = ordering.ranks.reshape(-1), np.stack(np.unravel_index(np.arange(12), GRID), -1)
    distance = np.abs(places[:, None] - places[None])
    near = (distance % rate == 0).all(-1) & (distance.max(-1) <= rate)
    expected = near & (ranks[None] < ranks[:, None] + (not exclusive))
    np.testing.assert_array_equal(seen, expected)


def test_rows_may_have_orders_of_their_own():
    local, orders = layer(), np.stack([orderings.random(*GRID, seed=seed).permutation for seed in range(2)])
    apart = np.concatenate([local(X[row : row + 1], orders[row]) for row in range(2)])
    assert_close(local(X, orders), apart, 1e-6)
    # An order that the graph knows only when it runs gives the same mask.
    traced = tf.function(lambda x, order: local(x, order), autograph=False)
    assert_close(traced(X, tf.constant(orders)), apart, 1e-6)
    assert_close(traced(X, tf.constant(orders[0])), local(X, orders[0]), 1e-6)


@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("length", [1, 5])
def test_steps_in_any_order_equal_the_parallel_pass(length, exclusive, rows):
    local = layer(exclusive=exclusive, mask_channel=True, kernel_size=5)
    order = np.stack([orderings.random(*GRID, seed=seed).permutation for seed in range(2)])
    order = order if rows else order[0]
    drawn = np.take_along_axis(X, np.broadcast_to(order, (2, 12))[..., None], 1)
    given = np.pad(drawn[:, :-1], [[0, 0], [1, 0], [0, 0]]) if exclusive else drawn
    state = initial_state(local, 2, {"step": (1, 2)}, tf.constant(order) if rows else None)
    outputs = []
    for t in range(0, 12, length):
        with Incremental(state, at=t, length=min(length, 12 - t)) as scope:
            outputs.append(local(given[:, t : t + length], order))
        state = scope.state
    expected = np.take_along_axis(local(X, order).numpy(), np.broadcast_to(order, (2, 12))[..., None], 1)
    assert_close(np.concatenate(outputs, 1), expected)
    assert not state["./map"].numpy()[:, -1].any()


def test_the_mask_channel_tells_padding_from_zeros():
    local, zeros = layer(mask_channel=True), np.zeros_like(X)
    found = local(zeros, orderings.raster(*GRID).permutation).numpy()[0]
    assert np.abs(found[0] - found[5]).max() > 0.01  # a corner, and a pixel inside
    plain = layer()(zeros).numpy()[0]
    np.testing.assert_array_equal(plain, np.broadcast_to(plain[0], plain.shape))


@pytest.mark.parametrize(
    "argument, message",
    [
        ({"kernel_size": 2}, "kernel_size must be odd"),
        ({"kernel_size": 1, "exclusive": True}, "at least 3 where exclusive, got 1"),
        ({"dilation_rate": 0}, "dilation_rate must be at least 1, got 0"),
    ],
)
def test_wrong_arguments_are_named(argument, message):
    with pytest.raises(ValueError, match=message):
        layer(**argument)


def test_images_come_as_pixels():
    with pytest.raises(ValueError, match=r"x must be \[B, 12, C\]"):
        LocallyMaskedConv2D(3, GRID)(X.reshape(2, *GRID, 2))
    local = layer()
    with pytest.raises(RuntimeError, match="has no row phase"), Incremental(None, at=0, phase="row"):
        local(X)
