"""What is observed of an event that is to be completed: a prefix of the order of drawing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfar.core.event import Stage


def _in_order(stage: Stage, observed: np.ndarray, context: Any) -> tuple[np.ndarray, np.ndarray]:
    """Flags [B, *grid, C] -> [B, N, C] in the order of drawing, and the cell of every rank, [B, N]."""
    cells = observed.reshape(len(observed), -1, observed.shape[-1])
    order = stage.order(context)
    permutation = np.arange(cells.shape[1]) if order is None else np.asarray(order[0])
    permutation = np.broadcast_to(permutation, cells.shape[:2])
    return np.take_along_axis(cells, permutation[..., None], 1), permutation


def check_prefix(stage: Stage, observed: np.ndarray, context: Any, event_shape: Sequence[int]) -> None:
    """Refuses what is no prefix of the order of drawing: the rest could not be drawn from p(rest | observed).

    Args:
        stage: the model.
        observed: bool [B, *grid, C].
        context: second argument of the network, which may decide on the order.
        event_shape: shape of an event, for naming positions.

    Raises:
        ValueError: naming the first gap.
    """
    flags, permutation = _in_order(stage, observed, context)
    flags = flags.reshape(len(observed), -1)
    late = flags & (np.cumsum(~flags, 1) > 0)
    if not late.any():
        return
    channels = observed.shape[-1]

    def position(row: int, rank: int) -> tuple[int, ...]:
        flat = permutation[row, rank // channels] * channels + rank % channels
        return tuple(int(index) for index in np.unravel_index(flat, event_shape))

    row, first = (int(index) for index in np.argwhere(late)[0])
    gap = int(np.argmin(flags[row]))
    raise ValueError(
        f"observed is not a prefix of the ordering: in row {row} position {position(row, gap)} is missing "
        f"although {position(row, first)}, which is drawn later, is observed"
    )


def observed_units(stage: Stage, observed: tf.Tensor, context: Any) -> int:
    """Number of units (rows of images, steps of sequences) that are observed whole in every example of the batch."""
    flags: Any = observed.numpy()
    complete: Any = flags.all((0, 2, 3)) if flags.ndim == 4 else _in_order(stage, flags, context)[0].all((0, 2))
    return int(len(complete) if complete.all() else np.argmin(complete))
