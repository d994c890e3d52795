"""Orderings: the order in which the positions of an event are drawn.

An ordering is a rank per position; position with rank 0 comes first. Positions of equal rank are independent given all
that comes before, and are drawn together. Every function here returns an `Ordering` without equal ranks (`snakes`
returns eight), but for `together`.

    raster(3, 3)     snake(3, 3)      column_major(3, 3)     zigzag(3, 3)
    0 1 2            0 1 2            0 3 6                  0 1 5
    3 4 5            5 4 3            1 4 7                  2 4 6
    6 7 8            6 7 8            2 5 8                  3 7 8
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class Ordering:
    """A rank for every position.

    Args:
        ranks: int array in the shape of the positions; every rank 0, ..., r - 1 is that of one position or more.

    Raises:
        ValueError: a rank is missing; the first one is named.

    Example:
        >>> Ordering([2, 0, 1]).permutation.tolist(), Ordering([1, 0, 1]).permutation.tolist()
        ([1, 2, 0], [1, 0, 2])
    """

    def __init__(self, ranks: np.ndarray | Sequence[int]):
        ranks = np.asarray(ranks)
        if ranks.size == 0 or ranks.dtype.kind not in "iu":
            raise ValueError(f"ranks must be a non-empty array of integers, got {ranks.dtype} of shape {ranks.shape}")
        highest = int(ranks.max())
        missing = np.setdiff1d(np.arange(highest + 1), ranks)
        if ranks.min() < 0 or missing.size:
            first = int(ranks.min()) if ranks.min() < 0 else missing[0]
            raise ValueError(
                f"ranks must hold every number from 0 to the highest, {highest}; "
                + (f"got {first}" if first < 0 else f"{first} is missing")
            )
        self.ranks = ranks.astype(np.int32)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the positions."""
        return self.ranks.shape

    @property
    def num_ranks(self) -> int:
        """Number of different ranks: passes of a network that draw everything."""
        return int(self.ranks.max()) + 1

    @property
    def has_ties(self) -> bool:
        """Whether some positions are drawn together."""
        return self.num_ranks < self.ranks.size

    @property
    def permutation(self) -> np.ndarray:
        """Flat position that is drawn at every step, int32 [n]; those of one rank as they are stored."""
        return np.argsort(self.ranks.reshape(-1), kind="stable").astype(np.int32)

    @property
    def is_raster(self) -> bool:
        """True where positions are drawn one by one in the order in which they are stored."""
        return bool((np.diff(self.ranks.reshape(-1)) == 1).all())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ordering) and np.array_equal(self.ranks, other.ranks)

    def __hash__(self) -> int:
        return hash((self.shape, self.ranks.tobytes()))

    def __repr__(self) -> str:
        return f"Ordering({self.ranks.tolist()})"


def raster(*shape: int) -> Ordering:
    """Row by row, left to right (or 0, 1, 2, ... for one dimension)."""
    return Ordering(np.arange(int(np.prod(shape))).reshape(shape))


def together(*shape: int) -> Ordering:
    """Draws all positions at once: they are independent given the condition."""
    return Ordering(np.zeros(shape, np.int32))


def reversed_raster(*shape: int) -> Ordering:
    """Raster backwards: the last position first."""
    return Ordering(np.flip(raster(*shape).ranks))


def column_major(height: int, width: int) -> Ordering:
    """Column by column, top to bottom."""
    return Ordering(np.arange(height * width).reshape(width, height).T)


def snake(height: int, width: int) -> Ordering:
    """Row by row, every second row from right to left."""
    ranks = np.arange(height * width).reshape(height, width)
    ranks[1::2] = ranks[1::2, ::-1]
    return Ordering(ranks)


def snakes(height: int, width: int) -> list[Ordering]:
    """Returns the eight snakes: from every corner of the image, along the rows and along the columns.

    References:
        Jain, Abbeel, Pathak, Locally Masked Convolution for Autoregressive Models, 2020, section 4.1 (S-curves).
    """
    along = snake(height, width).ranks, snake(width, height).ranks.T
    flips = (), (1,), (0,), (0, 1)
    return [Ordering(np.flip(ranks, axes)) for ranks in along for axes in flips]


def zigzag(height: int, width: int) -> Ordering:
    """Anti-diagonals in alternating direction, as JPEG orders its coefficients."""
    cells = [(i, j) for i in range(height) for j in range(width)]
    cells.sort(key=lambda ij: (ij[0] + ij[1], ij[0] if (ij[0] + ij[1]) % 2 else ij[1]))
    return _from_cells(cells, height, width)


def hilbert(height: int, width: int) -> Ordering:
    """Along a Hilbert curve: neighbours in the order are neighbours in the image.

    Raises:
        ValueError: height and width are not the same power of two.
    """
    if height != width or height & (height - 1) or height < 1:
        raise ValueError(f"hilbert needs height == width, a power of two, got {(height, width)}")

    def cell(d: int) -> tuple[int, int]:
        x = y = 0
        side = 1
        while side < height:
            right, up = 1 & (d // 2), 1 & (d ^ (d // 2))
            if not up:
                if right:
                    x, y = side - 1 - x, side - 1 - y
                x, y = y, x
            x, y, d, side = x + side * right, y + side * up, d // 4, side * 2
        return y, x

    return _from_cells([cell(d) for d in range(height * width)], height, width)


def random(*shape: int, seed: int) -> Ordering:
    """Returns a random permutation, the same for the same seed."""
    n = int(np.prod(shape))
    return Ordering(np.random.Generator(np.random.PCG64(seed)).permutation(n).reshape(shape))


def subscale(height: int, width: int, scale: int) -> Ordering:
    """Interleaved slices at offsets (a, b), 0 <= a, b < scale, one after the other, each in raster order.

    Raises:
        ValueError: scale does not divide height and width.

    References:
        Menick and Kalchbrenner, Generating High Fidelity Images with Subscale Pixel Networks, 2018.
    """
    if scale < 1 or height % scale or width % scale:
        raise ValueError(f"scale must divide height and width {(height, width)}, got {scale}")
    cells = [
        (i, j)
        for a in range(scale)
        for b in range(scale)
        for i in range(a, height, scale)
        for j in range(b, width, scale)
    ]
    return _from_cells(cells, height, width)


def blocks(height: int, width: int, block_shape: tuple[int, int]) -> Ordering:
    """Blocks in raster order, and the positions of every block in raster order.

    Raises:
        ValueError: blocks do not fill the image.

    Example:
        >>> blocks(2, 4, (2, 2)).ranks.tolist()
        [[0, 1, 4, 5], [2, 3, 6, 7]]

    References:
        Parmar et al., Image Transformer, 2018, section 3.2.2 (local 2-D attention).
    """
    h, w = block_shape
    if min(h, w) < 1 or height % h or width % w:
        raise ValueError(f"block_shape must divide the image {(height, width)}, got {(h, w)}")
    cells = [
        (i + a, j + b) for i in range(0, height, h) for j in range(0, width, w) for a in range(h) for b in range(w)
    ]
    return _from_cells(cells, height, width)


def from_permutation(permutation: Sequence[int] | np.ndarray, shape: tuple[int, ...] | None = None) -> Ordering:
    """Returns the ordering that draws flat position `permutation[t]` at step t.

    Args:
        permutation: a permutation of 0, ..., n - 1.
        shape: shape of the positions; default (n,).

    Raises:
        ValueError: it is no permutation.

    Example:
        >>> from_permutation([1, 2, 0]).ranks.tolist()
        [2, 0, 1]
    """
    steps = Ordering(np.asarray(permutation).reshape(-1))
    if steps.has_ties:
        raise ValueError(f"permutation must hold every position once, got {steps.ranks.tolist()}")
    return Ordering(steps.permutation.reshape(shape or steps.shape))


def _from_cells(cells: list[tuple[int, int]], height: int, width: int) -> Ordering:
    ranks = np.zeros((height, width), np.int32)
    for rank, cell in enumerate(cells):
        ranks[cell] = rank
    return Ordering(ranks)
