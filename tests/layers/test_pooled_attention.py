"""Attention to pooled squares: its formula, and which squares are seen."""

import numpy as np
import pytest
import tensorflow as tf

from tfar import layers


def test_is_its_formula():
    rng = np.random.default_rng(0)
    q, k, v = (rng.normal(size=(1, 4, 6, d)).astype(np.float32) for d in (3, 3, 2))
    y = layers.PooledCausalAttention(2)(q, k, v).numpy()
    for i in range(4):
        for j in range(6):
            squares = [(a, b) for a in range(2) for b in range(3) if (2 * a + 1, 2 * b + 1) < (i, j)]
            keys = np.array([k[0, 2 * a : 2 * a + 2, 2 * b : 2 * b + 2].max((0, 1)) for a, b in squares])
            values = np.array([v[0, 2 * a : 2 * a + 2, 2 * b : 2 * b + 2].max((0, 1)) for a, b in squares])
            if not squares:
                np.testing.assert_array_equal(y[0, i, j], 0)
                continue
            weights = tf.nn.softmax(keys @ q[0, i, j] / np.sqrt(3)).numpy()
            np.testing.assert_allclose(y[0, i, j], weights @ values, rtol=1e-5, atol=1e-6)


def test_refuses_squares_that_do_not_fit():
    with pytest.raises(ValueError, match=r"downsample must divide height and width \(4, 5\), got 2"):
        layers.PooledCausalAttention(2)(tf.zeros([1, 4, 5, 2]))
    with pytest.raises(ValueError, match="downsample must be at least 1, got 0"):
        layers.PooledCausalAttention(0)
