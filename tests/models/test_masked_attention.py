import numpy as np
import pytest
import tensorflow as tf

import tfar
from tests.closeness import assert_close
from tfar import orderings
from tfar.core.request import Request
from tfar.testing import assert_causal, assert_incremental_matches_parallel, random_events, randomize_weights


def net(event_shape=(4, 4, 1), head=None, ordering=None, **kwargs):
    sizes = {"num_layers": 1, "width": 8, "num_heads": 2}
    model = tfar.models.MaskedAttention(event_shape, head or tfar.heads.Categorical(4), ordering, **{**sizes, **kwargs})
    randomize_weights(model)
    return model


@pytest.fixture(scope="module")
def agnostic():
    return net(ordering="random")


@pytest.mark.parametrize(
    "ordering",
    [
        orderings.reversed_raster(4, 4),
        orderings.hilbert(4, 4),
        orderings.random(4, 4, seed=0),
        pytest.param(orderings.column_major(4, 4), marks=pytest.mark.large),
        pytest.param(orderings.snake(4, 4), marks=pytest.mark.large),
        pytest.param(orderings.zigzag(4, 4), marks=pytest.mark.large),
        pytest.param(orderings.subscale(4, 4, 2), marks=pytest.mark.large),
        pytest.param(orderings.from_permutation([3, 1, 2, 0, *range(4, 16)], (4, 4)), marks=pytest.mark.large),
    ],
)
def test_sees_all_that_is_drawn_before_and_nothing_else(agnostic, ordering):
    assert_causal(agnostic, Request(order=tf.tile(ordering.permutation[None], [8, 1])))


def test_rows_of_a_batch_may_have_orders_of_their_own(agnostic):
    orders = np.stack([orderings.random(16, seed=seed).permutation for seed in range(8)])
    assert_causal(agnostic, Request(order=tf.constant(orders)))
    given = Request(order=tf.constant(orders[:2]))
    blocks = [(0, 16), (3, 5)]
    assert assert_incremental_matches_parallel(agnostic, condition=given, modes=("eager",), blocks=blocks) < 1e-5


@pytest.mark.parametrize("ordering", [orderings.zigzag(4, 4), orderings.random(4, 4, seed=1)])
def test_an_order_is_raster_over_a_permuted_image(ordering):
    ordered, plain = net(ordering=ordering), net()
    plain.set_weights(ordered.get_weights())
    # Vectors of positions move with their cells; the last source is the beginning.
    cells, positions = ordering.permutation, plain.network.positions
    positions.source.assign(tf.gather(positions.source, [*cells, 16]))
    positions.target.assign(tf.gather(positions.target, cells))
    x = random_events(ordered, 3)
    permuted = x.reshape(3, 16)[:, cells].reshape(x.shape)
    score = ordered.score(x).numpy().reshape(3, 16)[:, cells]
    assert_close(plain.score(permuted).numpy().reshape(3, 16), score)
    assert np.abs(plain.score(x).numpy().reshape(3, 16)[:, cells] - score).max() > 0.1


def test_the_target_tells_what_is_to_be_drawn(agnostic):
    # After the same cells, the distribution of the next one depends on which it is.
    first = [5, 2, 7]
    x = random_events(agnostic, 1)
    scores = []
    for last in (9, 11):
        rest = [cell for cell in range(16) if cell not in (*first, last)]
        order = orderings.from_permutation([*first, last, *rest], (4, 4))
        factors = agnostic.conditionals(x, ordering=order).probs_parameter()
        scores.append(tf.reshape(factors, [16, 4])[last])
    assert np.abs(scores[0] - scores[1]).max() > 1e-3


def test_colours_of_a_pixel_follow_each_other():
    model = net(
        (2, 2, 3), tfar.heads.Categorical(3), orderings.column_major(2, 2), condition=tfar.conditions.Spatial(2)
    )
    assert model.ordering.permutation.tolist() == [0, 1, 2, 6, 7, 8, 3, 4, 5, 9, 10, 11]
    assert_causal(model)
    # The map at a pixel is the first thing that its own factors see.
    x, flat = random_events(model, 1), np.zeros([1, 2, 2, 2], np.float32)
    other = flat.copy()
    other[0, 1, 0] = 1  # drawn second
    changed = np.abs(model(x, other) - model(x, flat)).max(-1)[0] > 1e-6
    assert not changed[0, 0].any() and changed[1, 0].all() and changed[:, 1].all()


def test_dropout_works_in_training_alone():
    model = net(dropout=0.5, attention_dropout=0.5)
    x = random_events(model, 2)
    np.testing.assert_array_equal(model(x), model(x))
    assert not np.allclose(model(x, training=True), model(x, training=True))


def test_the_size_of_image_gpt_s():
    preset = {**tfar.models.MaskedAttention.PRESETS["masked_attention_image_gpt_s"], "num_layers": 1}
    model = tfar.models.MaskedAttention(**{**preset, "head": tfar.heads.Categorical(512)})
    block = sum(int(np.prod(weight.shape)) for weight in model.network.blocks[0].weights)
    # 12 width^2 in the kernels, 13 width in biases and normalizations.
    assert block == 12 * 512**2 + 13 * 512
    assert 24 * block + model.count_params() - block == pytest.approx(77e6, rel=0.01)


@pytest.mark.parametrize(
    "argument, message",
    [
        ({"num_layers": 0}, "num_layers must be at least 1, got 0"),
        ({"num_heads": 0}, "num_heads must be at least 1, got 0"),
        ({"width": 9}, "width must be a multiple of num_heads=2, got 9"),
        ({"activation": "tanh"}, "activation must be one of .* got 'tanh'"),
        ({"condition": tfar.conditions.Local(2, 2)}, "condition must be a Label, a Vector or a Spatial"),
        ({"condition": tfar.conditions.Spatial(2), "event_shape": (4,)}, "Label or a Vector for a sequence"),
    ],
)
def test_wrong_arguments_are_named(argument, message):
    with pytest.raises(ValueError, match=message):
        net(**argument)
