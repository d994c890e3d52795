import numpy as np
import pytest
import tensorflow as tf

from tests.closeness import assert_close
from tfar.core.scope import Incremental
from tfar.layers import DiagonalLSTM
from tfar.layers.diagonal_lstm import skew, unskew
from tfar.testing import assert_incremental_matches_parallel, dependencies, randomize_weights


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def by_pixel(layer: DiagonalLSTM, x: np.ndarray, condition: np.ndarray | None = None) -> np.ndarray:
    """The two-dimensional LSTM pixel by pixel, in the words of the paper: mirror, run, mirror back, shift down."""
    kernel, (above, before) = layer.kernel.numpy()[0] * layer.mask[0], layer.recurrent_kernel.numpy()
    c_0 = layer.initial.numpy()
    batch, height, width, _ = x.shape
    offset = np.zeros((batch, height, width, 1)) + layer.bias.numpy()
    if condition is not None:
        given = condition @ layer.condition_kernel.numpy()
        offset = offset + (given if condition.ndim == 4 else given[:, None, None])
    mirror = layer.direction == "right_to_left"
    if mirror:
        x, offset = x[:, :, ::-1], offset[:, :, ::-1]
    states = {}
    y = np.zeros((batch, height, width, layer.filters))
    for i in range(height):
        for j in range(width):
            h_above, _ = states.get((i - 1, j), (np.tanh(c_0), None))
            h_left, c_left = states.get((i, j - 1), (np.tanh(c_0), c_0))
            gates = x[:, i, j] @ kernel + h_above @ above + h_left @ before + offset[:, i, j]
            o, f, i_, g = np.split(gates, 4, -1)
            c = sigmoid(f) * c_left + sigmoid(i_) * np.tanh(g)
            states[i, j] = sigmoid(o) * np.tanh(c), c
            y[:, i, j] = states[i, j][0]
    if not mirror:
        return y
    return np.concatenate([np.zeros_like(y[:, :1]), y[:, :-1, ::-1]], 1)


def built(x, condition=None, **kwargs):
    layer = DiagonalLSTM(**{"filters": 3, **kwargs})
    layer(x) if condition is None else layer(x, condition)
    randomize_weights(layer)
    return layer


def inputs(height=4, width=5, channels=4, seed=0):
    return np.random.default_rng(seed).normal(size=(2, height, width, channels)).astype(np.float32)


@pytest.mark.parametrize("direction", ["left_to_right", "right_to_left"])
@pytest.mark.parametrize("shape", [(4, 5), (5, 2), (1, 4), (3, 1)])
def test_equals_a_loop_over_pixels(direction, shape):
    x = inputs(*shape)
    layer = built(x, direction=direction)
    assert_close(layer(x), by_pixel(layer, x))


@pytest.mark.parametrize("direction", ["left_to_right", "right_to_left"])
@pytest.mark.parametrize("shape", [(2, 3), (2, 4, 5, 3)])
def test_condition_enters_the_gates(direction, shape):
    x, condition = inputs(), np.random.default_rng(1).normal(size=shape).astype(np.float32)
    layer = built(x, condition, direction=direction, groups=2)
    assert_close(layer(x, condition), by_pixel(layer, x, condition))


def test_compiled_equals_a_loop_over_pixels_with_its_gradient():
    x = inputs(3, 3)
    layer = built(x, direction="right_to_left")

    def gradient(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(x) ** 2)
        return tape.gradient(loss, layer.trainable_weights)

    eager = gradient(tf.constant(x))
    compiled = tf.function(gradient, jit_compile=True, autograph=False)(tf.constant(x))
    for weight, one, other in zip(layer.trainable_weights, eager, compiled, strict=True):
        assert np.abs(one).max() > 0, weight.name
        assert_close(one, other, 1e-4)


@pytest.mark.parametrize("shape", [(2, 3, 4, 2), (1, 1, 5, 1), (1, 5, 1, 1), (3, 4, 4, 1)])
def test_skew_and_back(shape):
    x = np.random.default_rng(0).normal(size=shape)
    skewed = skew(tf.constant(x)).numpy()
    rows, width = shape[1:3]
    assert skewed.shape[2] == rows + width - 1
    for i in range(rows):
        np.testing.assert_array_equal(skewed[:, i, i : i + width], x[:, i])
    assert np.count_nonzero(skewed) == np.count_nonzero(x)
    np.testing.assert_array_equal(unskew(tf.constant(skewed)), x)


def sees(layer, x):
    """Which pixels of the input [p, q] every pixel [i, j] of the output depends on, bool [i, j, p, q]."""
    height, width = x.shape[1:3]
    return (dependencies(layer, tf.constant(x)) > 0).any(0).reshape(height, width, height, width)


def test_sees_all_that_is_above_and_to_its_side():
    x = inputs(4, 5)
    i, j, p, q = np.indices((4, 5, 4, 5))
    np.testing.assert_array_equal(sees(built(x), x), (p <= i) & (q <= j))
    # Shifted down: the row itself is not seen; a public implementation leaks here.
    np.testing.assert_array_equal(sees(built(x, direction="right_to_left"), x), (p < i) & (q >= j))


def test_first_row_from_right_to_left_is_zero():
    x = inputs()
    y = built(x, direction="right_to_left")(x).numpy()
    assert not y[:, 0].any() and y[:, 1:].all()


@pytest.mark.parametrize("direction", ["left_to_right", "right_to_left"])
def test_colours_of_a_pixel_are_ordered(direction):
    layer = built(inputs(channels=6), groups=3, direction=direction)
    order = np.triu(np.ones((3, 3)))  # R sees R; G sees R, G; B sees all
    assert layer.mask.shape == (1, 6, 12)
    np.testing.assert_array_equal(layer.mask[0], np.tile(order, (2, 4)))


@pytest.mark.parametrize(
    ("direction", "shape"),
    [
        ("left_to_right", (5, 4, 2)),
        ("right_to_left", (2,)),
        pytest.param("left_to_right", (2,), marks=pytest.mark.large),
        pytest.param("right_to_left", (5, 4, 2), marks=pytest.mark.large),
    ],
)
def test_blocks_leave_the_state_of_single_rows(direction, shape):
    x, condition = inputs(5, 4), tf.random.stateless_normal([2, *shape], [1, 0])
    layer = built(x, condition, direction=direction)
    blocks = [(0, 1), (0, 2), (1, 3), (2, 1), (0, 5)]
    assert assert_incremental_matches_parallel(layer, x, condition, modes=("function",), blocks=blocks) < 1e-5


def test_steps_of_a_sequence_are_refused():
    with pytest.raises(RuntimeError, match="works on images"), Incremental({}, at=0):
        built(inputs())(tf.zeros([1, 4, 5, 4]))


@pytest.mark.parametrize(
    "argument, message",
    [
        ({"filters": 0}, "filters must be at least 1, got 0"),
        ({"direction": "down"}, "direction must be one of .* got 'down'"),
    ],
)
def test_wrong_arguments_are_named(argument, message):
    with pytest.raises(ValueError, match=message):
        DiagonalLSTM(**{"filters": 2, **argument})
