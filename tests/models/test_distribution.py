"""The model as a distribution of TensorFlow Probability."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import tfar


@pytest.fixture(scope="module")
def model():
    model = tfar.models.from_preset(
        "gated_pixel_cnn_tiny",
        event_shape=(3, 2, 1),
        head=tfar.heads.Categorical(3),
        condition=tfar.conditions.Label(4),
    )
    tfar.testing.randomize_weights(model)
    return model


def test_a_batch_of_conditions_is_a_batch_of_distributions(model):
    p = model.distribution([0, 3])
    assert isinstance(p, tfp.distributions.Distribution)
    assert p.batch_shape == [2]
    assert p.event_shape == [3, 2, 1]
    x = p.sample(5, seed=(1, 2))
    assert x.shape == [5, 2, 3, 2, 1]
    nats = p.log_prob(x)
    assert nats.shape == [5, 2]
    for b, label in enumerate([0, 3]):
        np.testing.assert_allclose(nats[:, b], model.log_prob(x[:, b], condition=[label] * 5), rtol=1e-5)


def test_one_event_is_scored_under_every_distribution_of_the_batch(model):
    x = tf.ones([3, 2, 1], tf.int32)
    nats = model.distribution([0, 1, 2]).log_prob(x)
    expected = model.log_prob(tf.stack([x] * 3), condition=[0, 1, 2])
    np.testing.assert_allclose(nats, expected, rtol=1e-5)


def test_one_condition_is_no_batch(model):
    p = model.distribution(2)
    assert p.batch_shape == []
    assert p.sample(seed=(0, 0)).shape == [3, 2, 1]
    np.testing.assert_array_equal(p.sample(3, seed=(4, 5)), p.sample(3, seed=(4, 5)))


def test_a_missing_condition_is_refused(model):
    with pytest.raises(ValueError, match="condition is required"):
        model.distribution()


def test_mean_entropy_and_divergence_are_estimates():
    keras.utils.set_random_seed(0)
    build = lambda: tfar.models.MADE((2,), tfar.heads.Bernoulli(), hidden=(4,))  # noqa: E731
    models = build(), build()
    for model in models:
        tfar.testing.randomize_weights(model)
    p, q = (model.distribution() for model in models)
    x = np.stack(np.meshgrid(*[[0, 1]] * 2), -1).reshape(-1, 2)
    of_p, of_q = (model.log_prob(x).numpy().astype(np.float64) for model in models)
    exact = {
        "mean": np.exp(of_p) @ x,
        "entropy": -np.exp(of_p) @ of_p,
        "divergence": np.exp(of_p) @ (of_p - of_q),
    }
    found = {
        "mean": p.mean(num=128, seed=(0, 1)),
        "entropy": p.entropy(num=128, seed=(0, 2)),
        "divergence": p.kl_divergence(q, num=128, seed=(0, 3)),
    }
    for name, value in exact.items():
        # Five standard errors of a mean over 128 samples.
        spread = {"mean": 0.5, "entropy": np.std(of_p), "divergence": np.std(of_p - of_q)}[name]
        np.testing.assert_allclose(found[name], value, atol=5 * max(spread, 0.1) / 128**0.5 + 1e-6)
    assert float(p.kl_divergence(p, num=4, seed=(0, 4))) == 0
    with pytest.raises(ValueError, match="other must have the event shape"):
        p.kl_divergence(tfp.distributions.Normal(0.0, 1.0))
