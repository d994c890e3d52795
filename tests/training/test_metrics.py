import math

import numpy as np
import pytest

import tfar
from tfar import training
from tfar.data import load_arrays


def test_every_example_is_scored_once(arrays):
    model = tfar.models.MADE((3, 3, 1), tfar.heads.Bernoulli(), hidden=(4,), condition=tfar.conditions.Label(2))
    tfar.testing.randomize_weights(model)
    seen = []
    nats = training.log_probs(model, arrays, 7, lambda done, total: seen.append((done, total)))
    np.testing.assert_allclose(nats, model.log_prob(arrays["x"], arrays["condition"]), rtol=1e-5)
    assert nats.shape == (20,) and nats.dtype == np.float64 and seen == [(7, 20), (14, 20), (20, 20)]


def test_interval_and_units():
    _, info = load_arrays("digits", "test")
    nats = np.where(np.arange(180) % 2, -90.0, -110.0)
    score = training.score(nats, info, "averaged")
    half = 1.96 * 10 * math.sqrt(180 / 179) / math.sqrt(180)
    assert score.nats == 100 and score.nats_interval == pytest.approx((100 - half, 100 + half), abs=1e-3)
    assert score.bits_per_dim == pytest.approx(100 / 64 / math.log(2))
    assert score.bits_per_dim_interval[0] < score.bits_per_dim < score.bits_per_dim_interval[1]
    for part in (
        "digits test",
        "2.254 bits/dim",
        "100.00 nats per image",
        "180 images",
        "averaged weights",
        "single model",
    ):
        assert part in str(score)


def test_a_part_of_the_split_is_refused():
    _, info = load_arrays("digits", "test")
    with pytest.raises(ValueError, match="180 examples, got 179"):
        training.score(np.zeros(179), info, "raw")


def test_binarization_is_named():
    _, info = load_arrays("digits", "test", transforms="dynamic_binarize")
    assert "binarization=dynamic" in str(training.score(np.zeros(180), info, "raw"))
