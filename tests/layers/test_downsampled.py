"""A network at half the resolution: nothing leaks, everything is seen, rows and pixels give the same."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfar import layers, testing
from tfar.layers.downsampled import Downsampled


class Both(keras.layers.Layer):
    """One layer for each stack."""

    def __init__(self):
        super().__init__()
        self.vertical = layers.VerticalConv2D(2, (2, 3), hand_out=False)
        self.causal = layers.CausalConv2D(2)
        self.link = layers.Shortcut(2, "elu", vertical=True)

    def build(self, *shapes):
        """Layers are built when they are called."""

    def call(self, v, h):
        v = self.vertical(v)
        return v, self.causal(h) + self.link(v)


class Network(keras.layers.Layer):
    """Exclusive layers, then the same at full and at lower resolutions."""

    def __init__(self, depth):
        super().__init__()
        inner = Both()
        for _ in range(depth):
            down = [layers.VerticalConv2D(2, (2, 3), strides=2, hand_out=False), layers.CausalConv2D(2, strides=2)]
            inner = Downsampled(
                down, inner, [layers.CausalTransposedConv2D(2, (2, 3)), layers.CausalTransposedConv2D(2)]
            )
        self.above = layers.VerticalConv2D(2, (2, 3), exclusive=True)
        self.left = layers.CausalConv2D(2, (2, 1), exclusive=True)
        self.inner, self.out = inner, layers.Pointwise(1)

    def build(self, *shapes):
        """Layers are built when they are called."""

    def call(self, x):
        v = self.above(x)
        return self.out(self.inner(v, self.left(x))[1])


def built(depth, shape):
    network = Network(depth)
    x = tf.constant(np.random.default_rng(0).normal(size=(2, *shape, 1)), tf.float32)
    network(x)
    testing.randomize_weights(network)
    return network, x


@pytest.mark.parametrize("depth", [pytest.param(1, marks=pytest.mark.large), 2])
def test_rows_and_pixels_match_parallel(depth):
    network, x = built(depth, (8, 4))
    # Blocks that begin and end within a pair of rows, and such without a row of the coarser grid.
    blocks = [(0, 8), (0, 1), (1, 1), (1, 3), (2, 3), (3, 4), (5, 3), (7, 1)]
    testing.assert_incremental_matches_parallel(network, x, blocks=blocks, modes=("eager",), exclusive=True)


def test_nothing_of_the_future_is_seen():
    network, x = built(2, (4, 8))
    seen = testing.dependencies(network, x).any(0)
    target, source = np.indices(seen.shape)
    assert not seen[source >= target].any()


def test_refuses_what_cannot_be_halved():
    with pytest.raises(ValueError, match=r"height and width must be even.*\(3, 4\)"):
        built(1, (3, 4))
    with pytest.raises(ValueError, match=r"height and width must be even.*\(3, 2\)"):
        built(2, (6, 4))
