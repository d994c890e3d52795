import dataclasses
import json
import math

import numpy as np
import pytest

from tfar import training
from tfar.data import load_arrays


@pytest.fixture(scope="module")
def info():
    return load_arrays("digits", "test")[1]


@pytest.fixture(scope="module")
def text_info(info):
    return dataclasses.replace(info, event_shape=(None,), unit="char")


def test_the_interval_is_that_of_the_differences(info):
    first, noise = np.random.default_rng(0).normal(size=(2, 180)) * [[50], [1]] - [[100], [3]]
    found = training.paired_difference(first + noise, first, info)
    bits = -noise / 64 / math.log(2)
    half = 1.959964 * bits.std(ddof=1) / math.sqrt(180)
    assert found.bits_per_dim == pytest.approx(bits.mean())
    assert found.bits_per_dim_interval == pytest.approx((bits.mean() - half, bits.mean() + half))
    assert (found.examples, found.better, found.unit) == (180, int((noise > 0).sum()), "dim")
    # Either score's own interval is far wider.
    low, high = training.score(first, info, "raw").bits_per_dim_interval
    assert high - low > 20 * half


def test_sequences_count_by_their_elements(text_info):
    first, second = [np.zeros(10), np.zeros(30)], [np.full(10, -1.0), np.full(30, 0.1)]
    found = training.paired_difference(first, second, text_info)
    assert found.bits_per_dim == pytest.approx((-10 + 3) / 40 / math.log(2))
    assert (found.examples, found.better, found.unit) == (2, 1, "char")
    assert "bits/char (95% CI" in str(found) and "better on 1 of 2" in str(found)
    assert json.loads(json.dumps(found.to_json()))["examples"] == 2


def test_one_long_text_is_compared_in_stretches(text_info):
    first, second = np.random.default_rng(0).normal(size=(2, 5000))
    assert training.paired_difference([first], [second], text_info).examples == 5
    assert "CI" not in str(training.paired_difference([first[:9]], [second[:9]], text_info))


def test_other_examples_are_refused(info, text_info):
    with pytest.raises(ValueError, match="same examples, got 3 with 3 numbers and 4 with 4"):
        training.paired_difference(np.zeros(3), np.zeros(4), info)
    with pytest.raises(ValueError, match="same examples, got 2 with 5 numbers and 2 with 5"):
        training.paired_difference([np.zeros(3), np.zeros(2)], [np.zeros(2), np.zeros(3)], text_info)
