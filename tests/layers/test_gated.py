"""The gated activation unit: equations 2 to 5 of the paper."""

import numpy as np
import pytest
import tensorflow as tf

from tests.closeness import assert_close
from tfar import testing
from tfar.layers import GatedActivation


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def built(condition_shape=None):
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(size=(2, 3, 4, 6)), tf.float32)
    condition = None if condition_shape is None else tf.constant(rng.normal(size=condition_shape), tf.float32)
    layer = GatedActivation()
    layer(x, condition)
    if condition is not None:
        testing.randomize_weights(layer)
    return layer, x, condition


def test_without_condition():
    layer, x, _ = built()
    f, g = x.numpy()[..., :3], x.numpy()[..., 3:]
    assert_close(layer(x), np.tanh(f) * sigmoid(g), 1e-6)
    assert not layer.weights


def test_vector_is_the_same_at_every_position():
    layer, x, h = built((2, 5))
    assert [tuple(weight.shape) for weight in layer.weights] == [(5, 3), (5, 3)]
    f = x.numpy()[..., :3] + (h.numpy() @ layer.kernel_f.numpy())[:, None, None]
    g = x.numpy()[..., 3:] + (h.numpy() @ layer.kernel_g.numpy())[:, None, None]
    assert_close(layer(x, h), np.tanh(f) * sigmoid(g))


def test_map_is_seen_in_its_own_place():
    layer, x, h = built((2, 3, 4, 5))
    assert [tuple(weight.shape) for weight in layer.weights] == [(1, 1, 5, 3), (1, 1, 5, 3)]
    f = x.numpy()[..., :3] + h.numpy() @ layer.kernel_f.numpy()[0, 0]
    g = x.numpy()[..., 3:] + h.numpy() @ layer.kernel_g.numpy()[0, 0]
    assert_close(layer(x, h), np.tanh(f) * sigmoid(g))
    seen = testing.dependencies(lambda h: layer(x[:1], h), h[:1], max_rows=1).any(0)
    np.testing.assert_array_equal(seen, np.eye(12, dtype=bool))


@pytest.mark.parametrize(
    "condition_shape",
    [pytest.param((2, 5), id="vector", marks=pytest.mark.large), pytest.param((2, 3, 4, 5), id="map")],
)
def test_steps_match_parallel(condition_shape):
    layer, x, h = built(condition_shape)
    testing.assert_incremental_matches_parallel(layer, x, h, blocks=[(0, 3), (1, 2)], modes=("eager",))


def test_sequences():
    """A gate over a sequence keeps no state: it is computed anew in every step."""
    rng = np.random.default_rng(0)
    x, h = (tf.constant(rng.normal(size=shape), tf.float32) for shape in ((2, 7, 6), (2, 5)))
    layer = GatedActivation()
    y = layer(x, h)
    assert y.shape == (2, 7, 3)
    assert_close(layer(x[:, 3:4], h), y[:, 3:4], 1e-6)


def test_refuses_odd_channels():
    with pytest.raises(ValueError, match="a gate splits its input in halves, got 5 channels"):
        GatedActivation()(tf.zeros([1, 2, 2, 5]))
