"""Tests of `tfar.data.splits`."""

import numpy as np
import pytest

from tfar.data import splits

FRACTIONS = {"valid_fraction": 0.1, "test_fraction": 0.1}


@pytest.mark.parametrize("num", [0, 1, 2, 3, 7, 10, 99, 1000])
@pytest.mark.parametrize("labelled", [False, True])
def test_parts_are_disjoint_and_complete(num, labelled):
    """Every example is in exactly one split; from 3 examples on no split is empty."""
    labels = np.arange(num) % 4 if labelled else None
    parts = splits.carve(num, labels, **FRACTIONS, seed=0)
    assert np.sort(np.concatenate(list(parts.values()))).tolist() == list(range(num))
    assert all(np.all(np.diff(indices) > 0) for indices in parts.values())
    if num >= 3:
        assert all(len(indices) for indices in parts.values())
    if num == 1000:
        assert [len(parts[name]) for name in splits.SPLITS] == [800, 100, 100]


def test_stratified():
    """Each class is split in proportion."""
    labels = np.repeat(np.arange(5), [10, 20, 50, 100, 200])
    parts = splits.carve(len(labels), labels, **FRACTIONS, seed=0)
    for name in ("valid", "test"):
        counts = np.bincount(labels[parts[name]], minlength=5)
        assert np.all(np.abs(counts - np.array([1, 2, 5, 10, 20])) <= 1)


def test_seed_and_repetition():
    """The same seed gives the same split, another seed another one."""
    first, again, other = (splits.carve(100, None, **FRACTIONS, seed=s)["test"] for s in (0, 0, 1))
    assert first.tolist() == again.tolist() != other.tolist()


def test_zero_fraction_takes_nothing():
    """A source with its own test set gives none of its training data to test."""
    parts = splits.carve(50, None, valid_fraction=0.2, test_fraction=0, seed=0)
    assert [len(parts[name]) for name in splits.SPLITS] == [40, 10, 0]


def test_origin():
    """Own splits are used as they are; missing ones are carved from train."""
    assert splits.origin("test", {"all": 9})[0] == "all"
    assert splits.origin("test", {"train": 9, "test": 1}) == ("test", frozenset())
    assert splits.origin("train", {"train": 9, "test": 1}) == ("train", {"train", "valid"})
    assert splits.origin("valid", {"train": 9}) == ("train", {"train", "valid", "test"})
    assert splits.origin("train", {"train": 9, "valid": 1, "test": 1}) == ("train", frozenset())


def test_errors(one_line_error):
    """Each error names the argument and its value."""
    one_line_error(ValueError, "split must be .* got 'val'", splits.check_split, "val")
    one_line_error(ValueError, "valid_fraction .* got 1", splits.check_fractions, 1, 0)
    one_line_error(ValueError, "test_fraction .* got -0.1", splits.check_fractions, 0, -0.1)
    one_line_error(ValueError, "got 0.5 . 0.5", splits.check_fractions, 0.5, 0.5)
    one_line_error(ValueError, "'valid' can only be carved", splits.origin, "valid", {"test": 1})
