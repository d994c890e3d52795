"""The two stacks of Gated PixelCNN: what they see, colour by colour, and that rows and pixels give the same."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.closeness import assert_close
from tfar import testing
from tfar.layers import HorizontalConv2D, VerticalConv2D


def built(layer, shape, batch=2):
    x = tf.constant(np.random.default_rng(0).normal(size=(batch, *shape)), tf.float32)
    layer(x)
    testing.randomize_weights(layer)
    return layer, x


def sees(layer, x):
    """bool [cells, cells]: target, source."""
    return testing.dependencies(layer, x).any(0)


def grid(height, width):
    """Row and column of target (first axis) and source (second axis) for all pairs of cells."""
    rows, columns = (index.ravel() for index in np.indices((height, width)))
    return rows[:, None], columns[:, None], rows[None], columns[None]


VERTICAL = [((1, 1), False), ((2, 3), False), ((3, 5), False), ((1, 3), True), ((2, 5), True)]


@pytest.mark.parametrize(("kernel_size", "exclusive"), VERTICAL)
def test_vertical_sees_rows_above(kernel_size, exclusive):
    layer, x = built(VerticalConv2D(3, kernel_size, exclusive), (5, 4, 2))
    i, j, p, q = grid(5, 4)
    up = i - p - int(exclusive)
    expected = (up >= 0) & (up < kernel_size[0]) & (np.abs(j - q) <= kernel_size[1] // 2)
    np.testing.assert_array_equal(sees(layer, x), expected)


# The others are those of tests/conformance.
@pytest.mark.parametrize(
    ("kernel_size", "exclusive"),
    [pytest.param(*case, marks=[pytest.mark.large] * (case[0] in [(1, 1), (2, 3), (2, 5)])) for case in VERTICAL],
)
def test_vertical_steps_match_parallel(kernel_size, exclusive):
    layer, x = built(VerticalConv2D(3, kernel_size, exclusive), (5, 4, 2))
    blocks = [(0, 5), (1, 2), (3, 2), (2, 1)]
    testing.assert_incremental_matches_parallel(layer, x, blocks=blocks, modes=("eager",))


def test_vertical_is_its_formula():
    layer, x = built(VerticalConv2D(3, (2, 3)), (3, 3, 2))
    window = x.numpy()[:, :2].reshape(2, -1)  # the 2 x 3 taps around the pixel (1, 1)
    expected = window @ layer.kernel.numpy().reshape(-1, 3) + layer.bias.numpy()
    assert_close(layer(x)[:, 1, 1], expected)


HORIZONTAL = [(1, False), (3, False), (5, False), (3, True), (7, True)]


@pytest.mark.parametrize(("kernel_size", "exclusive"), HORIZONTAL)
def test_horizontal_sees_the_row_to_the_left(kernel_size, exclusive):
    layer, x = built(HorizontalConv2D(3, kernel_size, exclusive), (3, 6, 2))
    i, j, p, q = grid(3, 6)
    left = j - q
    expected = (i == p) & (left >= int(exclusive)) & (left <= kernel_size // 2)
    np.testing.assert_array_equal(sees(layer, x), expected)


@pytest.mark.parametrize(
    ("kernel_size", "exclusive"), [pytest.param(3, False, marks=pytest.mark.large), (5, False), (7, True)]
)
def test_horizontal_steps_match_parallel(kernel_size, exclusive):
    layer, x = built(HorizontalConv2D(3, kernel_size, exclusive), (3, 5, 2))
    testing.assert_incremental_matches_parallel(layer, x, blocks=[(0, 3), (1, 1), (1, 2)], modes=("eager",))


@pytest.mark.parametrize("exclusive", [False, True], ids=["B", "A"])
@pytest.mark.parametrize("outputs", ["interleaved", "contiguous"])
@pytest.mark.parametrize("inputs", ["interleaved", "contiguous"])
@pytest.mark.parametrize("halves", [1, 2])
def test_colours_see_earlier_colours(exclusive, outputs, inputs, halves):
    """7 input and 2 x 4 output maps in 3 groups of uneven sizes; both halves of a gate have the same groups."""
    filters = 4 * halves
    layer = HorizontalConv2D(filters, 3, exclusive, 3, outputs, input_groups=inputs, halves=halves)
    layer, x = built(layer, (2, 3, 7))
    found = testing.dependencies(layer, x, num_targets=6 * filters, num_sources=6 * 7).any(0)
    found = found.reshape(2, 3, filters, 2, 3, 7)

    def groups(count, layout):
        return [c % 3 if layout == "interleaved" else c * 3 // count for c in range(count)]

    targets, sources = np.array(groups(4, outputs) * halves), np.array(groups(7, inputs))
    centre = sources < targets[:, None] if exclusive else sources <= targets[:, None]
    np.testing.assert_array_equal(found[1, 1, :, 1, 1], centre)
    assert found[1, 1, :, 1, 0].all()  # the pixel to the left is seen in all colours
    assert not found[1, 1, :, 1, 2].any()
    assert not found[1, 1, :, 0].any()


@pytest.mark.parametrize("exclusive", [pytest.param(False, marks=pytest.mark.large), True], ids=["B", "A"])
def test_colours_step_matches_parallel(exclusive):
    layer = HorizontalConv2D(6, 5, exclusive, 3, "contiguous", input_groups="interleaved", halves=2)
    layer, x = built(layer, (3, 4, 3))
    testing.assert_incremental_matches_parallel(layer, x, modes=("eager",))


def test_masks_hold_whatever_the_weights_become():
    """The mask is in the forward pass: an update that ignores it cannot make the layer leak."""
    layer, x = built(HorizontalConv2D(3, 3, True, 3), (1, 2, 3))
    before = layer(x).numpy()
    for value in (1e6, -3.0):
        kernel = layer.kernel.numpy()
        kernel[layer._mask == 0] = value
        layer.kernel.assign(kernel)
        np.testing.assert_array_equal(layer(x), before)


@pytest.mark.parametrize("kernel_size", [(2, 2), (0, 3), (3,), (2, 0)])
def test_vertical_refuses_kernel_sizes(kernel_size):
    with pytest.raises(ValueError, match=r"kernel_size must be \(rows, columns\), columns odd, got"):
        VerticalConv2D(2, kernel_size)


@pytest.mark.parametrize(("kernel_size", "exclusive"), [(2, False), (0, False), (1, True)])
def test_horizontal_refuses_kernel_sizes(kernel_size, exclusive):
    with pytest.raises(ValueError, match=f"kernel_size must be odd, and at least 3 where exclusive, got {kernel_size}"):
        HorizontalConv2D(2, kernel_size, exclusive)


@pytest.mark.parametrize("cls", [VerticalConv2D, HorizontalConv2D])
def test_refuses_no_filters(cls):
    with pytest.raises(ValueError, match="filters must be at least 1, got 0"):
        cls(0, 3 if cls is HorizontalConv2D else (1, 3))


def test_refuses_an_unknown_layout_of_colours():
    with pytest.raises(ValueError, match="channel_groups must be one of .*, got 'mixed'"):
        HorizontalConv2D(3, 3, groups=3, channel_groups="mixed")(tf.zeros([1, 2, 2, 3]))


class TwoStacks(keras.layers.Layer):
    """An exclusive vertical stack that enters a horizontal one."""

    def __init__(self, kernel_size, exclusive):
        super().__init__()
        self.vertical = VerticalConv2D(4, (2, 3), exclusive=True)
        self.first = None if exclusive else HorizontalConv2D(4, 3, exclusive=True)
        self.horizontal = HorizontalConv2D(3, kernel_size, exclusive)

    def call(self, x):
        return self.horizontal(x if self.first is None else self.first(x), self.vertical(x))


@pytest.mark.parametrize(
    ("kernel_size", "exclusive"),
    [
        (1, False),
        (3, False),
        (5, True),
        *(pytest.param(*case, marks=pytest.mark.large) for case in ((7, False), (3, True))),
    ],
)
def test_link_steps_match_parallel(kernel_size, exclusive):
    layer, x = built(TwoStacks(kernel_size, exclusive), (5, 4, 2))
    blocks = [(0, 5), (1, 2), (3, 2), (2, 1)]
    testing.assert_incremental_matches_parallel(
        layer, x, blocks=blocks, exclusive=True, modes=("eager",), tolerance=1e-5
    )


def test_link_is_a_one_by_one_convolution_of_the_vertical_stack():
    x, v = (tf.constant(np.random.default_rng(i).normal(size=(2, 3, 4, 2)), tf.float32) for i in (1, 2))
    layer = HorizontalConv2D(3, 3)
    layer(x, v)
    testing.randomize_weights(layer)
    link = tf.einsum("bijv,vf->bijf", v, layer.link_kernel[0, 0])
    assert_close(layer(x, v), layer(x, tf.zeros_like(v)) + link)
