"""Laws that every head keeps: configuration, one formula, draws that follow from noise."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfar import heads
from tfar.heads.head import index_boundary_distance, index_from_uniform

CASES = {
    "bernoulli": (heads.Bernoulli(), 1),
    "categorical": (heads.Categorical(7), 1),
    "dmol_grey": (heads.DiscretizedLogisticMixture(3, bits=4), 1),
    "dmol_rgb": (heads.DiscretizedLogisticMixture(2, bits=8), 3),
    "mixture_normal": (heads.Mixture("Normal", 3), 1),
    "mixture_laplace": (heads.Mixture("Laplace", 2), 1),
}


@pytest.fixture(params=CASES)
def head(request):
    unbound, channels = CASES[request.param]
    return unbound.with_channels(channels)


def uniform(rng, shape):
    """Multiples of 2^-24 strictly between 0 and 1."""
    return ((rng.integers(0, 2**23, shape) + 0.5) / 2**23).astype("float32")


def arguments(head, batch=(64,), seed=0, scale=2.0):
    rng = np.random.default_rng(seed)
    params = (scale * rng.normal(size=(*batch, head.params_size))).astype("float32")
    return params, uniform(rng, (*batch, head.noise_size))


# === Configuration ===


def test_config_round_trip(head):
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(head))
    assert restored == head
    assert hash(restored) == hash(head)
    assert repr(restored) == repr(head)
    assert type(head).__name__ in repr(head)


def test_heads_of_other_configuration_differ():
    every = [case for case, _ in CASES.values()]
    for i, one in enumerate(every):
        assert [one == other for other in every].index(True) == i
    assert heads.Categorical(7) != heads.Categorical(8)
    assert heads.Bernoulli() != "Bernoulli()"


def test_with_channels_copies(head):
    other = head.with_channels(5)
    assert other is not head
    assert other == head
    if not head.event_ndims:
        assert other.params_size == head.params_size
    for bad in (0, -1, 1.5, True, None):
        with pytest.raises(ValueError, match="channels must be an integer of at least 1"):
            head.with_channels(bad)


def test_attributes(head):
    assert head.autoregressive_channels == (head.event_ndims == 0)
    assert head.bits_offset == 0.0
    assert head.dtype == (tf.int32 if head.levels else tf.float32)


# === One formula ===


def test_log_prob_is_the_distributions(head):
    params, noise = arguments(head, (5, 4))
    x = head.sample(params, noise)
    distribution = head.distribution(params)
    assert isinstance(distribution, tfp.distributions.Distribution)
    assert distribution.batch_shape == (5, 4)
    assert distribution.event_shape == x.shape[2:]
    assert distribution.dtype == head.dtype
    log_prob = head.log_prob(params, x)
    assert log_prob.dtype == tf.float32
    assert log_prob.shape == (5, 4)
    np.testing.assert_array_equal(log_prob, distribution.log_prob(x))
    if head.levels:  # any numeric dtype
        for dtype in (tf.uint8, tf.int64, tf.float32, tf.bfloat16):
            np.testing.assert_array_equal(log_prob, head.log_prob(params, tf.cast(x, dtype)))


def test_distribution_samples_its_own_support(head):
    params, _ = arguments(head, (3,))
    draws = head.distribution(params).sample(4, seed=(1, 2))
    assert draws.shape[:2] == (4, 3)
    assert draws.dtype == head.dtype
    head.check(draws)
    assert np.isfinite(head.distribution(params).log_prob(draws)).all()


def test_float64_agrees_with_float32(head):
    params, noise = arguments(head)
    x = head.sample(params, noise)
    wide = head.log_prob(params.astype("float64"), x)
    assert wide.dtype == tf.float64
    np.testing.assert_allclose(head.log_prob(params, x), wide, rtol=2e-5, atol=2e-5)


def test_bfloat16_params_are_widened_first(head):
    params, noise = arguments(head)
    narrow = tf.cast(params, tf.bfloat16)
    x = head.sample(narrow, noise)
    assert x.dtype == head.dtype
    log_prob = head.log_prob(narrow, x)
    assert log_prob.dtype == tf.float32
    np.testing.assert_array_equal(log_prob, head.log_prob(tf.cast(narrow, tf.float32), x))
    np.testing.assert_array_equal(x, head.sample(tf.cast(narrow, tf.float32), noise))


def test_encode_is_float32_of_the_same_shape(head):
    params, noise = arguments(head, (2, 3))
    x = head.sample(params, noise)
    encoded = head.encode(x)
    assert encoded.dtype == tf.float32
    assert encoded.shape == x.shape
    if head.levels:
        np.testing.assert_array_equal(encoded, head.encode(tf.cast(x, tf.uint8)))
        assert np.abs(encoded).max() <= 1.0


@pytest.mark.parametrize("scale", [1.0, 30.0, 1000.0])
def test_gradients_are_finite_at_extremes(head, scale):
    params, noise = arguments(head, (256,), scale=scale)
    params = tf.constant(params)
    for x in (head.sample(params, noise), tf.roll(head.sample(params, noise), 1, axis=0)):
        with tf.GradientTape() as tape:
            tape.watch(params)
            log_prob = head.log_prob(params, x)
        assert np.isfinite(log_prob).all()
        assert np.isfinite(tape.gradient(log_prob, params)).all()


# === Draws follow from noise ===


def assert_same_draws(head, actual, expected, distance):
    """Equal, but for ties of rounding (discrete) or rounding itself (continuous)."""
    if not head.levels:
        # A tie in the component would be a jump; away from ties only rounding may differ.
        safe = np.asarray(distance) > 1e-5
        np.testing.assert_allclose(np.asarray(actual)[safe], np.asarray(expected)[safe], rtol=1e-4, atol=1e-4)
        return
    differs = np.asarray(actual != expected)
    differs = differs.any(-1) if head.event_ndims else differs
    assert differs.mean() <= 0.002
    assert np.all(np.asarray(distance)[differs] <= 1e-5)


@pytest.mark.parametrize(
    ("case", "jit_compile"),
    [
        *(pytest.param(case, False, id=f"{case}-function") for case in CASES),
        # Another case of the class is compiled by default.
        *(
            pytest.param(
                case, True, id=f"{case}-xla", marks=[pytest.mark.large] * (case in ("dmol_grey", "mixture_laplace"))
            )
            for case in CASES
        ),
    ],
)
def test_sampler_is_the_same_compiled(case, jit_compile):
    head = CASES[case][0].with_channels(CASES[case][1])
    params, noise = arguments(head, (1000,))
    compiled = tf.function(head.sample, autograph=False, jit_compile=jit_compile)
    actual = compiled(tf.constant(params), tf.constant(noise), tf.constant(0.8))
    expected = head.sample(params, noise, 0.8)
    assert actual.dtype == expected.dtype
    assert_same_draws(head, actual, expected, head.boundary_distance(params, noise, 0.8))


def test_sampler_takes_a_dynamic_batch(head):
    signature = [tf.TensorSpec([None, head.params_size]), tf.TensorSpec([None, head.noise_size])]
    compiled = tf.function(head.sample, signature, autograph=False)
    for batch in (1, 5):
        params, noise = arguments(head, (batch,))
        expected = head.sample(params, noise)
        assert_same_draws(head, compiled(params, noise), expected, head.boundary_distance(params, noise))
    assert compiled.experimental_get_tracing_count() == 1


def test_temperature_broadcasts_over_positions(head):
    params, noise = arguments(head, (4, 6))
    temperature = np.linspace(0.2, 2.0, 4, dtype="float32")[:, np.newaxis]
    draws = head.sample(params, noise, temperature)
    distance = head.boundary_distance(params, noise, temperature)
    assert distance.shape == (4, 6)
    for row in range(4):
        alone = head.sample(params[row], noise[row], float(temperature[row, 0]))
        assert_same_draws(head, draws[row], alone, distance[row])
    with pytest.raises(ValueError, match="temperature must be at least 0, got -1"):
        head.sample(params, noise, -1)


def test_observed_values_are_kept(head):
    params, noise = arguments(head, (6,))
    draw = head.sample(params, noise)
    value = head.sample(*arguments(head, (6,), seed=1))
    nothing, everything = np.zeros(draw.shape, bool), np.ones(draw.shape, bool)
    np.testing.assert_array_equal(head.sample(params, noise, value=value, observed=nothing), draw)
    kept = head.sample(params, noise, value=value, observed=everything)
    assert kept.dtype == head.dtype
    np.testing.assert_array_equal(kept, value)


def test_draw_is_constant_within_the_boundary_distance(head):
    params, noise = arguments(head, (500,))
    distance = np.asarray(head.boundary_distance(params, noise))
    assert distance.shape == (500,)
    assert ((distance >= 0) & (distance <= 1)).all()
    if not head.levels:
        return
    draw = head.sample(params, noise)
    step = np.maximum(0.98 * distance - 1e-5, 0)[:, np.newaxis]
    for sign in (-1, 1):
        moved = np.clip(noise + sign * step, 1e-7, 1 - 1e-7).astype("float32")
        np.testing.assert_array_equal(head.sample(params, moved), draw)
    if not head.event_ndims:  # and no further: a boundary is crossed on one side
        step = 1.02 * distance[:, np.newaxis] + 1e-5
        crossed = [np.asarray(head.sample(params, np.clip(noise + s * step, 0, 1)) != draw) for s in (-1, 1)]
        assert np.logical_or(*crossed).all()


def test_shapes_are_checked(head):
    params, noise = arguments(head, (2,))
    with pytest.raises(ValueError, match=r"params must have shape \[\.\.\., "):
        head.log_prob(np.zeros([2, head.params_size + 1], "float32"), 0)
    with pytest.raises(ValueError, match=r"noise must have shape \[\.\.\., "):
        head.sample(params, np.zeros([2, head.noise_size + 1], "float32"))


def test_mode_has_the_shape_of_a_draw(head):
    params, noise = arguments(head, (3, 2))
    mode, draw = head.mode(params), head.sample(params, noise)
    assert (mode.dtype, mode.shape) == (draw.dtype, draw.shape)


# === Validation ===


def test_check_passes_symbolic_tensors_and_good_values(head):
    head.check(keras.KerasTensor((None, 4)))
    head.check(np.zeros([0]))
    head.check(np.array([0, 1], "uint8"))
    head.check(tf.constant([0.0, 1.0], tf.bfloat16))
    head.check(np.array([False, True]))

    @tf.function
    def traced(x):
        head.check(x)
        return x

    traced(tf.constant([300.5]))


def test_check_refuses_what_is_not_a_number(head):
    with pytest.raises(ValueError, match="pixels must be numeric, got dtype <U1"):
        head.check(np.array(["a"]), name="pixels")


# === The inverse distribution function ===


def test_index_counts_the_boundaries_below():
    logits = np.log(np.array([0.1, 0.2, 0.3, 0.4], "float32"))
    noise = np.array([0.05, 0.099, 0.101, 0.299, 0.301, 0.599, 0.601, 0.999], "float32")
    np.testing.assert_array_equal(
        index_from_uniform(tf.constant(np.tile(logits, [8, 1])), tf.constant(noise)),
        [0, 0, 1, 1, 2, 2, 3, 3],
    )


@pytest.mark.parametrize("levels", [2, 3, 64, 255, 256])
def test_index_never_has_probability_zero(levels):
    rng = np.random.default_rng(levels)
    logits = rng.normal(size=(2000, levels)).astype("float32")
    possible = rng.random((2000, levels)) < 0.3
    possible[np.arange(2000), rng.integers(0, levels, 2000)] = True
    logits = np.where(possible, logits, -np.inf).astype("float32")
    for u in (1e-45, 2.0**-24, 0.3, 1 - 2.0**-24):
        index = index_from_uniform(tf.constant(logits), tf.fill([2000], tf.constant(u, tf.float32)))
        assert possible[np.arange(2000), index.numpy()].all()


def test_index_equals_numpy_search():
    rng = np.random.default_rng(0)
    logits = 3 * rng.normal(size=(5000, 256))
    noise = rng.random(5000)
    probs = np.exp(logits - logits.max(-1, keepdims=True))
    cdf = np.cumsum(probs / probs.sum(-1, keepdims=True), -1)
    expected = (cdf[:, :-1] <= noise[:, None]).sum(-1)
    distance = np.abs(cdf[:, :-1] - noise[:, None]).min(-1)
    index = index_from_uniform(tf.constant(logits), tf.constant(noise))
    np.testing.assert_array_equal(index, expected)  # exact in float64
    np.testing.assert_allclose(index_boundary_distance(tf.constant(logits), tf.constant(noise)), distance, atol=1e-14)
    narrow = index_from_uniform(tf.constant(logits, tf.float32), tf.constant(noise, tf.float32))
    assert (distance[narrow.numpy() != expected] < 1e-6).all()


# === LiteRT ===


@functools.cache
def litert_model(case):
    """A head, and what the converter makes of its sampler; any other operation makes the converter raise."""
    head = CASES[case][0].with_channels(CASES[case][1])
    signature = [
        tf.TensorSpec([None, head.params_size], name="params"),
        tf.TensorSpec([None, head.noise_size], name="noise"),
    ]
    sample = tf.function(lambda params, noise: head.sample(params, noise), autograph=False)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([sample.get_concrete_function(*signature)])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    return head, converter.convert()


def litert_draws(model, params, noise):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model)
    index = {detail["name"]: detail["index"] for detail in interpreter.get_input_details()}
    for name, value in (("params", params), ("noise", noise)):
        interpreter.resize_tensor_input(index[name], value.shape)
    interpreter.allocate_tensors()
    for name, value in (("params", params), ("noise", noise)):
        interpreter.set_tensor(index[name], np.asarray(value))
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


@pytest.mark.parametrize("case", ["bernoulli", "categorical", "dmol_rgb", "mixture_normal"])
def test_sampler_converts_with_builtin_operations_of_litert_only(case):
    assert litert_model(case)[1]


@pytest.mark.parametrize("case", ["bernoulli", "categorical", "dmol_rgb", "mixture_normal"])
def test_sampler_is_the_same_in_litert(case):
    pytest.importorskip("ai_edge_litert", reason="the litert extra is not installed")
    head, model = litert_model(case)
    params, noise = arguments(head, (500,))
    actual = litert_draws(model, params, noise)
    expected = head.sample(params, noise)
    assert_same_draws(head, actual, expected, head.boundary_distance(params, noise))
