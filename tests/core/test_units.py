"""Nats become bits in one place."""

import numpy as np

from tfar.core.units import bits_per_dim


def test_bits_per_dim():
    assert bits_per_dim(-np.log(256.0) * 12, 12) == 8
    np.testing.assert_allclose(bits_per_dim(np.array([-np.log(2), 0.0]), 4), [0.25, 0])
