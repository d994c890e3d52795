"""Steps of models of several parts: what they hand out is what Python draws."""

import numpy as np
import pytest
import tensorflow as tf

import tfar
from export.writer.part_sampler import PartSampler
from tfar import heads, testing
from tfar.models import MultiscalePixelCNN
from tfar.testing.registry.chains import CHAINS

SEEDS = tfar.core.seed_rows(3, 3)


@pytest.fixture(autouse=True)
def op_by_op():
    """A few steps run sooner than they are traced; tests/export/test_everywhere.py has them in exports."""
    with testing.eagerly():
        yield


@pytest.fixture(scope="module")
def model():
    built = next(case for case in CHAINS if case.name == "MultiscalePixelCNN_rgb").build()
    testing.randomize_weights(built)
    return built


@pytest.fixture
def sampler(model):
    return PartSampler(model)


def drawn(sampler, examples, counts):
    """Cells of every example, handed out by steps of these counts [steps][B]."""
    found = np.full([3, sampler.units, sampler.model.event.channels], -1)
    for n in counts:
        before = sampler.position(examples).numpy()
        examples, chunk = sampler.step(examples, tf.constant(n, tf.int32))
        for row in range(3):
            count = int(chunk.count[row])
            assert int(chunk.position[row]) == before[row] + count
            found[row, chunk.cells[row, :count].numpy()] = chunk.values[row, :count]
    assert (chunk.done.numpy() == 1).all()
    return found.reshape(3, *sampler.model.event_shape)


def test_steps_draw_what_sample_draws(model, sampler):
    condition, temperature = np.array([0, 1, 2], np.int32), np.array([1.0, 0.5, 1.0], np.float32)
    expected = model.sample(3, condition, SEEDS, temperature, jit_compile=False).numpy()
    begun = sampler.begin(SEEDS, tf.constant(temperature), {"condition": tf.constant(condition)}, None)
    # Every example at a place of its own; the last step asks for more than there is.
    np.testing.assert_array_equal(drawn(sampler, begun, [[1, 3, 2], [1, 1, 1], [9, 9, 9]]), expected)
    # The first five values of the order, a cell and two colours of the next one, are those that are given.
    order = model.value_order()[0]
    prefix = expected.reshape(3, -1)[:, order[:5]]
    begun = sampler.begin(
        SEEDS, tf.constant(temperature), {"condition": tf.constant(condition)}, tf.constant(1 - prefix)
    )
    assert sampler.position(begun).numpy().tolist() == [1, 1, 1]
    observed = np.zeros(expected[0].shape, bool)
    observed.reshape(-1)[order[:5]] = True
    again = model.complete(1 - expected, observed, condition, SEEDS, temperature, jit_compile=False).numpy()
    found = drawn(sampler, begun, [[1, 1, 1], [3, 3, 3]])
    first = order[0] // 3
    np.testing.assert_array_equal(
        np.delete(found.reshape(3, 4, 3), first, 1), np.delete(again.reshape(3, 4, 3), first, 1)
    )


def test_rows_of_the_base_are_units():
    model = MultiscalePixelCNN((4, 4, 1), heads.Bernoulli(), **MultiscalePixelCNN.PRESETS["multiscale_pixel_cnn_tiny"])
    sampler = PartSampler(model)
    assert sampler._order.tolist() == [0, 2, 8, 10, 1, 3, 9, 11, 4, 6, 12, 14, 5, 7, 13, 15]
    assert sampler._needed.tolist() == [0, 1, 1, 2, 2, *[3] * 4, *[4] * 4, *[5] * 4]
