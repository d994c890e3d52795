"""Orderings are permutations, and are the ones that they are named after."""

import numpy as np
import pytest

from tfar.core import orderings
from tfar.core.orderings import Ordering

EVERY = {
    "raster": orderings.raster(4, 4),
    "raster_1d": orderings.raster(5),
    "reversed_raster": orderings.reversed_raster(4, 3),
    "column_major": orderings.column_major(3, 4),
    "snake": orderings.snake(4, 3),
    "zigzag": orderings.zigzag(3, 5),
    "hilbert": orderings.hilbert(4, 4),
    "random": orderings.random(4, 3, seed=1),
    "subscale": orderings.subscale(4, 6, 2),
    "blocks": orderings.blocks(4, 6, (2, 3)),
    "from_permutation": orderings.from_permutation([2, 0, 1]),
}


@pytest.mark.parametrize("ordering", EVERY.values(), ids=EVERY)
def test_is_a_bijection(ordering):
    n = ordering.ranks.size
    assert sorted(ordering.ranks.reshape(-1)) == list(range(n))
    np.testing.assert_array_equal(ordering.ranks.reshape(-1)[ordering.permutation], np.arange(n))
    assert ordering.shape == ordering.ranks.shape
    assert ordering.is_raster == (list(ordering.permutation) == list(range(n)))


TABLES = {
    "raster": (orderings.raster(2, 3), [[0, 1, 2], [3, 4, 5]]),
    "reversed_raster": (orderings.reversed_raster(2, 3), [[5, 4, 3], [2, 1, 0]]),
    "column_major": (orderings.column_major(3, 3), [[0, 3, 6], [1, 4, 7], [2, 5, 8]]),
    "column_major_wide": (orderings.column_major(2, 3), [[0, 2, 4], [1, 3, 5]]),
    "snake": (orderings.snake(3, 3), [[0, 1, 2], [5, 4, 3], [6, 7, 8]]),
    # The first 4x4 coefficients of JPEG's zigzag: right first, then down the anti-diagonal.
    "zigzag": (orderings.zigzag(4, 4), [[0, 1, 5, 6], [2, 4, 7, 12], [3, 8, 11, 13], [9, 10, 14, 15]]),
    "hilbert": (orderings.hilbert(2, 2), [[0, 3], [1, 2]]),
    "blocks": (orderings.blocks(4, 4, (2, 2)), [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]),
    "subscale": (orderings.subscale(4, 4, 2), [[0, 4, 1, 5], [8, 12, 9, 13], [2, 6, 3, 7], [10, 14, 11, 15]]),
    "from_permutation": (orderings.from_permutation([1, 2, 0]), [2, 0, 1]),
    "from_permutation_2d": (orderings.from_permutation([3, 0, 1, 2], (2, 2)), [[1, 2], [3, 0]]),
}


@pytest.mark.parametrize(("ordering", "ranks"), TABLES.values(), ids=TABLES)
def test_known_tables(ordering, ranks):
    assert ordering.ranks.tolist() == ranks


@pytest.mark.parametrize("name", ["snake", "hilbert"])
def test_neighbours_in_the_order_are_neighbours_in_the_image(name):
    ordering = getattr(orderings, name)(8, 8)
    steps = np.diff(np.stack(np.unravel_index(ordering.permutation, (8, 8))), axis=1)
    assert (np.abs(steps).sum(0) == 1).all()


def test_from_permutation_inverts_permutation():
    for ordering in EVERY.values():
        assert orderings.from_permutation(ordering.permutation, ordering.shape) == ordering


def test_random_depends_on_its_seed():
    assert orderings.random(4, 4, seed=3) == orderings.random(4, 4, seed=3)
    assert orderings.random(4, 4, seed=3) != orderings.random(4, 4, seed=4)


def test_equality_and_hash():
    one, two = orderings.raster(2, 2), Ordering([[0, 1], [2, 3]])
    assert one == two
    assert hash(one) == hash(two)
    assert one != orderings.raster(4)
    assert one != orderings.column_major(2, 2)
    assert one != "raster"
    assert repr(two) == "Ordering([[0, 1], [2, 3]])"


@pytest.mark.parametrize(
    ("ranks", "message"),
    [
        ([0, 2, 2], "every number from 0 to the highest, 2; 1 is missing"),
        ([1, 2, 3], "0 is missing"),
        ([0.0, 1.0], "non-empty array of integers, got float64"),
        ([], "non-empty array of integers"),
    ],
)
def test_refuses_what_is_no_permutation(ranks, message):
    with pytest.raises(ValueError, match=message):
        Ordering(ranks)


def test_refuses_sizes_that_do_not_fit():
    for height, width in ((4, 2), (6, 6), (0, 0)):
        with pytest.raises(ValueError, match="power of two"):
            orderings.hilbert(height, width)
    for scale in (0, 3):
        with pytest.raises(ValueError, match=f"scale must divide height and width .*, got {scale}"):
            orderings.subscale(4, 4, scale)
    with pytest.raises(ValueError, match=r"block_shape must divide the image \(4, 4\), got \(2, 3\)"):
        orderings.blocks(4, 4, (2, 3))
    with pytest.raises(ValueError, match="permutation"):
        orderings.from_permutation([0, 0, 1])


def test_snakes_are_eight_walks_from_the_corners():
    found = orderings.snakes(3, 4)
    assert len(set(found)) == 8
    assert found[0] == orderings.snake(3, 4)
    for ordering in found:
        rows, columns = np.unravel_index(ordering.permutation, (3, 4))
        assert (np.abs(np.diff(rows)) + np.abs(np.diff(columns)) == 1).all()
    assert [int(ordering.permutation[0]) for ordering in found] == [0, 3, 8, 11] * 2
