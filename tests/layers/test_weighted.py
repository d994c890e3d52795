"""Arguments of Keras's own layers, and the precision of layers in layers."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfar import conditions, heads, layers, models
from tfar.layers.weighted import WeightedLayer
from tfar.testing import eagerly
from tfar.testing.registry import LAYERS

WEIGHTED = {type(case.build()).__name__: case for case in LAYERS if isinstance(case.build(), WeightedLayer)}
OF_OLD = {"kernel_initializer", "bias_initializer", "activity_regularizer"}  # files of some layers have them
SUMMED = keras.regularizers.L1(1.0)


def with_arguments(case, **arguments):
    plain = case.build()
    return type(plain).from_config({**plain.get_config(), **arguments})


def called(layer, case):
    x = np.random.default_rng(0).normal(size=[2, *case.input_shape]).astype(np.float32)
    context = case.context_shape
    return layer(x) if context is None else layer(x, np.ones([2, *context], np.float32))


@pytest.mark.parametrize("name", WEIGHTED)
def test_weights_take_what_keras_layers_take(name):
    case = WEIGHTED[name]
    normalized = getattr(case.build(), "weight_norm", False)
    given = {"bias_initializer": "ones", "bias_regularizer": SUMMED, "activity_regularizer": keras.regularizers.L2(0.5)}
    if not normalized:
        given |= {"kernel_initializer": keras.initializers.Constant(0.25), "kernel_regularizer": SUMMED}
    layer = with_arguments(case, **given)
    outputs = called(layer, case)
    kernels = [w for w in layer.weights if "kernel" in w.name and not w.name.startswith("recurrent")]
    biases = [w for w in layer.weights if "bias" in w.name or w.name == "b"]
    assert kernels or normalized or not layer.weights
    expected = 0.5 * float(tf.reduce_sum(tf.square(outputs))) / 2
    for bias in biases:
        np.testing.assert_array_equal(bias, np.ones(bias.shape))
        expected += bias.numpy().size
    own = "kernel_initializer" in layer.arguments()  # that of "kernel" alone
    for kernel in kernels if not normalized else ():
        if own and kernel.name != "kernel":
            expected += float(tf.reduce_sum(tf.abs(kernel.value)))
            continue
        np.testing.assert_array_equal(kernel, np.full(kernel.shape, 0.25))
        used = kernel.regularizer._used if kernel.regularizer is not SUMMED else np.ones(kernel.shape)
        expected += 0.25 * used.sum()
    assert float(sum(layer.losses)) == pytest.approx(expected, rel=1e-4)
    # They are saved, and rebuilt.
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    again = keras.saving.deserialize_keras_object(config)
    assert json.loads(json.dumps(keras.saving.serialize_keras_object(again))) == config
    assert set(given) <= set(config["config"])
    assert not set(given) & set(case.build().get_config()) - OF_OLD


def test_entries_that_a_mask_leaves_out_are_not_regularized():
    layer = layers.MaskedConv2D(1, 3, "A", kernel_initializer="ones", kernel_regularizer=SUMMED)
    layer(np.ones([1, 3, 3, 1], np.float32))
    assert float(layer.losses[0]) == 4  # three above, one to the left
    dense = layers.MaskedDense([1, 0], [0, 1, 0], kernel_initializer="ones", kernel_regularizer=SUMMED)
    dense(np.ones([1, 2], np.float32))
    assert float(dense.losses[0]) == int(tf.reduce_sum(tf.cast(dense.mask(), tf.int32))) == 4


@pytest.mark.parametrize("name", WEIGHTED)
def test_constraints_are_refused_with_the_reason(name):
    # Keras wraps what a constructor raises while it loads a layer.
    with pytest.raises((TypeError, ValueError), match="kernel_constraint must be None: Keras projects what is stored"):
        with_arguments(WEIGHTED[name], kernel_constraint=keras.constraints.NonNeg())


def test_a_constraint_is_refused_in_one_line():
    with pytest.raises(ValueError) as error:
        layers.CausalConv1D(2, 2, kernel_constraint="non_neg")
    assert str(error.value).startswith("kernel_constraint must be None: ") and "\n" not in str(error.value)


def test_a_regularizer_of_a_direction_is_refused():
    with pytest.raises(ValueError, match="^kernel_regularizer must be None with weight_norm: "):
        layers.Pointwise(3, weight_norm=True, kernel_regularizer="l2")


def test_regularized_models_still_sample():
    with eagerly():
        model = models.CausalConvNet((3,), heads.Categorical(2), filters=2, num_layers=1)
        model.network.blocks[0].convolution.activity_regularizer = keras.regularizers.L2(1.0)
        assert model.sample(2, seed=0, jit_compile=False).shape == (2, 3)


# === Precision ===


def policies(layer):
    from tfar.core import compat

    return {inner.dtype_policy.name for inner in compat.all_layers(layer)}


@pytest.mark.parametrize(
    "build",
    [lambda **o: layers.GatedResnet(4, dropout=0.1, **o), lambda **o: layers.CausalAttention(2, dropout=0.1, **o)],
)
def test_layers_in_layers_have_the_policy_around_them(build):
    assert keras.config.dtype_policy().name == "float32"
    layer = build(dtype="float64")
    x = np.random.default_rng(0).normal(size=[1, 3, 3, 4])
    y = layer(*[tf.constant(x)] * (3 if isinstance(layer, layers.CausalAttention) else 1))
    assert y.dtype == tf.float64 and policies(layer) == {"float64"}
    assert keras.config.dtype_policy().name == "float32"
    assert policies(type(layer).from_config(layer.get_config())) == {"float64"}
    assert policies(build()) == {"float32"}


def test_log_prob_is_as_precise_as_the_policy():
    sizes = {"filters": 3, "num_layers": 2, "condition": conditions.Label(2)}
    with eagerly():
        model = models.CausalConvNet((4,), heads.Categorical(2), **sizes, dtype="float64")
        again = models.CausalConvNet.from_config(model.get_config())
        single = models.CausalConvNet((4,), heads.Categorical(2), **sizes)
        x = np.stack(np.meshgrid(*[[0, 1]] * 4), -1).reshape(-1, 4)
        for weight, other, third in zip(model.weights, single.weights, again.weights, strict=True):
            weight.assign(np.random.default_rng(0).normal(size=weight.shape))
            other.assign(tf.cast(weight.value, tf.float32))
            third.assign(weight.value)
        nats = model.log_prob(x, [1] * 16)
        assert nats.dtype == tf.float64 and single.log_prob(x, [1] * 16).dtype == tf.float32
        assert abs(float(tf.reduce_logsumexp(nats))) < 1e-12
        np.testing.assert_allclose(single.log_prob(x, [1] * 16), nats, rtol=1e-5)
        np.testing.assert_array_equal(again.log_prob(x, [1] * 16), nats)  # the precision is saved
    assert policies(model) == {"float64"} and "dtype" not in single.get_config()
