"""Tests of `tfar.data.values`."""

import numpy as np
import pytest

from tfar.data import values


@pytest.mark.parametrize(
    ("x", "levels"),
    [
        (np.array([True, False]), 2),
        (np.zeros(3, np.uint8), 2),
        (np.array([16], np.uint8), 17),
        (np.array([127], np.uint8), 128),
        (np.array([128], np.uint8), 256),
        (np.array([228], np.int64), 229),
        (np.array([65_535], np.uint16), 65_536),
        (np.array([0.5]), None),
    ],
)
def test_infer_levels(x, levels):
    """The documented rule, case by case."""
    assert values.infer_levels([x]) == levels


def test_infer_levels_over_all_splits():
    """One number of levels for train and test."""
    assert values.infer_levels([np.array([3]), np.array([9]), np.array([], int)]) == 10


@pytest.mark.parametrize(
    ("x", "levels", "dtype"),
    [
        (np.array([[True]]), 2, np.uint8),
        (np.array([[255]], np.int64), 256, np.uint8),
        (np.array([[256]], np.uint16), 257, np.int32),
        (np.array([[16.0]]), 17, np.uint8),
        (np.array([[0.25]]), None, np.float32),
    ],
)
def test_as_values(x, levels, dtype):
    """One dtype for each number of levels, values unchanged."""
    cast = values.as_values(x, levels)
    assert cast.dtype == dtype and np.array_equal(cast, x)


def test_value_errors(one_line_error):
    """Each error names x, the value and what is accepted."""
    check = values.as_values
    one_line_error(ValueError, "x must be finite, got 1 .* nan", check, np.array([np.nan]), None)
    one_line_error(ValueError, "x must be finite, got 1 .* inf", check, np.array([np.inf]), 2)
    one_line_error(ValueError, "float32, got a maximum of 1e", check, np.array([1e300]), None)
    one_line_error(ValueError, "whole numbers .* got 0.5", check, np.array([0.5]), 2)
    one_line_error(ValueError, "0 to 3 .levels=4., got 4", check, np.array([0, 4]), 4)
    one_line_error(ValueError, "0 to 3 .levels=4., got -1", check, np.array([-1, 2]), 4)
    one_line_error(ValueError, "x must hold integers.*<U1", check, np.array(["a"]), 2)
    one_line_error(ValueError, "at most 65536.*70000", values.infer_levels, [np.array([70_000])])
    one_line_error(ValueError, "x must hold.*complex", values.infer_levels, [np.array([1j])])
    for levels in (1, 65_537, 2.0, True):
        one_line_error(ValueError, "levels must be .* got", values.check_levels, levels)


def test_as_events(one_line_error):
    """Maps get a channel, vectors and images stay."""
    assert values.as_events(np.zeros([5, 7])).shape == (5, 7)
    assert values.as_events(np.zeros([5, 4, 3])).shape == (5, 4, 3, 1)
    assert values.as_events(np.zeros([5, 4, 3, 2])).shape == (5, 4, 3, 2)
    for shape in ([5], [], [5, 0], [5, 1, 1, 1, 1]):
        one_line_error(ValueError, "x must be .N, D.*got shape", values.as_events, np.zeros(shape))


def test_labels(one_line_error):
    """Labels become int32 [N]; anything else is refused."""
    check = values.as_labels
    labels = check(np.array([[0], [2]], np.uint8), 2, 3)
    assert labels.dtype == np.int32 and labels.tolist() == [0, 2]
    assert check(np.array([1.0, 0.0]), 2).tolist() == [1, 0]
    one_line_error(ValueError, "label must not be negative, got -1", check, np.array([-1]), 1)
    one_line_error(ValueError, r"0 .. 2 .num_labels=3., got 3", check, np.array([3]), 1, 3)
    one_line_error(ValueError, "one integer for each of 2 examples", check, np.zeros([3], int), 2)
    one_line_error(ValueError, r"shape \(2, 10\)", check, np.zeros([2, 10], int), 2)
    one_line_error(ValueError, "whole numbers, got dtype float64", check, np.array([0.5]), 1)


def test_condition(one_line_error):
    """Integers become int32 and floats float32; the length and the values are checked."""
    check = values.as_condition
    assert check(np.zeros([2, 3], np.int64), "h", 2).dtype == np.int32
    assert check(np.zeros([2, 3]), "h", 2).dtype == np.float32
    one_line_error(ValueError, "condition 'h' must have one entry", check, np.zeros([3]), "h", 2)
    one_line_error(ValueError, "condition 'h' must be finite", check, np.array([np.nan]), "h", 1)
    one_line_error(ValueError, "condition 'h' must fit", check, np.array([2**40]), "h", 1)
    one_line_error(ValueError, "condition 'h' must hold", check, np.array(["a"]), "h", 1)
