"""Categorical head: agreement with TFP, frequencies of draws, temperature, refusals."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfar.heads import Categorical


def test_log_prob_is_tfp_and_log_softmax():
    rng = np.random.default_rng(0)
    logits = (5 * rng.normal(size=(20, 9))).astype("float32")
    x = rng.integers(0, 9, 20)
    log_prob = Categorical(9).log_prob(logits, x)
    np.testing.assert_array_equal(log_prob, tfp.distributions.Categorical(logits=logits).log_prob(x))
    np.testing.assert_allclose(log_prob, tf.nn.log_softmax(logits).numpy()[np.arange(20), x], rtol=1e-5, atol=1e-6)


def test_distribution_gives_the_histogram_of_every_position():
    logits = np.random.default_rng(0).normal(size=(2, 3, 3, 256)).astype("float32")
    distribution = Categorical(256).distribution(logits)
    probability = distribution.prob(90)
    assert probability.shape == (2, 3, 3)
    np.testing.assert_allclose(probability, tf.nn.softmax(logits)[..., 90], rtol=1e-5)
    np.testing.assert_allclose(distribution.probs_parameter(), tf.nn.softmax(logits), rtol=1e-5)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_frequency_on_a_dense_grid_is_the_probability(temperature):
    n, levels = 8192, 11
    logits = (2 * np.random.default_rng(1).normal(size=levels)).astype("float32")
    noise = ((np.arange(n) + 0.5) / n).astype("float32")[:, None]
    draws = Categorical(levels).sample(np.tile(logits, [n, 1]), noise, temperature).numpy()
    frequency = np.bincount(draws, minlength=levels) / n
    scaled = np.tile(logits / temperature, [levels, 1]).astype("float32")
    expected = np.exp(Categorical(levels).log_prob(scaled, np.arange(levels)))
    np.testing.assert_allclose(frequency, expected, atol=1 / n)


@pytest.mark.parametrize("temperature", [1e-4, 1e-30, 0.0])
def test_temperature_zero_is_the_mode(temperature):
    rng = np.random.default_rng(2)
    logits = (3 * rng.normal(size=(500, 16))).astype("float32")
    logits[:, 3] = -np.inf  # e.g. ruled out by top-k
    noise = rng.uniform(0.01, 0.99, (500, 1)).astype("float32")
    gap = np.diff(np.sort(logits, -1)[:, -2:], axis=-1)[:, 0]
    clear = gap > 0.01  # at T = 1e-4 nearer logits still share
    draws = Categorical(16).sample(logits, noise, temperature).numpy()
    np.testing.assert_array_equal(draws[clear], Categorical(16).mode(logits).numpy()[clear])
    assert clear.mean() > 0.9


def test_encode_spans_minus_one_to_one():
    np.testing.assert_allclose(Categorical(5).encode([0, 1, 2, 3, 4]), [-1, -0.5, 0, 0.5, 1])
    assert Categorical(2).levels == 2
    assert Categorical(256).encode(np.array([255], "uint8")).numpy() == 1.0


@pytest.mark.parametrize(
    ("x", "shown"),
    [
        (np.array([0, 4], "uint8"), "4"),
        (np.array([3, -1]), "-1"),
        (np.array([1.5]), "1.5"),
        (np.array([np.inf]), "inf"),
        (tf.constant([0.0, np.nan]), "nan"),
    ],
)
def test_check_refuses_other_values(x, shown):
    with pytest.raises(ValueError) as error:
        Categorical(4).check(x)
    assert str(error.value) == (f"x must hold whole numbers from 0 to 3 for Categorical(levels=4), got {shown}")


@pytest.mark.parametrize("levels", [1, 0, 2.0, None, True, "256"])
def test_levels_are_checked(levels):
    with pytest.raises(ValueError, match="levels must be an integer of at least 2, got"):
        Categorical(levels)
