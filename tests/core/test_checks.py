import numpy as np
import pytest

from tfar.core.checks import check_choice, check_sizes, checked_integer


def test_what_is_acceptable_passes():
    check_sizes(filters=1, value_dim=None)
    check_choice(("a", "b"), first="a", second="b")
    assert [checked_integer("num", value, low=1) for value in (1, np.int64(3))] == [1, 3]


@pytest.mark.parametrize(
    ("check", "match"),
    [
        (lambda: check_sizes(filters=2, num_layers=0), "num_layers must be at least 1, got 0"),
        (lambda: check_choice(("a", "b"), first="a", second="c"), "second must be one of .'a', 'b'., got 'c'"),
        *((lambda n=n: checked_integer("n", n, 1), "n must be an integer of at least 1") for n in (0, True, 1.0)),
        (lambda: checked_integer("n", 4, low=0, high=3), "n must be an integer from 0 to 3, got 4"),
    ],
)
def test_what_is_not_is_named(check, match):
    with pytest.raises(ValueError, match=match):
        check()
