"""Events: which values make a cell, a position, a dimension."""

import numpy as np
import pytest
import tensorflow as tf

from tfar import heads
from tfar.core.event import Event

SCALAR, JOINT = heads.Categorical(4), heads.DiscretizedLogisticMixture(2, bits=2)

#          event_shape, head, layout:     grid, channels, groups, positions, factors, dimensions
SHAPES = [
    ((4, 3, 1), SCALAR, "grid", (4, 3), 1, 1, (4, 3, 1), 12, 12),
    ((4, 3, 3), SCALAR, "grid", (4, 3), 3, 3, (4, 3, 3), 36, 36),
    ((4, 3, 3), JOINT, "grid", (4, 3), 3, 1, (4, 3), 12, 36),
    ((4, 3, 3), SCALAR, "sequence", (36,), 1, 1, (4, 3, 3), 36, 36),
    ((4, 3, 3), JOINT, "sequence", (12,), 3, 1, (4, 3), 12, 36),
    ((5,), SCALAR, "sequence", (5,), 1, 1, (5,), 5, 5),
    ((5,), JOINT, "sequence", (5,), 1, 1, (5,), 5, 5),
]


@pytest.mark.parametrize(
    ("shape", "head", "layout", "grid", "channels", "groups", "positions", "factors", "dimensions"), SHAPES
)
def test_shapes(shape, head, layout, grid, channels, groups, positions, factors, dimensions):
    event = Event(shape, head, layout)
    assert (event.grid, event.channels, event.groups, event.positions) == (grid, channels, groups, positions)
    assert (event.num_positions, event.num_dimensions) == (factors, dimensions)
    assert event.num_cells == np.prod(grid)
    assert event.num_outputs == groups * event.head.params_size
    x = tf.reshape(tf.range(2 * dimensions), [2, *shape])
    cells = event.to_grid(x)
    assert tuple(cells.shape) == (2, *grid, channels)
    np.testing.assert_array_equal(tf.reshape(cells, x.shape), x)
    params = event.split(tf.zeros([2, *grid, event.num_outputs]))
    assert tuple(params.shape) == (2, *positions, event.head.params_size)
    nats = event.head.log_prob(params, event.to_head(x % 4))
    assert tuple(nats.shape) == (2, *positions)


def test_outputs_of_a_cell_are_one_block_per_colour():
    event = Event((1, 2, 3), SCALAR)
    outputs = tf.reshape(tf.range(2 * 3 * 4), [1, 1, 2, 12])
    params = event.split(outputs)
    assert params[0, 0, 1, 2].numpy().tolist() == [20, 21, 22, 23]


def test_any_length():
    event = Event((None,), SCALAR, "sequence")
    assert event.grid == (None,)
    assert tuple(event.to_grid(tf.zeros([2, 7], tf.int32)).shape) == (2, 7, 1)
    assert tuple(event.split(tf.zeros([2, 7, 4])).shape) == (2, 7, 4)


@pytest.mark.parametrize(
    ("shape", "layout", "message"),
    [
        ((28, 28), "grid", r"\(height, width, channels\) or \(length,\), got \(28, 28\)"),
        ((4, 0, 1), "grid", "event_shape must be"),
        ((4, None, 1), "grid", "event_shape of an image must be known"),
        ((5,), "grid", "for a model of images"),
        ((), "sequence", "event_shape must be"),
    ],
)
def test_refuses_by_name(shape, layout, message):
    with pytest.raises(ValueError, match=message):
        Event(shape, SCALAR, layout)
