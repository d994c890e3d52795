"""What the values of a batch are drawn from: noise, temperature and known values become the value of a site."""

import numpy as np
import tensorflow as tf

from tfar import heads
from tfar.core.carry import Site
from tfar.core.event import Event
from tfar.sampling import SampleInputs
from tfar.sampling.inputs import batch_first, cells_first, in_order


def drawn(inputs, event, params, cell, group=0):
    value, aux = inputs.chooser(event)(params, Site(cell, cell, group), "aux")
    assert aux == "aux"
    return value[0].numpy().tolist()


def test_cells_first_and_back():
    event = Event((2, 3, 2), heads.Categorical(4))
    x = tf.reshape(tf.range(24), [2, 2, 3, 2])
    cells = cells_first(x)
    assert tuple(cells.shape) == (6, 2, 2)
    np.testing.assert_array_equal(cells[4, 1], x[1, 1, 1])
    np.testing.assert_array_equal(batch_first(cells, event), x)


def test_cells_in_an_order_for_all_or_for_each():
    x = np.random.default_rng(0).normal(size=(2, 4, 3))
    np.testing.assert_array_equal(in_order(tf.constant(x), np.array([2, 0, 3, 1])), x[:, [2, 0, 3, 1]])
    rows = np.array([[2, 0, 3, 1], [0, 1, 3, 2]])
    own = in_order(tf.constant(x), rows).numpy()
    for row in range(2):
        np.testing.assert_array_equal(own[row], x[row][rows[row]])
    event = Event((4,), heads.Bernoulli(), "sequence")
    cells = cells_first(tf.constant(x[..., :1]), rows)
    np.testing.assert_array_equal(batch_first(cells, event, np.argsort(rows, 1)), x[..., :1])


def test_a_colour_reads_its_own_noise_and_temperature():
    event = Event((1, 2, 2), heads.Bernoulli())
    noise = tf.constant([[0.1, 0.9, 0.4, 0.6]])[..., None]  # cell 0: channels 0, 1; cell 1: channels 0, 1
    inputs = SampleInputs(noise, tf.ones([1]))
    values = [[drawn(inputs, event, tf.zeros([1, 1]), cell, c) for c in range(2)] for cell in range(2)]
    assert values == [[[0], [1]], [[0], [1]]]
    params = tf.constant([[1.0]])  # p(1) = 0.73, at temperature 0.1 0.99995
    assert drawn(inputs, event, params, 0) == [0]
    assert drawn(SampleInputs(noise, tf.constant([0.1])), event, params, 0) == [1]


def test_observed_values_win():
    event = Event((1, 2, 2), heads.Categorical(4))
    values = tf.constant([[[[3, 0], [2, 1]]]])
    observed = tf.constant([[[[True, False], [False, True]]]])
    inputs = SampleInputs(tf.fill([1, 4, 1], 0.01), tf.ones([1]), values, observed)
    params = tf.zeros([1, 4])
    assert [drawn(inputs, event, params, cell, c) for cell in (0, 1) for c in (0, 1)] == [[3], [0], [0], [1]]


def test_a_whole_pixel_keeps_its_observed_channels():
    event = Event((1, 2, 3), heads.DiscretizedLogisticMixture(2, bits=3))
    values = tf.constant([[[[7, 1, 2], [4, 5, 6]]]])
    observed = tf.constant([[[[True, True, False], [False, False, False]]]])
    noise = tf.random.stateless_uniform([1, 2, event.head.noise_size], [0, 1])
    params = tf.random.stateless_normal([1, event.head.params_size], [0, 2])
    known, free = SampleInputs(noise, tf.ones([1]), values, observed), SampleInputs(noise, tf.ones([1]))
    kept = drawn(known, event, params, 0)
    assert len(kept) == 3 and kept[:2] == [7, 1]
    assert drawn(known, event, params, 1) == drawn(free, event, params, 1)


def test_all_cells_at_once_are_those_of_the_sites():
    event = Event((2, 2, 2), heads.Categorical(4))
    noise = tf.random.stateless_uniform([1, 8, 1], [0, 3])
    outputs = tf.random.stateless_normal([1, 2, 2, 8], [0, 4])
    inputs = SampleInputs(noise, tf.ones([1]))
    for group in range(2):
        every = inputs.draw_all(event, outputs, group)[0, ..., 0].numpy().reshape(-1).tolist()
        params = tf.reshape(outputs, [4, 2, 4])[:, group]
        assert every == [drawn(inputs, event, params[cell : cell + 1], cell, group)[0] for cell in range(4)]
