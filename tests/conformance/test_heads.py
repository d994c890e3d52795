"""Every head of the registry is a distribution, and draws what its probabilities say."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfar.testing.registry import HEADS

every_head = pytest.mark.parametrize("case", HEADS, ids=lambda case: case.name)


def parameters(head, shape=(), seed=0):
    rng = np.random.default_rng(seed)
    return tf.constant(rng.normal(size=(*shape, head.params_size)), tf.float32)


@every_head
def test_config_round_trip(case):
    head = case.build()
    assert type(head).__name__ == case.name.split("_")[0]
    other = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(head))
    assert other == head
    assert other.get_config() == head.get_config()


@every_head
def test_is_a_distribution(case):
    head = case.build().with_channels(case.channels)
    distribution = head.distribution(parameters(head, (2, 3)))
    assert isinstance(distribution, tfp.distributions.Distribution)
    assert distribution.batch_shape == (2, 3)
    assert distribution.event_shape == ((case.channels,) if head.event_ndims else ())


@every_head
def test_draws_match_probabilities(case):
    head = case.build().with_channels(case.channels)
    params, num = parameters(head), 20_000
    noise = np.random.default_rng(1).uniform(size=(num, head.noise_size)).astype(np.float32)
    many = tf.broadcast_to(params, (num, head.params_size))
    draws = head.sample(many, np.clip(noise, 1e-7, 1 - 1e-7)).numpy()
    distribution = head.distribution(params)
    if head.levels is None:
        # Kolmogorov-Smirnov: the distribution function of the draws is uniform (p = 1e-4 at 2.2).
        u = np.sort(distribution.cdf(draws))
        assert np.abs(u - (np.arange(num) + 0.5) / num).max() < 2.2 / np.sqrt(num)
        return
    events = np.array(list(itertools.product(range(head.levels), repeat=case.channels)))
    events = events if head.event_ndims else events[:, 0]
    expected = np.exp(head.log_prob(tf.broadcast_to(params, (len(events), head.params_size)), events))
    np.testing.assert_allclose(expected.sum(), 1, atol=1e-5)
    weights = head.levels ** np.arange(case.channels)[::-1]
    index = draws @ weights if head.event_ndims else draws
    found = np.bincount(index, minlength=len(events)) / num
    # Five standard deviations of a frequency.
    assert (np.abs(found - expected) < 5 * np.sqrt(expected * (1 - expected) / num) + 1e-4).all()


@every_head
def test_greedy_is_the_limit_of_temperature(case):
    head = case.build().with_channels(case.channels)
    params = parameters(head, (50,))
    low, high = (head.sample(params, tf.fill([50, head.noise_size], u), temperature=1e-9).numpy() for u in (0.01, 0.99))
    np.testing.assert_allclose(low, high, atol=1e-4)


@every_head
def test_logits_are_unnormalized_log_probabilities(case):
    head = case.build().with_channels(case.channels)
    params = parameters(head, (2, 3))
    if head.levels is None or head.event_ndims:
        with pytest.raises(ValueError, match="logits are of heads with levels"):
            head.logits(params)
        return
    logits = head.logits(tf.cast(params, tf.bfloat16))
    assert logits.shape == (2, 3, head.levels) and logits.dtype == tf.float32
    expected = head.log_prob(params[..., None, :], tf.range(head.levels))
    np.testing.assert_allclose(tf.nn.log_softmax(head.logits(params)), expected, atol=1e-5)
