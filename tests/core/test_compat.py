"""A version of Keras or TensorFlow that changes what tfar/core/compat.py reads fails here."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfar.core import compat


class Inner(keras.layers.Layer):
    """Notes the name of the outermost layer of the call."""

    entry = ""

    def call(self, x):
        self.entry = compat.entry_layer(self).name
        return x


class Outer(keras.layers.Layer):
    """A weight of its own, a layer, and one in a list."""

    def __init__(self):
        super().__init__()
        self.inner = Inner()
        self.others = [keras.layers.Dense(2), keras.layers.BatchNormalization()]

    def build(self, shape):
        self.fixed = self.add_weight(shape=(1,), trainable=False, name="fixed")
        self.scale = self.add_weight(shape=(3,), name="scale")
        for layer in self.others:
            layer.build(shape)

    def call(self, x):
        return self.inner(x) * self.scale


@pytest.fixture(name="outer")
def _outer():
    layer = Outer()
    layer(tf.ones([1, 3]))
    return layer


def test_entry_layer(outer):
    assert outer.inner.entry == outer.name
    outer.inner(tf.ones([1, 3]))
    assert outer.inner.entry == outer.inner.name  # the call before has ended


def test_entry_layer_in_a_function(outer):
    tf.function(outer)(tf.ones([2, 3]))
    assert outer.inner.entry == outer.name


def test_all_layers(outer):
    model = keras.Sequential([outer])
    assert {id(layer) for layer in compat.all_layers(outer)} == {id(x) for x in (outer, outer.inner, *outer.others)}
    assert len(compat.all_layers(model)) == 5


def test_own_weights(outer):
    assert [weight.name for weight in compat.own_weights(outer)] == ["scale", "fixed"]
    assert len(outer.weights) == 2 + 2 + 4


@pytest.mark.parametrize("average", [False, True])
def test_learning_rate(average):
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([1, 3], [4.0, 2.0, 1.0])
    scheduled = keras.optimizers.Adam(schedule, use_ema=average)
    assert [compat.learning_rate(scheduled, step) for step in range(5)] == [4, 4, 2, 2, 1]
    constant = keras.optimizers.Adam(0.5, use_ema=average)
    assert compat.learning_rate(constant, 7) == 0.5
    constant.learning_rate = 0.25
    assert compat.learning_rate(constant, 7) == 0.25


def test_dynamic_update_slice():
    x, update = np.arange(12, dtype=np.float32).reshape(3, 4), np.full([1, 2], -1, np.float32)
    compiled = tf.function(compat.dynamic_update_slice, jit_compile=True, autograph=False)
    expected = x.copy()
    expected[2:, 1:3] = -1
    np.testing.assert_array_equal(compiled(tf.constant(x), tf.constant(update), tf.constant([2, 1])), expected)


@pytest.mark.parametrize("xla", [False, True])
def test_functions_are_added_and_called_by_name(xla):
    traced = tf.function(lambda x, y: (x + y, x * y), autograph=False).get_concrete_function(
        tf.constant(0), tf.constant(0)
    )
    definition = traced.function_def
    definition.signature.name = f"a_function_of_test_compat_{xla}"
    definition.attr["_XlaMustCompile"].b = xla
    compat.add_function(definition)
    compat.add_function(definition)  # the same again is no error
    found = compat.call_function(definition.signature.name, [tf.constant(3), tf.constant(4)], 2)
    assert [int(x) for x in found] == [7, 12]
