"""Attention with a cache: no leak on the first position, blocks, and a tiny PixelSNAIL sampled pixel by pixel."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfar
from tests.closeness import assert_close
from tfar.core.event import Event
from tfar.core.scope import Incremental
from tfar.core.states import initial_state
from tfar.layers import CausalAttention, HorizontalConv2D, Previous, VerticalConv2D
from tfar.layers.attention import masked_attention
from tfar.models import AutoregressiveModel


class AttentiveBlock(keras.layers.Layer):
    """The core of PixelSNAIL: causal features, then strict attention over [x, features]."""

    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.mix = keras.layers.Dense(filters, activation="elu")
        self.query = keras.layers.Dense(4)
        self.key = keras.layers.Dense(4)
        self.value = keras.layers.Dense(6)
        self.attend = CausalAttention(num_heads=2, exclusive=True)
        self.previous = Previous()
        self.merge = keras.layers.Dense(filters)

    def call(self, x, features):
        features = features + self.mix(features)
        past = tf.concat([x, self.previous(features)], -1)
        attended = self.attend(self.query(features), self.key(past), self.value(past))
        return features + self.merge(attended)


class TinySnail(keras.layers.Layer):
    def __init__(self, outputs, filters=5, blocks=1, **kwargs):
        super().__init__(**kwargs)
        self.above = VerticalConv2D(filters, (1, 3), exclusive=True)
        self.left = HorizontalConv2D(filters, 3, exclusive=True)
        self.blocks = [AttentiveBlock(filters) for _ in range(blocks)]
        self.outputs = keras.layers.Dense(outputs)

    def call(self, x):
        features = self.above(x) + self.left(x)
        for block in self.blocks:
            features = block(x, features)
        return self.outputs(tf.nn.elu(features))


@pytest.fixture(scope="module")
def snail():
    event_shape, head = (3, 4, 3), tfar.heads.DiscretizedLogisticMixture(2, bits=2)
    network = TinySnail(Event(event_shape, head).num_outputs)
    model = AutoregressiveModel(network, event_shape, head)
    tfar.testing.randomize_weights(model, scale=0.3)
    return model


def test_a_query_without_visible_keys_is_zero():
    q, k, v = (tf.random.stateless_normal([2, 1, 3, 4], [i, 0]) for i in range(3))
    mask = tf.constant(np.tril(np.ones((3, 3), bool), -1))
    out = masked_attention(q, k, v, mask).numpy()
    assert (out[:, :, 0] == 0).all()
    np.testing.assert_allclose(out[:, :, 1], v[:, :, 0], rtol=1e-6)
    weights = tf.nn.softmax(tf.einsum("bhd,bhkd->bhk", q[:, :, 2], k[:, :, :2]) / 2.0)
    np.testing.assert_allclose(out[:, :, 2], tf.einsum("bhk,bhke->bhe", weights, v[:, :, :2]), rtol=1e-5)


@pytest.mark.parametrize("exclusive", [True, False])
def test_with_scale_1_it_is_the_plain_dot_product_formula(exclusive):
    q, k, v = (np.random.default_rng(i).normal(size=(2, 6, 4)).astype(np.float32) for i in range(3))
    layer = CausalAttention(exclusive=exclusive, scale=1.0)
    out = layer(q, k, v).numpy()
    for t in range(6):
        seen = slice(0, t if exclusive else t + 1)
        weights = np.exp(np.einsum("bd,bkd->bk", q[:, t], k[:, seen]))
        expected = np.einsum("bk,bkd->bd", weights / np.maximum(weights.sum(1, keepdims=True), 1e-30), v[:, seen])
        assert_close(out[:, t], expected)
    assert not np.allclose(out[:, 2:], CausalAttention(exclusive=exclusive)(q, k, v)[:, 2:], atol=1e-3)


def test_extreme_scores_stay_finite():
    q = tf.constant([[[[3e18], [3e18]]]])
    out = masked_attention(q, q, tf.ones_like(q), tf.constant([[False, False], [True, False]]))
    np.testing.assert_array_equal(out.numpy().ravel(), [0.0, 1.0])


def test_a_gradient_through_an_invisible_row_is_zero():
    q = tf.random.stateless_normal([1, 2, 3, 4], [0, 0])
    mask = tf.constant(np.tril(np.ones((3, 3), bool), -1))
    with tf.GradientTape() as tape:
        tape.watch(q)
        loss = tf.reduce_sum(masked_attention(q, q, q, mask) ** 2)
    gradient = tape.gradient(loss, q).numpy()
    assert np.isfinite(gradient).all() and (gradient[:, :, 2] != 0).any()


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("length", [1, 3])
def test_a_cached_sequence_equals_the_parallel_pass(exclusive, length):
    layer = CausalAttention(num_heads=2, exclusive=exclusive, scale=0.4)
    q, k, v = (tf.random.stateless_normal([2, 6, 4], [i, 1]) for i in range(3))
    parallel = layer(q, k, v)
    net = Wrapped(layer)
    qkv = tf.concat([q, k, v], -1)
    if exclusive:  # in a step, keys and values are the previous position's
        before = tf.pad(tf.concat([k, v], -1)[:, :-1], [[0, 0], [1, 0], [0, 0]])
        qkv = tf.concat([q, before], -1)
    state = initial_state(net, 2, {"step": (1, 12)})
    outputs = []
    for t in range(0, 6, length):
        with Incremental(state, at=t, length=length) as scope:
            outputs.append(net(qkv[:, t : t + length]))
        state = scope.state
    assert_close(tf.concat(outputs, 1), parallel, 1e-6)


class Wrapped(keras.layers.Layer):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def call(self, x):
        return self.layer(*tf.split(x, 3, -1))


def test_previous_delays_across_the_end_of_a_row():
    layer = Previous()
    x = tf.reshape(tf.range(6.0), [1, 2, 3, 1])
    state = initial_state(layer, 1, {"pixel": (1, 1, 1)})
    seen = []
    for i in range(2):
        for j in range(3):
            with Incremental(state, at=(i, j), phase="pixel") as scope:
                seen.append(float(layer(x[:, i : i + 1, j : j + 1])[0, 0, 0, 0]))
            state = scope.state
    assert seen == [0.0, 0.0, 1.0, 2.0, 3.0, 4.0]


def test_tiny_snail_sees_every_earlier_pixel_and_no_other(snail):
    tfar.testing.assert_causal(snail)


@pytest.mark.large  # by default of PixelSNAIL itself: tests/conformance
def test_tiny_snail_samples_incrementally(snail):
    tfar.testing.assert_samples_agree(snail)


def test_tiny_snail_in_blocks_of_rows(snail):
    tfar.testing.assert_incremental_matches_parallel(snail, modes=("eager",))


def test_reading_half_of_a_long_cache_changes_nothing(monkeypatch):
    monkeypatch.setattr("tfar.layers.attention._LEAST_HALVED", 3)
    layer = CausalAttention(num_heads=2, max_length=8)
    x = tf.constant(np.random.default_rng(0).normal(size=(2, 11, 4)), tf.float32)
    layer(x)
    tfar.testing.assert_incremental_matches_parallel(layer, x, modes=("eager",))
