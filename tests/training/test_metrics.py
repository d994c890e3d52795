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


def test_parts_of_a_chain_sum_to_its_score(arrays):
    model = tfar.models.GrayscalePixelCNN((3, 3, 1), tfar.heads.Bernoulli(), 1, filters=2, num_resnets=1)
    tfar.testing.randomize_weights(model)
    with tfar.testing.eagerly():
        nats = training.log_probs(model, {"x": arrays["x"][:5]}, 4, in_parts=True)
        np.testing.assert_allclose(nats.sum(1), model.log_prob(arrays["x"][:5]), rtol=1e-5)
    _, info = load_arrays("digits", "test")
    nats = np.stack([np.where(np.arange(180) % 2, -20.0, -40.0), np.full(180, -70.0)], 1)
    score = training.score(nats, info, "averaged", part_names=["gray", "image"])
    whole = training.score(nats.sum(1), info, "averaged")
    assert score.parts == pytest.approx({"gray": 30 / 64 / math.log(2), "image": 70 / 64 / math.log(2)})
    assert sum(score.parts.values()) == pytest.approx(score.bits_per_dim)
    assert score.nats_interval == whole.nats_interval and "bits/dim of parts: gray 0.676 + image 1.578" in str(score)
    assert score.to_json()["parts"] == score.parts and "parts" not in whole.to_json()


def test_a_part_of_the_split_is_refused():
    _, info = load_arrays("digits", "test")
    with pytest.raises(ValueError, match="180 examples, got 179"):
        training.score(np.zeros(179), info, "raw")


def test_binarization_is_named():
    _, info = load_arrays("digits", "test", transforms="dynamic_binarize")
    assert "binarization=dynamic" in str(training.score(np.zeros(180), info, "raw"))
