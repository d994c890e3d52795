"""Unmasked convolutions with weight normalization, and the map that a network reads row by row."""

import numpy as np
import pytest
import tensorflow as tf

from tfar import testing
from tfar.layers.unmasked_conv import UnmaskedConv2D, UnmaskedTransposedConv2D
from tfar.layers.weight_norm import data_dependent_initialization


@pytest.mark.parametrize("layer", [UnmaskedConv2D(3, strides=2), UnmaskedConv2D(3), UnmaskedTransposedConv2D(3)])
def test_shapes_and_data_dependent_initialization(layer):
    x = tf.constant(np.random.default_rng(0).normal(2, 3, (4, 5, 7, 2)), tf.float32)
    assert layer(x).shape == layer.compute_output_shape(x.shape)
    testing.randomize_weights(layer)
    with data_dependent_initialization():
        y = layer(x).numpy()
    np.testing.assert_allclose(y.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(y.var((0, 1, 2)).mean(), 1, rtol=1e-4)
    if isinstance(layer, UnmaskedConv2D):
        np.testing.assert_allclose(y.std((0, 1, 2)), 1, rtol=1e-4)


def test_every_place_sees_all_around():
    layer = UnmaskedConv2D(2)
    x = tf.ones([1, 3, 3, 2])
    layer(x)
    testing.randomize_weights(layer)
    assert (testing.causality.dependencies(layer, x)[0, 4] > 0).all()


def test_transposed_is_normalized_for_each_input():
    layer = UnmaskedTransposedConv2D(3)
    x = tf.one_hot([[[0, 1]]], 2)
    layer(x)
    testing.randomize_weights(layer)
    layer.b.assign(tf.zeros(3))
    before = layer(x).numpy()
    layer.v.assign(layer.v * [5.0, 1.0])
    np.testing.assert_allclose(layer(x), before, rtol=1e-5)  # the norm of an input's V does not count
    assert layer.g.shape == (2,) and layer.b.shape == (3,)
    layer.g.assign(layer.g * [2.0, 1.0])
    assert np.abs(layer(x[:, :, :1]).numpy()).sum() > 0
    np.testing.assert_allclose(layer(x)[:, :, -1], before[:, :, -1], rtol=1e-5)
