"""Weight normalization: the kernel that is used, and its initialization from data."""

import numpy as np
import pytest
import tensorflow as tf

from tests.closeness import assert_close
from tfar import layers
from tfar.core.invariants import invariant, invariants
from tfar.layers.weight_norm import data_dependent_initialization


def data(shape=(8, 5, 6, 3), seed=0):
    return tf.constant(np.random.default_rng(seed).normal(2.0, 3.0, shape), tf.float32)


@pytest.mark.parametrize(
    ("build", "axis"),
    [
        (lambda **options: layers.Pointwise(4, **options), -1),
        (lambda **options: layers.VerticalConv2D(4, (2, 3), **options), -1),
        (lambda **options: layers.CausalConv2D(4, (2, 2), **options), -1),
        (lambda **options: layers.CausalTransposedConv2D(4, (2, 3), **options), 2),
    ],
    ids=["pointwise", "vertical", "causal", "transposed"],
)
def test_kernel_has_norm_g_for_every_output(build, axis):
    layer = build(weight_norm=True)
    x = data()
    layer(x)
    layer.g.assign([0.5, 1.0, 2.0, 3.0])
    layer.b.assign([1.0, 2.0, 3.0, 4.0])
    kernel = layer.used_kernel(tf.float32).numpy()
    other_axes = tuple(i for i in range(kernel.ndim) if i != axis % kernel.ndim)
    np.testing.assert_allclose(np.sqrt((kernel**2).sum(other_axes)), [0.5, 1.0, 2.0, 3.0], rtol=1e-5)
    plain = build()
    plain(x)
    plain.kernel.assign(kernel)
    plain.bias.assign(layer.b)
    np.testing.assert_allclose(layer(x), plain(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("init_scale", [1.0, 0.1])
def test_initialization_gives_mean_0_and_the_scale_asked_for(init_scale):
    layer = layers.CausalConv2D(5, (2, 2), weight_norm=True, init_scale=init_scale)
    x = data()
    layer(x)
    with data_dependent_initialization():
        layer(x)
    y = layer(x).numpy()
    assert_close(y.mean((0, 1, 2)), 0)
    np.testing.assert_allclose(y.std((0, 1, 2)), init_scale, rtol=1e-4)
    before = layer.g.numpy()
    layer(3 * x)
    np.testing.assert_array_equal(layer.g, before)


def test_needs_a_bias():
    with pytest.raises(ValueError, match="use_bias must be True"):
        layers.VerticalConv2D(3, (2, 3), use_bias=False, weight_norm=True)


def test_an_invariant_is_computed_in_front_of_the_loop():
    calls = []

    def compute():
        calls.append(tf.compat.v1.get_default_graph())
        return tf.constant(2.0)

    @tf.function(autograph=False)
    def loop():
        graph = tf.compat.v1.get_default_graph()
        with invariants():
            body = lambda i, y: (i + 1, y * invariant(loop, "two", compute))  # noqa: E731
            _, y = tf.while_loop(lambda i, _: i < 3, body, (0, 1.0))
            y += invariant(loop, "two", compute)
        assert calls == [graph]
        return y

    assert float(loop()) == 10.0
    assert float(invariant(loop, "two", compute)) == 2.0
    assert len(calls) == 2
