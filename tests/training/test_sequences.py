"""Scores of sequences: every element once, from all that the model can use."""

import math

import numpy as np
import pytest
import tensorflow as tf

import tfar
from tests.closeness import assert_close
from tfar import testing, training
from tfar.data import DataInfo
from tfar.training import sequences

HEAD = tfar.heads.Categorical(4)


def built(cls=tfar.models.CharRNN, **arguments):
    model = cls((None,), HEAD, **arguments)
    testing.randomize_weights(model)
    return model


@pytest.fixture(scope="module")
def model():
    return built(units=5)


@pytest.fixture
def x():
    return np.random.default_rng(0).integers(0, 4, [1, 45]).astype(np.int32)


def test_blocks_with_carried_state_are_exact(model, x, monkeypatch):
    monkeypatch.setattr(sequences, "_WHOLE", 10)
    seen = []
    (nats,) = training.sequence_log_probs(model, {"x": x}, block=8, progress=lambda *done: seen.append(done))
    assert_close(nats, model.score(x)[0])
    assert nats.dtype == np.float64 and seen[0] == (8, 45) and seen[-1] == (45, 45)


def test_blocks_of_a_convolution_are_exact(x, monkeypatch):
    monkeypatch.setattr(sequences, "_WHOLE", 10)
    network = built(tfar.models.CausalConvNet, filters=3, num_layers=3)
    (nats,) = training.sequence_log_probs(network, {"x": x}, block=4)
    assert_close(nats, network.score(x)[0])


def test_sequences_of_unequal_lengths(model, x, monkeypatch):
    rows, lengths = x.reshape(5, 9), [9, 3, 1, 9, 5]
    for whole in (100, 4):
        monkeypatch.setattr(sequences, "_WHOLE", whole)
        found = training.sequence_log_probs(model, {"x": rows, "length": lengths}, batch_size=2, block=4)
        assert [len(nats) for nats in found] == lengths
        with testing.eagerly():  # every length is scored by itself
            alone = [model.score(row[None, :length])[0] for row, length in zip(rows, lengths, strict=True)]
        for nats, expected in zip(found, alone, strict=True):
            assert_close(nats, expected)


def test_a_condition_goes_with_its_sequence(x):
    model = built(units=5, condition=tfar.conditions.Label(3))
    labels = np.array([2, 0, 1, 1, 2], np.int32)
    found = training.sequence_log_probs(model, {"x": x.reshape(5, 9), "condition": labels}, batch_size=4)
    assert_close(np.stack(found), model.score(x.reshape(5, 9), labels))


def test_rows_begin_without_context(model, x):
    (nats,) = training.sequence_log_probs(model, {"x": x}, rows=3)
    assert_close(nats, np.concatenate(model.score(x.reshape(3, 15))))
    with pytest.raises(ValueError, match="rows must be 1 for 2 sequences"):
        training.sequence_log_probs(model, {"x": np.zeros([2, 4], np.int32)}, rows=3)


class Counting:
    """A model of at most 8 elements that scores an element by the number of those before it."""

    longest_event = 8

    def score(self, x, condition=None):
        assert x.shape[1] <= 8
        return tf.cast(x, tf.float32) * 100 + tf.range(x.shape[1], dtype=tf.float32)[None]


@pytest.mark.parametrize("length", [3, 8, 9, 11, 12, 13, 40])
def test_windows_overlap_by_half(length):
    x = np.arange(length)[None]
    (scores,) = training.sequence_log_probs(Counting(), {"x": x}, batch_size=3)
    values, before = np.divmod(scores, 100)
    np.testing.assert_array_equal(values, x[0])  # every element once
    np.testing.assert_array_equal(before[:8], np.arange(min(8, length)))
    assert (before[8:] >= 4).all()


def info(num_values, unit="char", **changes):
    values = {
        "name": "text:a", "split": "valid", "event_shape": (None,), "levels": 4, "num_examples": 1, "num_labels": None,
        "label_names": None, "dtype": "int32", "transforms": (), "split_note": "", "fingerprint": "f",
    }  # fmt: skip
    return DataInfo(**values, unit=unit, num_values=num_values, **changes)


def test_the_score_of_a_text():
    nats = np.log(np.random.default_rng(0).uniform(0.2, 0.3, 5000))
    score = training.sequence_score([nats], info(5000), "averaged", "every element given all before it")
    assert score.nats == pytest.approx(-nats.mean()) and score.bits_per_dim == pytest.approx(-nats.mean() / math.log(2))
    stretches = nats.reshape(5, 1000).mean(1)
    half = 1.96 * stretches.std(ddof=1) / math.sqrt(5)
    assert score.nats_interval[1] - score.nats == pytest.approx(half, rel=0.01)
    line = str(score)
    for part in ("text:a valid", "bits/char", "nats/char", "5000 characters in 1 sequence,", "averaged weights"):
        assert part in line
    record = score.to_json()
    assert record["bits_per_char"] == record["bits_per_dim"] and record["nats_per_char"] == record["nats"]
    with pytest.raises(ValueError, match="each of 7 chars, got 5000"):
        training.sequence_score([nats], info(7), "raw")


def test_the_score_of_recordings_weighs_every_sample_alike():
    parts = [np.full(10, -1.0), np.full(30, -3.0)]
    score = training.sequence_score(parts, info(40, "sample"), "raw")
    assert (
        score.nats == pytest.approx(2.5) and "40 samples in 2 sequences" in str(score) and "bits/sample" in str(score)
    )
    assert score.nats_interval[0] < 2.5 < score.nats_interval[1]


def test_how_scored(model):
    assert training.how_scored(model) == "every element given all before it that the model sees"
    assert training.how_scored(Counting()) == "windows of 8 that overlap by half"
