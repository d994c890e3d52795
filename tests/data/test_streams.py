"""Tests of `tfar.data.streams`."""

import numpy as np
import pytest

from tfar.data import streams


def test_permutation_is_frozen():
    """These numbers must never change: they define splits and the order of training."""
    assert streams.permutation(8, streams.ORDER, 0, 0).tolist() == [2, 0, 1, 4, 5, 6, 7, 3]
    assert streams.sort_keys(2, streams.SPLIT, 0).tolist() == [
        259491006799949737,
        4754966410622352325,
    ]


def test_keys_do_not_depend_on_the_number_of_examples():
    """Key i is a hash of i."""
    few, many = (streams.sort_keys(num, streams.SPLIT, 3) for num in (10, 100))
    np.testing.assert_array_equal(few, many[:10])


def test_purposes_do_not_share_a_stream():
    """Equal seed and index, different purpose, different numbers."""
    draws = {streams.generator(purpose, 1, 2).integers(2**60) for purpose in range(5)}
    assert len(draws) == 5


@pytest.mark.parametrize("seed", [-1, 1.5, True, None])
def test_bad_seed(seed, one_line_error):
    """A seed is an int >= 0."""
    one_line_error(ValueError, "seed must be an integer >= 0, got", streams.check_seed, seed)
