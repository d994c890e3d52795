"""Checks that the observed part of an event is a prefix of the order of drawing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfar.core.request import Request
from tfar.core.stage import Stage
from tfar.sampling.inputs import cells_in_order


def check_prefix(stage: Stage, observed: np.ndarray, context: Request, event_shape: Sequence[int]) -> None:
    """Raises ValueError unless the observed part is a prefix of the order: p(rest | observed) is not exact otherwise.

    Cells of equal rank are independent of each other, so any of them may be observed once all before them are; of the
    channels of a cell the first ones.

    Args:
        stage: the model.
        observed: bool [B, *grid, C].
        context: may decide on the order.
        event_shape: shape of an event, for naming positions.

    Raises:
        ValueError: naming the first gap.
    """
    cells, permutation = _in_order(stage, observed, context)
    channels, ranks = observed.shape[-1], np.arange(cells.shape[1])
    if context.order is None and any(ordering.has_ties for ordering in stage.orderings):
        ranks = stage.orderings[0].ranks.reshape(-1)[permutation[0]]
    first_missing = np.where(cells.all(2), len(ranks), ranks).min(1)
    missing_channel = np.cumsum(~cells, 2) > 0
    late = cells & ((ranks[:, None] > first_missing[:, None, None]) | missing_channel)
    if not late.any():
        return

    def position(row: int, rank: int, channel: int) -> tuple[int, ...]:
        flat = permutation[row, rank] * channels + channel
        return tuple(int(index) for index in np.unravel_index(flat, event_shape))

    row, rank, channel = (int(index) for index in np.argwhere(late)[0])
    gap = divmod(int(np.argmin(cells[row])), channels)
    raise ValueError(
        f"observed is not a prefix of the ordering: in example {row} position {position(row, *gap)} is missing "
        f"although {position(row, rank, channel)}, which is drawn later, is observed"
    )


def observed_units(stage: Stage, observed: tf.Tensor, context: Request) -> int:
    """Number of units (rows of images, steps of sequences) that are observed whole in every example of the batch."""
    flags: Any = observed.numpy()
    complete: Any = flags.all((0, 2, 3)) if stage.is_image else _in_order(stage, flags, context)[0].all((0, 2))
    return int(len(complete) if complete.all() else np.argmin(complete))


def _in_order(stage: Stage, observed: np.ndarray, context: Request) -> tuple[np.ndarray, np.ndarray]:
    """Flags [B, *grid, C] -> [B, N, C] in the order of drawing, and the cell of every rank, [B, N]."""
    cells = observed.reshape(len(observed), -1, observed.shape[-1])
    permutation = cells_in_order(stage, context, *cells.shape[:2])
    return np.take_along_axis(cells, permutation[..., None], 1), permutation
