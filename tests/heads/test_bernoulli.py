"""Bernoulli head: agreement with TFP and with Categorical(2), refusal of anything but 0 and 1."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfar.heads import Bernoulli, Categorical


def test_log_prob_is_tfp():
    logits = np.linspace(-30, 30, 61, dtype="float32")
    x = np.arange(61) % 2
    reference = tfp.distributions.Bernoulli(logits=logits).log_prob(x)
    np.testing.assert_array_equal(Bernoulli().log_prob(logits[:, None], x), reference)
    total = sum(np.exp(Bernoulli().log_prob(logits[:, None], v)) for v in (0, 1))
    np.testing.assert_allclose(total, 1.0, atol=1e-6)


def test_equals_categorical_of_two():
    logits = np.linspace(-5, 5, 41, dtype="float32")
    noise = ((np.arange(41) * 0.381966) % 1.0).astype("float32") * 0.99 + 0.005
    pair = np.stack([np.zeros_like(logits), logits], -1)
    for temperature in (1.0, 0.5, 0.0):
        np.testing.assert_array_equal(
            Bernoulli().sample(logits[:, None], noise[:, None], temperature),
            Categorical(2).sample(pair, noise[:, None], temperature),
        )
    np.testing.assert_array_equal(Bernoulli().mode(logits[:, None]), Categorical(2).mode(pair))
    np.testing.assert_allclose(
        Bernoulli().boundary_distance(logits[:, None], noise[:, None]),
        Categorical(2).boundary_distance(pair, noise[:, None]),
        atol=1e-6,
    )


@pytest.mark.parametrize("logit", [-3.0, 0.0, 1.0, 20.0])
def test_frequency_on_a_dense_grid_is_the_probability(logit):
    n = 4096
    noise = ((np.arange(n) + 0.5) / n).astype("float32")[:, None]
    frequency = Bernoulli().sample(np.full([n, 1], logit, "float32"), noise).numpy().mean()
    assert abs(frequency - 1 / (1 + np.exp(-logit))) <= 1 / n


def test_encode_keeps_zero_and_one():
    np.testing.assert_array_equal(Bernoulli().encode(np.array([0, 1], "uint8")), [0.0, 1.0])


@pytest.mark.parametrize(
    ("x", "shown"),
    [
        (np.array([0, 255, 7], "uint8"), "255"),
        (np.array([0.0, 0.5]), "0.5"),
        (np.array([0.0, np.nan]), "nan"),
        (np.array([-1]), "-1"),
        (tf.constant([[2]]), "2"),
        ([0, 1, 3], "3"),
    ],
)
def test_check_says_to_binarize(x, shown):
    with pytest.raises(ValueError) as error:
        Bernoulli().check(x, name="image")
    message = str(error.value)
    assert message.startswith(f"image must hold 0 and 1 for Bernoulli(), got {shown};")
    assert 'transforms=("binarize",)' in message
    assert "\n" not in message
