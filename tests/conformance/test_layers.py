"""Every layer gives in steps what it gives in parallel, and survives its configuration."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfar import testing
from tfar.testing.registry import LAYERS

every_layer = pytest.mark.parametrize("case", LAYERS, ids=lambda case: case.name)


def built(case, batch=2, seed=0):
    """The layer of a case with random weights, its input and its second argument."""
    rng = np.random.default_rng(seed)
    x = tf.constant(rng.normal(size=(batch, *case.input_shape)), tf.float32)
    context = None
    if case.context_shape is not None:
        context = tf.constant(rng.normal(size=(batch, *case.context_shape)), tf.float32)
    layer = case.build()
    call(layer, x, context)
    if layer.trainable_weights:
        testing.randomize_weights(layer)
    return layer, x, context


def call(layer, x, context):
    return layer(x) if context is None else layer(x, context)


@every_layer
def test_is_what_its_name_says(case):
    assert type(case.build()).__name__ == case.name.split("_")[0]


@every_layer
def test_config_round_trip(case):
    layer, x, context = built(case)
    config = keras.saving.serialize_keras_object(layer)
    other = keras.saving.deserialize_keras_object(config)
    assert keras.saving.serialize_keras_object(other)["config"] == config["config"]
    call(other, x, context)
    other.set_weights(layer.get_weights())
    np.testing.assert_array_equal(call(layer, x, context), call(other, x, context))


@every_layer
def test_incremental_matches_parallel(case):
    if not case.incremental:
        pytest.skip("keeps no state of its own")
    layer, x, context = built(case)
    testing.assert_incremental_matches_parallel(layer, x, context, modes=("eager", "function"))


@pytest.mark.large
@every_layer
def test_incremental_matches_parallel_under_xla(case):
    if not case.incremental:
        pytest.skip("keeps no state of its own")
    layer, x, context = built(case)
    testing.assert_incremental_matches_parallel(layer, x, context, modes=("xla",))


@every_layer
@pytest.mark.parametrize("policy", ["float64", "mixed_bfloat16"])
def test_precision(case, policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        layer, x, context = built(case)
    finally:
        keras.config.set_dtype_policy(before)
    assert call(layer, x, context).dtype.name == layer.compute_dtype
    if case.incremental:
        testing.assert_incremental_matches_parallel(layer, x, context, modes=("eager",))
