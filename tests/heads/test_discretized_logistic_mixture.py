"""Discretized logistic mixture: exactness, parity with OpenAI and TFP, draws, completion."""

import itertools
import pathlib

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfar.heads import DiscretizedLogisticMixture

tfd = tfp.distributions
GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "dmol_openai.npz"


def grid(*shape):
    """Midpoints of a regular grid of (0, 1)^n, [prod(shape), n] float32."""
    axes = [(np.arange(n) + 0.5) / n for n in shape]
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(shape)).astype("float32")


def every_value(levels, channels):
    return np.array(list(itertools.product(range(levels), repeat=channels)))


def random_params(head, *batch, seed=0, dtype="float32"):
    """Means of about 0.5, log-scales around -1.5: every level of a coarse grid in play."""
    rng = np.random.default_rng(seed)
    return (0.7 * rng.normal(size=(*batch, head.params_size))).astype(dtype)


# === Parity ===


def numpy_log_prob(params, x, num_mixtures, openai):
    """OpenAI's RGB loss in float64, with its switch or with exact bins; and the bins switched."""
    params, x, k = params.astype("float64"), 2.0 * x / 255 - 1, num_mixtures
    logits, rest = params[..., :k], params[..., k:].reshape(*params.shape[:-1], 3, 3 * k)
    means, coeffs = rest[..., :k].copy(), np.tanh(rest[..., 2 * k :])
    log_scales = np.maximum(rest[..., k : 2 * k], -7)
    means[..., 1, :] += coeffs[..., 0, :] * x[..., 0, None]
    means[..., 2, :] += coeffs[..., 1, :] * x[..., 0, None] + coeffs[..., 2, :] * x[..., 1, None]

    def softplus(t):
        return np.logaddexp(0, t)

    x = x[..., None]
    a, b = (np.exp(-log_scales) * (x - means + h) for h in (1 / 255, -1 / 255))
    middle = np.exp(-log_scales) * (x - means)
    delta = np.exp(-softplus(-a)) - np.exp(-softplus(-b))
    density = middle - log_scales - 2 * softplus(middle) - np.log(127.5)
    switched = (delta <= 1e-5) & (np.abs(x) < 0.999)
    inner = np.log(-np.expm1(b - a)) - softplus(-a) - softplus(b)
    if openai:
        inner = np.where(delta > 1e-5, np.log(np.maximum(delta, 1e-12)), density)
    bins = np.where(x < -0.999, -softplus(-a), np.where(x > 0.999, -softplus(b), inner))
    joint = bins.sum(-2) + logits - np.logaddexp.reduce(logits, -1)[..., None]
    return np.logaddexp.reduce(joint, -1), switched


@pytest.mark.parametrize("num_mixtures", [1, 5, 10])
def test_openai_golden(num_mixtures):
    golden = np.load(GOLDEN)
    params, x = golden[f"l_{num_mixtures}"], golden["x_u8"]
    head = DiscretizedLogisticMixture(num_mixtures).with_channels(3)
    assert head.params_size == params.shape[-1]
    nll = -tf.reduce_sum(head.log_prob(params, x), [1, 2])
    np.testing.assert_allclose(nll, golden[f"nll_{num_mixtures}"], rtol=1e-5)
    # The exact form, to the last digit; and the golden numbers as OpenAI's own formula.
    exact, _ = numpy_log_prob(params, x, num_mixtures, openai=False)
    openai, switched = numpy_log_prob(params, x, num_mixtures, openai=True)
    np.testing.assert_allclose(head.log_prob(params.astype("float64"), x), exact, rtol=1e-12)
    np.testing.assert_allclose(-openai.sum((1, 2)), golden[f"nll_{num_mixtures}"], rtol=1e-5)
    # Only the wild parameters of K = 10 reach OpenAI's approximation, in components of no weight.
    assert switched.any() == (num_mixtures == 10)


def test_openai_approximation_is_off_in_tail_bins():
    # At the narrowest scale a bin spans d = 2/255 e^7 = 8.6 scales. In the tail, density times
    # width misses a factor sinh(d/2) / (d/2): 2.15 nats.
    head = DiscretizedLogisticMixture(1).with_channels(3)
    params = np.array([[0] + [0, -7, 0] * 3], "float64")  # logits | m, log s, t per channel
    x = np.array([[160, 127, 128]])
    exact, _ = numpy_log_prob(params, x, 1, openai=False)
    openai, switched = numpy_log_prob(params, x, 1, openai=True)
    d = 2 / 255 * np.exp(7)
    assert switched[0, :, 0].tolist() == [True, False, False]
    np.testing.assert_allclose(exact - openai, np.log(np.sinh(d / 2) / (d / 2)), rtol=1e-6)
    np.testing.assert_allclose(exact - openai, 2.15, atol=0.01)
    np.testing.assert_allclose(head.log_prob(params, x), exact, rtol=1e-12)


@pytest.mark.parametrize("bits", [1, 3, 8])
def test_one_channel_is_tfps_quantized_mixture(bits):
    head = DiscretizedLogisticMixture(4, bits=bits).with_channels(1)
    assert head.params_size == 12
    params = random_params(head, 6, dtype="float64")
    logits, means, log_scales = np.split(params, 3, -1)
    top = 2.0**bits - 1
    logistic = tfd.Logistic((means + 1) * top / 2 - 0.5, np.exp(log_scales) * top / 2)
    reference = tfd.MixtureSameFamily(
        tfd.Categorical(logits=logits), tfd.QuantizedDistribution(logistic, low=0.0, high=top)
    )
    x = np.arange(2**bits)
    np.testing.assert_allclose(
        head.log_prob(params, np.broadcast_to(x[:, None, None], [2**bits, 6, 1])),
        reference.log_prob(x[:, None].astype("float64")),
        rtol=1e-9,
        atol=1e-12,
    )


# === Normalisation ===


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float64", 1e-12)])
@pytest.mark.parametrize("bits", [1, 2, 8, 16])
def test_levels_sum_to_one_at_every_scale(bits, dtype, tolerance):
    head = DiscretizedLogisticMixture(1, bits=bits).with_channels(1)
    means = [-1e3, -30, -1.5, -1.001, -1, -0.5, 0, 0.123456, 0.999, 1, 1.02, 5, 1e3]
    log_scales = [-50, -7, -6.3, -3, -1, 0, 2, 30, 100]
    params = np.array([(0, m, s) for m in means for s in log_scales], dtype)
    levels = np.broadcast_to(np.arange(2**bits)[:, None, None], [2**bits, len(params), 1])
    total = np.exp(np.float64(head.log_prob(params, levels))).sum(0)
    np.testing.assert_allclose(total, 1.0, atol=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-10)])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_pixels_sum_to_one(channels, dtype, tolerance):
    head = DiscretizedLogisticMixture(3, bits=2).with_channels(channels)
    params = random_params(head, 20, dtype=dtype) * 2
    values = every_value(4, channels)  # [4^C, C]
    log_prob = head.log_prob(params[:, None], values[None])
    np.testing.assert_allclose(np.exp(np.float64(log_prob)).sum(-1), 1.0, atol=tolerance)


def test_rgb_of_8_bits_sums_to_one_by_chain():
    # A mixture of products has mixtures of products as marginals: channel by channel, the heads of
    # R and of (R, G) take the leading parameters of the head of (R, G, B).
    k = 5
    params = random_params(DiscretizedLogisticMixture(k).with_channels(3), dtype="float64")
    logits, m0, s0, t10, m1, s1, t20, m2, s2, t21 = np.split(params, 10)
    prefixes = {
        1: np.concatenate([logits, m0, s0]),
        2: np.concatenate([logits, m0, s0, t10, m1, s1]),
        3: params,
    }
    known = np.array([200, 30, 90])
    heads = {c: DiscretizedLogisticMixture(k).with_channels(c) for c in prefixes}
    assert [heads[c].params_size for c in prefixes] == [len(p) for p in prefixes.values()]
    past = 0.0
    for c, prefix in prefixes.items():
        values = np.tile(known[:c], [256, 1])
        values[:, -1] = np.arange(256)
        log_prob = heads[c].log_prob(prefix[None], values).numpy()
        np.testing.assert_allclose(np.logaddexp.reduce(log_prob), past, atol=1e-10)
        past = log_prob[known[c - 1]]


def test_each_channel_depends_on_those_before_it_only():
    head = DiscretizedLogisticMixture(1, bits=8).with_channels(4)
    assert head.params_size == 1 + 8 + 6
    # logits | m0 s0 t10 | m1 s1 t20 | m2 s2 t21 | m3 s3 t30 | t31 | t32
    names = "pi m0 s0 t10 m1 s1 t20 m2 s2 t21 m3 s3 t30 t31 t32".split()
    params = tf.constant(random_params(head))
    x = tf.constant([40, 200, 90, 160])
    with tf.GradientTape() as tape:
        tape.watch(params)
        log_prob = head.log_prob(params, x)
    touched = {name for name, g in zip(names, tape.gradient(log_prob, params), strict=True) if g}
    assert touched == set(names) - {"pi"}  # one component: its weight is 1
    # Hand-made: only t32 is on, so channel 3's mean is tanh(1) x_2 and the rest stay at 0.
    params = np.array([0] + [0, -7, 0] * 4 + [0, 1], "float32")
    mode = head.mode(params).numpy()
    np.testing.assert_array_equal(mode[:3], [127, 127, 127])
    drawn = head.sample(params, [0.5] * 5, value=[0, 0, 230, 0], observed=[True, True, True, False])
    expected = (np.tanh(1) * (2 * 230 / 255 - 1) + 1) * 127.5
    np.testing.assert_array_equal(drawn, [0, 0, 230, round(expected)])


# === Edge bins, limits ===


def test_edge_bins_are_open_ended():
    head = DiscretizedLogisticMixture(1).with_channels(1)
    for mean, level in ((-40.0, 0), (40.0, 255)):
        params = np.array([[0, mean, -2]], "float32")
        assert abs(head.log_prob(params, [[level]]).numpy()[0]) < 1e-6
        assert head.sample(params, [[0.5, 0.01]]).numpy().item() == level
        assert head.mode(params).numpy().item() == level
    # P(0) = sigmoid((-1 + h - mu) / s), P(255) = 1 - sigmoid((1 - h - mu) / s)
    mean, scale, h = 0.3, np.exp(-0.5), 1 / 255
    params = np.array([[0, mean, -0.5]], "float64")
    low, high = head.log_prob(np.repeat(params, 2, 0), [[0], [255]]).numpy()
    np.testing.assert_allclose(low, -np.log1p(np.exp(-(-1 + h - mean) / scale)), rtol=1e-12)
    np.testing.assert_allclose(high, -np.log1p(np.exp((1 - h - mean) / scale)), rtol=1e-12)


def test_log_scale_is_clamped_alike_in_likelihood_and_sampler():
    head = DiscretizedLogisticMixture(1, min_log_scale=-3.0).with_channels(1)
    noise = np.concatenate([np.full([1000, 1], 0.5), grid(1000)], -1).astype("float32")
    below, at = (np.tile(np.array([0, 0.1, s], "float32"), [1000, 1]) for s in (-9, -3))
    levels = np.arange(1000)[:, None] % 256
    np.testing.assert_array_equal(head.log_prob(below, levels), head.log_prob(at, levels))
    np.testing.assert_array_equal(head.sample(below, noise), head.sample(at, noise))
    assert len(np.unique(head.sample(below, noise))) > 50


def test_infinite_scale_draws_the_edges():
    head = DiscretizedLogisticMixture(1).with_channels(1)
    params = np.tile(np.array([0, 0, 1e4], "float32"), [3, 1])
    noise = np.array([[0.5, 0.2], [0.5, 0.5], [0.5, 0.8]], "float32")
    np.testing.assert_array_equal(head.sample(params, noise)[::2, 0], [0, 255])
    np.testing.assert_allclose(head.log_prob(params[:2], [[0], [255]]), np.log(0.5), rtol=1e-6)


# === Draws ===


@pytest.mark.parametrize("bits", [1, 3, 8])
def test_frequency_on_a_dense_grid_is_the_probability(bits):
    head = DiscretizedLogisticMixture(3, bits=bits).with_channels(1)
    params = random_params(head, seed=bits)
    params[:3] = np.log([0.25, 0.5, 0.25])  # boundaries on the grid of the first noise
    noise = grid(4, 2**14)
    draws = head.sample(np.broadcast_to(params, [len(noise), 9]), noise).numpy()[:, 0]
    frequency = np.bincount(draws, minlength=2**bits) / len(noise)
    expected = np.exp(head.log_prob(params, np.arange(2**bits)[:, None]))
    np.testing.assert_allclose(frequency, expected, atol=2 / 2**14)


def test_frequency_of_pixels_is_their_joint_probability():
    # The index is shared by the channels: a separate one for each would fail here.
    head = DiscretizedLogisticMixture(2, bits=2).with_channels(2)
    logits, (m0, s0, t10, m1, s1) = (
        np.log([0.25, 0.75]),
        np.array([[-0.6, 0.5], [-1.5, -1.0], [1.0, -0.7], [-0.4, 0.6], [-1.2, -1.6]]),
    )
    params = np.concatenate([logits, m0, s0, t10, m1, s1]).astype("float32")
    noise = grid(4, 400, 400)
    draws = head.sample(np.broadcast_to(params, [len(noise), len(params)]), noise).numpy()
    frequency = np.bincount(draws @ [4, 1], minlength=16) / len(noise)
    expected = np.exp(head.log_prob(params, every_value(4, 2)))
    np.testing.assert_allclose(frequency, expected, atol=2 / 400)
    product = np.outer(expected.reshape(4, 4).sum(1), expected.reshape(4, 4).sum(0)).ravel()
    assert np.abs(expected - product).max() > 10 / 400


def test_context_of_a_channel_is_the_rounded_one():
    # Two levels, R's mean just above the middle. Rounded, R is 1 and G's mean -0.5 + 1 = 0.5;
    # unrounded it would be -0.5 + 0.02, and G would be 0.
    head = DiscretizedLogisticMixture(1, bits=1).with_channels(2)
    params = np.array([[0, 0.02, -7, 30, -0.5, -7]], "float32")
    np.testing.assert_array_equal(head.sample(params, [[0.5, 0.5, 0.5]]), [[1, 1]])


@pytest.mark.parametrize("prefix", [1, 2])
def test_completion_draws_from_the_conditional(prefix):
    head = DiscretizedLogisticMixture(2, bits=2).with_channels(3)
    # Two components far apart: logits | m0 s0 t10 | m1 s1 t20 | m2 s2 t21
    first = [0, -0.8, -1.5, 0.2, 0.6, -1.2, -0.3, -0.5, -1, 0.1]
    second = [0.5, 0.7, -1.3, -0.4, -0.7, -1.5, 0.5, 0.8, -1.2, -0.2]
    params = np.stack([first, second], -1).ravel().astype("float32")
    value = np.array([0, 2, 0])
    observed = np.arange(3) < prefix
    noise = grid(64, *[1 if known else 64 for known in observed])
    batch = np.broadcast_to(params, [len(noise), len(params)])
    draws = head.sample(
        batch,
        noise,
        value=np.broadcast_to(value, [len(noise), 3]),
        observed=np.broadcast_to(observed, [len(noise), 3]),
    ).numpy()
    assert (draws[:, observed] == value[observed]).all()
    frequency = np.bincount(draws @ [16, 4, 1], minlength=64) / len(noise)
    values = every_value(4, 3)
    joint = np.exp(head.log_prob(params, values)) * (values[:, observed] == value[observed]).all(-1)
    expected = joint / joint.sum()
    np.testing.assert_allclose(frequency, expected, atol=1 / 64 + 2 / 64)
    # Drawing every channel and overwriting the known ones is much further away.
    blind = head.sample(batch, noise).numpy() * ~observed + value * observed
    wrong = np.bincount(blind @ [16, 4, 1], minlength=64) / len(noise)
    assert np.abs(wrong - expected).max() > 3 * np.abs(frequency - expected).max()


def test_completion_may_differ_by_row():
    head = DiscretizedLogisticMixture(2).with_channels(3)
    params, noise = random_params(head, 3), grid(3, 1, 1, 1)
    value = np.tile([9, 99, 199], [3, 1])
    observed = np.array([[False] * 3, [True, False, False], [True, True, False]])
    together = head.sample(params, noise, value=value, observed=observed)
    np.testing.assert_array_equal(together.numpy()[observed], value[observed])
    for row in range(3):
        alone = head.sample(params[row], noise[row], value=value[row], observed=observed[row])
        np.testing.assert_array_equal(together[row], alone)


def test_temperature_scales_logits_and_scales():
    head = DiscretizedLogisticMixture(3).with_channels(3)
    params = random_params(head, 200).reshape(200, 10, 3)
    noise = np.random.default_rng(0).uniform(0.001, 0.999, (200, 4)).astype("float32")
    tempered = params.copy()
    tempered[:, 0] /= 0.5
    tempered[:, [2, 5, 8]] += np.log(0.5)  # none of these log-scales is near the clamp
    draws = head.sample(params.reshape(200, 30), noise, 0.5).numpy()
    expected = head.sample(tempered.reshape(200, 30), noise).numpy()
    assert (draws != expected).any(-1).mean() <= 0.01
    assert np.abs(draws - expected).max() <= 1
    cold = head.sample(params.reshape(200, 30), noise, 0.0).numpy()
    means = np.take_along_axis(params, params[:, :1].argmax(-1)[..., None], -1)[:, 1, 0]
    np.testing.assert_array_equal(cold[:, 0], np.clip(np.rint((means + 1) * 127.5), 0, 255))


# === Mode and distribution ===


def test_mode_of_one_channel_is_the_most_probable_level():
    head = DiscretizedLogisticMixture(4, bits=8).with_channels(1)
    params = random_params(head, 50)
    log_prob = head.log_prob(params, np.broadcast_to(np.arange(256)[:, None, None], [256, 50, 1]))
    np.testing.assert_array_equal(head.mode(params)[:, 0], np.argmax(log_prob, 0))


def test_mode_of_several_channels_is_greedy():
    head = DiscretizedLogisticMixture(3, bits=2).with_channels(3)
    params = np.stack([random_params(head, seed=seed) for seed in range(10)])
    joints = np.exp(head.log_prob(params[:, None], every_value(4, 3)[None])).reshape(10, 4, 4, 4)
    for joint, mode in zip(joints, head.mode(params).numpy(), strict=True):
        r = joint.sum((1, 2)).argmax()
        g = joint[r].sum(1).argmax()
        np.testing.assert_array_equal(mode, [r, g, joint[r, g].argmax()])


def test_mode_of_many_bits_is_at_a_component_or_an_edge():
    head = DiscretizedLogisticMixture(3, bits=12).with_channels(2)
    params = random_params(head, 20)
    params.reshape(20, 6, 3)[:, [2, 5]] -= 5  # narrow components
    mode = head.mode(params)
    draws = head.sample(params, np.random.default_rng(0).random((20, 3)) * 0.8 + 0.1)
    assert (head.log_prob(params, mode).numpy() >= head.log_prob(params, draws).numpy()).mean() > 0.8


def test_distribution_takes_scalars_and_slices():
    head = DiscretizedLogisticMixture(2).with_channels(1)
    distribution = head.distribution(random_params(head, 2, 3))
    np.testing.assert_array_equal(distribution.prob(90), distribution.prob(np.full([2, 3, 1], 90)))
    assert distribution[0].batch_shape == (3,)
    np.testing.assert_array_equal(distribution[0].prob(90), distribution.prob(90)[0])
    np.testing.assert_array_equal(distribution.mode(), head.mode(distribution.params))
    draws = distribution.sample(4000, seed=(3, 4)).numpy()[:, 0, 0, 0]
    levels = np.arange(256)
    probs = np.exp(head.log_prob(distribution.params[0, 0], levels[:, None]))
    assert abs(draws.mean() - probs @ levels) < 6 * draws.std() / np.sqrt(4000)


# === Errors ===


def test_unbound_head_says_so():
    head = DiscretizedLogisticMixture(5)
    for name in ("params_size", "noise_size"):
        with pytest.raises(ValueError, match=r"call with_channels\(c\) first"):
            getattr(head, name)


def test_sizes():
    for channels, size in ((1, 3), (2, 6), (3, 10), (4, 15)):
        head = DiscretizedLogisticMixture(7, bits=5).with_channels(channels)
        assert (head.params_size, head.noise_size, head.levels) == (7 * size, 1 + channels, 32)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_mixtures": 0}, "num_mixtures must be an integer of at least 1, got 0"),
        ({"num_mixtures": 1, "bits": 17}, "bits must be an integer from 1 to 16, got 17"),
        ({"num_mixtures": 1, "bits": 8.0}, "bits must be an integer from 1 to 16, got 8.0"),
        ({"num_mixtures": 1, "min_log_scale": np.inf}, "min_log_scale must be a finite number"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        DiscretizedLogisticMixture(**arguments)


def test_values_are_checked():
    head = DiscretizedLogisticMixture(2, bits=5).with_channels(3)
    with pytest.raises(ValueError, match="image must hold whole numbers from 0 to 31 for .*, got 32"):
        head.check(np.array([31, 32], "uint8"), name="image")
    with pytest.raises(ValueError, match=r"x must have shape \[\.\.\., 3\]"):
        head.log_prob(random_params(head, 2), np.zeros([2, 1]))
