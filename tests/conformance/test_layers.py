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


def in_precision(policy, case):
    """As `built`, of a layer that computes in another precision."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        return built(case)
    finally:
        keras.config.set_dtype_policy(before)


@every_layer
def test_incremental_matches_parallel(case):
    # In double precision, where the tolerance is 1e-10; in single precision the tests of the layer itself do it.
    layer, x, context = in_precision("float64", case)
    assert call(layer, x, context).dtype == tf.float64
    if case.incremental:
        testing.assert_incremental_matches_parallel(layer, x, context, modes=("eager",))


@pytest.mark.large
@every_layer
@pytest.mark.parametrize(
    ("policy", "modes"), [("float32", ("eager", "function", "xla")), ("mixed_bfloat16", ("eager",))]
)
def test_incremental_matches_parallel_otherwise(case, policy, modes):
    if not case.incremental:
        pytest.skip("keeps no state of its own")
    layer, x, context = in_precision(policy, case)
    testing.assert_incremental_matches_parallel(layer, x, context, modes=modes)


@every_layer
def test_lower_precision(case):
    layer, x, context = in_precision("mixed_bfloat16", case)
    assert call(layer, x, context).dtype == layer.compute_dtype == "bfloat16"
