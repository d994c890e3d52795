"""Continuous mixtures: agreement with TFP, the sampler's distribution function, refusals."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfar.heads import Mixture
from tfar.heads.mixture import _normal_quantile

tfd = tfp.distributions
FAMILIES = ["Normal", "Logistic", "Laplace", "Gumbel", "Gamma", "Beta", "Exponential"]


def random_params(head, *batch, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(*batch, head.params_size)).astype("float32")


def test_log_prob_is_a_hand_made_mixture():
    head = Mixture(tfd.Normal, 3)
    params = random_params(head, 10)
    logits, loc, raw = np.split(params, 3, -1)
    x = np.linspace(-4, 4, 10, dtype="float32")
    reference = tfd.MixtureSameFamily(tfd.Categorical(logits=logits), tfd.Normal(loc, tf.math.softplus(raw)))
    np.testing.assert_allclose(head.log_prob(params, x), reference.log_prob(x), rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_draws_on_a_dense_grid_follow_the_distribution_function(family):
    head = Mixture(family, 2)
    params = random_params(head, seed=1)
    params[:2] = np.log([0.25, 0.75])  # the boundary on the grid of the first noise
    u0, u1 = np.meshgrid((np.arange(4) + 0.5) / 4, (np.arange(1000) + 0.5) / 1000)
    noise = np.stack([u0.ravel(), u1.ravel()], -1).astype("float32")
    draws = np.sort(head.sample(np.broadcast_to(params, [4000, len(params)]), noise))
    cdf = head.distribution(params).cdf(draws).numpy()
    np.testing.assert_allclose(cdf, (np.arange(4000) + 0.5) / 4000, atol=3 / 1000)
    assert np.isfinite(head.log_prob(np.broadcast_to(params, [4000, len(params)]), draws)).all()


def test_density_integrates_to_one():
    head = Mixture("Logistic", 4)
    params = random_params(head, 5)
    x = np.linspace(-60, 60, 20001, dtype="float32")
    density = np.exp(head.log_prob(params[:, None], x[None]))
    np.testing.assert_allclose(np.trapezoid(density, x, axis=-1), 1.0, atol=1e-4)


def test_normal_quantile_is_ndtri():
    u = np.concatenate([(np.arange(4096) + 0.5) / 4096, 10.0 ** -np.arange(1, 30)])
    u = np.concatenate([u, 1 - 2.0 ** -np.arange(1, 25)]).astype("float32")
    expected = tf.math.ndtri(tf.constant(u, tf.float64))
    np.testing.assert_allclose(_normal_quantile(tf.constant(u)), expected, rtol=5e-7, atol=5e-7)


def test_temperature_scales_logits_and_scale():
    head = Mixture("Normal", 2)
    params = random_params(head, 100)
    noise = np.random.default_rng(0).uniform(0.01, 0.99, (100, 2)).astype("float32")
    logits, loc, raw = np.split(params, 3, -1)
    k = (noise[:, 0] >= 1 / (1 + np.exp((logits[:, 1] - logits[:, 0]) / 0.3))).astype(int)[:, None]
    loc, scale = (np.take_along_axis(t, k, -1)[:, 0] for t in (loc, np.log1p(np.exp(raw))))
    expected = loc + 0.3 * scale * tf.math.ndtri(noise[:, 1])
    np.testing.assert_allclose(head.sample(params, noise, 0.3), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(  # the limit: the location of the weightiest component
        head.sample(params, noise, 0.0),
        np.take_along_axis(params[:, 2:4], logits.argmax(-1)[:, None], -1)[:, 0],
        rtol=1e-6,
    )


@pytest.mark.parametrize("family", ["Normal", "Beta", "Weibull", "LogNormal"])
def test_mode_is_no_less_dense_than_any_component_mode(family):
    head = Mixture(family, 3)
    params = random_params(head, 40)
    density = head.log_prob(params, head.mode(params)).numpy()
    _, *blocks = head._split(tf.constant(params))
    medians = head._member(blocks).quantile(0.5)
    assert np.isfinite(density).all()
    if family == "Normal":
        for k in range(3):
            assert (density + 1e-5 >= head.log_prob(params, medians[:, k]).numpy()).all()


def test_float64_draws_and_densities():
    head = Mixture("Normal", 2)
    params = random_params(head, 5).astype("float64")
    draws = head.sample(params, np.full([5, 2], 0.3))
    assert draws.dtype == tf.float32
    assert head.log_prob(params, draws).dtype == tf.float64


def test_config_stores_the_family_by_name():
    head = Mixture(tfd.Laplace, 4)
    assert head.get_config() == {"family": "Laplace", "num_components": 4}
    assert head == Mixture("Laplace", 4)
    assert head.params_size == 12
    assert Mixture("Exponential", 4).params_size == 8
    config = keras.saving.serialize_keras_object(head)
    assert config["config"]["family"] == "Laplace"


def test_head_made_inside_a_graph_works_outside():
    made = []

    @tf.function
    def trace():
        made.append(Mixture("Normal", 2))
        return 0

    trace()
    assert np.isfinite(made[0].log_prob(np.zeros([1, 6], "float32"), [0.0])).all()


@pytest.mark.parametrize(
    ("family", "message"),
    [
        (tfd.VonMises, "family VonMises has no quantile"),
        ("InverseGaussian", "family InverseGaussian has no quantile"),
        (tfd.MultivariateNormalDiag, "MultivariateNormalDiag has no automatic constraint .* 'loc'"),
        (tfd.Uniform, "family Uniform has no automatic constraint for its parameter 'high'"),
        (tfd.Bernoulli, "family must be of continuous scalars, got Bernoulli"),
        (tfd.LKJ, "family LKJ cannot be made"),
        (tfd.PixelCNN, "family PixelCNN does not declare its parameters"),
        ("Norml", "family must be a distribution of tfp.distributions or its name, got 'Norml'"),
        (keras.Model, "family must be a distribution of tfp.distributions or its name, got"),
    ],
)
def test_unfit_families_are_named(family, message):
    with pytest.raises(ValueError, match=message):
        Mixture(family, 2)


def test_check_refuses_nan_and_infinity():
    head = Mixture("Normal", 2)
    head.check(np.array([-1e30, 7.0]))
    for bad in (np.nan, np.inf, -np.inf):
        with pytest.raises(ValueError, match="wave must hold finite numbers for Mixture.*, got"):
            head.check(np.array([0.0, bad], "float32"), name="wave")
