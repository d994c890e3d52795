"""One draw: noise, temperature and known values become the value of a position."""

import numpy as np
import pytest
import tensorflow as tf

from tfar import heads
from tfar.core.event import Event
from tfar.sampling import Draw
from tfar.sampling.draw import batch_first, cells_first, reorder, write


def test_cells_first_and_back():
    event = Event((2, 3, 2), heads.Categorical(4))
    x = tf.reshape(tf.range(24), [2, 2, 3, 2])
    cells = cells_first(x)
    assert tuple(cells.shape) == (6, 2, 2)
    np.testing.assert_array_equal(cells[4, 1], x[1, 1, 1])
    np.testing.assert_array_equal(batch_first(cells, event), x)


def test_write_replaces_one_cell():
    canvas = write(tf.zeros([3, 2, 1]), tf.constant(1), tf.ones([2, 1]))
    assert canvas[..., 0].numpy().tolist() == [[0, 0], [1, 1], [0, 0]]


@pytest.mark.parametrize("batch_axis", [1, 2])
def test_reorder(batch_axis):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 2, 3) if batch_axis == 1 else (4, 3, 2))
    one = reorder(tf.constant(x), np.array([2, 0, 3, 1]), batch_axis)
    np.testing.assert_array_equal(one, x[[2, 0, 3, 1]])
    rows = np.array([[2, 0, 3, 1], [0, 1, 3, 2]])
    own = reorder(tf.constant(x), rows, batch_axis).numpy()
    for row in range(2):
        pick = (slice(None), row) if batch_axis == 1 else (slice(None), slice(None), row)
        np.testing.assert_array_equal(own[pick], x[pick][rows[row]])


def test_reorder_by_ranks_undoes_reorder_by_permutation():
    permutation = np.random.default_rng(0).permutation(6)
    x = tf.reshape(tf.range(12), [6, 2, 1])
    np.testing.assert_array_equal(reorder(reorder(x, permutation), np.argsort(permutation)), x)


def test_channel_reads_its_own_noise_and_temperature():
    event = Event((1, 2, 2), heads.Bernoulli())
    noise = tf.constant([[0.1, 0.9, 0.4, 0.6]])[..., None]  # cell 0: channels 0, 1; cell 1: channels 0, 1
    draw = Draw(noise, tf.ones([1])).by_cell(event)
    values = [[int(draw.channel(event, tf.zeros([1, 1]), cell, c)[0]) for c in range(2)] for cell in range(2)]
    assert values == [[0, 1], [0, 1]]
    params = tf.constant([[1.0]])  # p(1) = 0.73, at temperature 0.1 0.99995
    cold = Draw(noise, tf.constant([0.1])).by_cell(event)
    assert int(draw.channel(event, params, 0, 0)[0]) == 0
    assert int(cold.channel(event, params, 0, 0)[0]) == 1


def test_observed_values_win():
    event = Event((1, 2, 2), heads.Categorical(4))
    values = tf.constant([[[[3, 0], [2, 1]]]])
    observed = tf.constant([[[[True, False], [False, True]]]])
    draw = Draw(tf.fill([1, 4, 1], 0.01), tf.ones([1]), values, observed).by_cell(event)
    params = tf.zeros([1, 4])
    assert [int(draw.channel(event, params, cell, c)[0]) for cell in (0, 1) for c in (0, 1)] == [3, 0, 0, 1]


def test_a_whole_pixel_keeps_its_observed_channels():
    event = Event((1, 2, 3), heads.DiscretizedLogisticMixture(2, bits=3))
    values = tf.constant([[[[7, 1, 2], [4, 5, 6]]]])
    observed = tf.constant([[[[True, True, False], [False, False, False]]]])
    noise = tf.random.stateless_uniform([1, 2, event.head.noise_size], [0, 1])
    params = tf.random.stateless_normal([1, event.head.params_size], [0, 2])
    kept = Draw(noise, tf.ones([1]), values, observed).by_cell(event).pixel(event, params, 0)
    assert kept.shape == (1, 3)
    assert kept[0, :2].numpy().tolist() == [7, 1]
    free = Draw(noise, tf.ones([1])).by_cell(event)
    np.testing.assert_array_equal(
        Draw(noise, tf.ones([1]), values, observed).by_cell(event).pixel(event, params, 1), free.pixel(event, params, 1)
    )
