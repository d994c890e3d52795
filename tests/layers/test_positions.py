"""Positions: what they do in parallel, in steps and in blocks, and the shift in front of inclusive layers."""

import numpy as np
import pytest
import tensorflow as tf

from tests.closeness import assert_close
from tfar.core.scope import Incremental
from tfar.layers import LearnedPositions, RotaryPositions, ShiftRight


def features(length=7, channels=8, seed=0):
    return tf.random.stateless_normal([2, length, channels], [seed, 0])


@pytest.mark.parametrize("layer", [LearnedPositions(7), RotaryPositions(2)], ids=["learned", "rotary"])
def test_steps_and_blocks_are_parts_of_the_parallel_pass(layer):
    x = features()
    whole = layer(x).numpy()
    assert not np.allclose(whole, x)
    for at, length in ((0, 3), (5, 2), (6, 1)):
        # The state is another layer's: this one has none to consume.
        with pytest.raises(RuntimeError, match="kept no state"):
            with Incremental({}, at=tf.constant(at), length=length):
                part = layer(x[:, at : at + length])
        assert_close(part, whole[:, at : at + length], 1e-6)


def test_rotary_products_depend_on_the_distance_alone():
    layer = RotaryPositions(2)
    q, k = (tf.repeat(features(1, seed=seed), 9, 1) for seed in (1, 2))
    q, k = (tf.reshape(layer(x), [2, 9, 2, 4]) for x in (q, k))
    products = tf.einsum("bqhd,bkhd->bhqk", q, k).numpy()
    for distance in range(-8, 9):
        diagonal = np.diagonal(products, distance, 2, 3)
        assert_close(diagonal, np.broadcast_to(diagonal[..., :1], diagonal.shape), 1e-4)
    assert np.std(products[0, 0, 0]) > 1e-3


def test_rotary_by_hand():
    layer = RotaryPositions(1, base=100.0)
    x = np.array([[[0.0] * 4, [1.0, 2.0, 3.0, 4.0]]], np.float32)
    y = layer(tf.constant(x)).numpy()[0, 1]
    for pair, angle in ((0, 1.0), (1, 0.1)):
        a, b = x[0, 1, pair], x[0, 1, pair + 2]
        np.testing.assert_allclose(y[pair], a * np.cos(angle) - b * np.sin(angle), rtol=1e-5)
        np.testing.assert_allclose(y[pair + 2], a * np.sin(angle) + b * np.cos(angle), rtol=1e-5)


def test_shift_is_the_identity_in_a_step():
    x = features()
    y = ShiftRight()(x)
    assert (y[:, 0].numpy() == 0).all()
    np.testing.assert_array_equal(y[:, 1:], x[:, :-1])
    with pytest.raises(RuntimeError, match="kept no state"):
        with Incremental({}, at=3):
            step = ShiftRight()(x[:, :1])
    np.testing.assert_array_equal(step, x[:, :1])


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="max_length must be at least 1, got 0"):
        LearnedPositions(0)
    with pytest.raises(ValueError, match="at most max_length=4, got 7"):
        LearnedPositions(4)(features())
    with pytest.raises(ValueError, match="even number of channels for each of 3 heads, got 8"):
        RotaryPositions(3)(features())
    with pytest.raises(ValueError, match="num_heads must be at least 1, got 0"):
        RotaryPositions(0)
