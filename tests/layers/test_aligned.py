"""The time step of a condition that runs beside the input."""

import numpy as np
import tensorflow as tf

from tfar.core.scope import Incremental
from tfar.layers import AlignedSequence, CausalConv1D


def test_steps_see_their_own_place():
    sequence = tf.reshape(tf.range(7.0), [1, 7, 1])
    layer, causal = AlignedSequence(), CausalConv1D(1, 2)
    assert layer(tf.zeros([1, 5, 2]), sequence).numpy().ravel().tolist() == [0, 1, 2, 3, 4]
    for at, length in ((0, 1), (3, 1), (2, 4)):
        with Incremental(None, at=at, length=length):
            causal(tf.zeros([1, length, 1]))
            part = layer(tf.zeros([1, length, 2]), sequence)
        np.testing.assert_array_equal(part.numpy().ravel(), np.arange(at, at + length))
