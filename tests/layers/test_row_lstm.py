import numpy as np
import pytest
import tensorflow as tf

from tests.closeness import assert_close
from tfar.core.scope import Incremental
from tfar.layers import RowLSTM
from tfar.testing import assert_incremental_matches_parallel, dependencies, randomize_weights


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def by_pixel(layer: RowLSTM, x: np.ndarray, condition: np.ndarray | None = None) -> np.ndarray:
    """The LSTM of every pixel, from its own row to the left and from three (or more) states of the row above."""
    kernel, recurrent = layer.kernel.numpy() * layer.mask, layer.recurrent_kernel.numpy()
    c_0, (left, side) = layer.initial.numpy(), (len(kernel) // 2, len(recurrent) // 2)
    batch, height, width, _ = x.shape
    h, c = np.tile(np.tanh(c_0), (batch, width, 1)), np.tile(c_0, (batch, width, 1))
    rows = []
    for i in range(height):
        new_h, new_c = np.zeros_like(h), np.zeros_like(c)
        for j in range(width):
            gates = np.tile(layer.bias.numpy(), (batch, 1))
            if condition is not None:
                gates = gates + (condition[:, i, j] if condition.ndim == 4 else condition) @ layer.condition_kernel
            for m in range(-left, 1):
                if j + m >= 0:
                    gates = gates + x[:, i, j + m] @ kernel[left + m]
            for m in range(-side, side + 1):
                if 0 <= j + m < width:
                    gates = gates + h[:, j + m] @ recurrent[side + m]
            o, f, i_, g = np.split(np.asarray(gates), 4, -1)
            new_c[:, j] = sigmoid(f) * c[:, j] + sigmoid(i_) * np.tanh(g)
            new_h[:, j] = sigmoid(o) * np.tanh(new_c[:, j])
        h, c = new_h, new_c
        rows.append(h)
    return np.stack(rows, 1)


def built(x, condition=None, **kwargs):
    layer = RowLSTM(**{"filters": 3, **kwargs})
    layer(x) if condition is None else layer(x, condition)
    randomize_weights(layer)
    return layer


def inputs(height=4, width=5, channels=4, seed=0):
    return np.random.default_rng(seed).normal(size=(2, height, width, channels)).astype(np.float32)


@pytest.mark.parametrize("sizes", [(3, 3), (1, 3), (5, 1), (5, 5)])
@pytest.mark.parametrize("shape", [(4, 5), (5, 2), (1, 4), (3, 1)])
def test_equals_a_loop_over_pixels(sizes, shape):
    x = inputs(*shape)
    layer = built(x, kernel_size=sizes[0], state_kernel_size=sizes[1])
    assert_close(layer(x), by_pixel(layer, x))


@pytest.mark.parametrize("shape", [(2, 3), (2, 4, 5, 3)])
def test_condition_enters_the_gates(shape):
    x, condition = inputs(), np.random.default_rng(1).normal(size=shape).astype(np.float32)
    layer = built(x, condition, groups=2)
    assert_close(layer(x, condition), by_pixel(layer, x, condition))


def test_compiled_gradient_is_that_of_the_plain_graph():
    x = inputs(3, 3)
    layer = built(x)

    def gradient(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(x) ** 2)
        return tape.gradient(loss, layer.trainable_weights)

    eager = gradient(tf.constant(x))
    compiled = tf.function(gradient, jit_compile=True, autograph=False)(tf.constant(x))
    for weight, one, other in zip(layer.trainable_weights, eager, compiled, strict=True):
        assert np.abs(one).max() > 0, weight.name
        assert_close(one, other, 1e-4)


@pytest.mark.parametrize("kernel_size, state_kernel_size", [(1, 3), (3, 3), (3, 5)])
def test_sees_a_triangle(kernel_size, state_kernel_size):
    height, width, side = 4, 7, state_kernel_size // 2
    x = inputs(height, width)
    layer = built(x, kernel_size=kernel_size, state_kernel_size=state_kernel_size)
    found = (dependencies(layer, tf.constant(x)) > 0).any(0).reshape(height, width, height, width)
    for i in range(height):
        for j in range(width):
            expected = {
                (p, q)
                for p in range(i + 1)
                # From the states in reach of the row, so many taps to the left; the kernel is not causal above, so
                # the right half of the triangle is there.
                for state in range(max(0, j - side * (i - p)), min(width - 1, j + side * (i - p)) + 1)
                for q in range(max(0, state - kernel_size // 2), state + 1)
            }
            assert {tuple(int(k) for k in cell) for cell in np.argwhere(found[i, j])} == expected


def test_colours_of_a_pixel_are_ordered_and_the_pixels_to_the_right_masked():
    layer = built(inputs(channels=6), groups=3, channel_groups="contiguous")
    assert layer.mask.shape == (3, 6, 12)
    assert layer.mask[0].all() and not layer.mask[2].any()
    order = np.repeat(np.triu(np.ones((3, 3))), 2, 0)
    np.testing.assert_array_equal(layer.mask[1], np.tile(order, (1, 4)))


def test_parameters_are_those_of_whole_kernels():
    layer = built(inputs(channels=6), filters=4)
    # Input-to-state and state-to-state of 3 taps, biases, the initial state.
    assert layer.count_params() == 3 * 6 * 16 + 3 * 4 * 16 + 16 + 4


@pytest.mark.parametrize(
    ("kernel_size", "shape"),
    [
        (1, (5, 4, 2)),
        (7, (2,)),
        *(
            pytest.param(*case, marks=pytest.mark.large)
            for case in ((1, (2,)), (3, (2,)), (3, (5, 4, 2)), (7, (5, 4, 2)))
        ),
    ],
)
def test_blocks_leave_the_state_of_single_rows(shape, kernel_size):
    x, condition = inputs(5, 4), tf.random.stateless_normal([2, *shape], [1, 0])
    layer = built(x, condition, kernel_size=kernel_size)
    blocks = [(0, 1), (0, 2), (1, 3), (2, 1), (0, 5)]
    assert assert_incremental_matches_parallel(layer, x, condition, modes=("function",), blocks=blocks) < 1e-5


def test_steps_of_a_sequence_are_refused():
    with pytest.raises(RuntimeError, match="works on images"), Incremental({}, at=0):
        built(inputs())(tf.zeros([1, 4, 5, 4]))


@pytest.mark.parametrize(
    "argument, message",
    [
        ({"filters": 0}, "filters must be at least 1, got 0"),
        ({"kernel_size": 2}, "kernel_size must be odd, got 2"),
        ({"state_kernel_size": 0}, "state_kernel_size must be odd, got 0"),
    ],
)
def test_wrong_arguments_are_named(argument, message):
    with pytest.raises(ValueError, match=message):
        RowLSTM(**{"filters": 2, **argument})
