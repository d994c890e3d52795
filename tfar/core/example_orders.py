"""Orders of drawing as tensors, one for all examples of a batch or one for each.

An order is the cell of every rank: int [N] for all examples, or [B, N] with one for each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tfar.core.slicing import look_up, take


def select_order(permutations: np.ndarray, order: Any = None, member: Any = None) -> Any:
    """Selects the order that a network evaluates: an array where it is the same for all examples, a tensor otherwise.

    Args:
        permutations: int [M, N], the order of every member.
        order: int [N] or [B, N]; it comes before the member's.
        member: index of the member, a scalar or [B].
    """
    if order is not None:
        return order
    if member is not None and len(permutations) > 1:
        return tf.gather(tf.constant(permutations), member)
    return permutations[0]


def inverse_order(order: Any) -> tf.Tensor:
    """Returns the rank of every cell, in the shape of the order."""
    return tf.argsort(order, -1)


def gather_cells(x: tf.Tensor, cells: Any) -> tf.Tensor:
    """Gathers the cells [n], or [B, n], of x [B, N, ...]: [B, n, ...]."""
    cells = tf.convert_to_tensor(cells)
    return tf.gather(x, cells, axis=1, batch_dims=cells.shape.rank - 1)


def cells_at_ranks(order: Any, first: Any, length: Any) -> tf.Tensor:
    """Returns the cells of ranks first, ..., first + length - 1: [n] or [B, n]; [B, 1] where `first` is [B]."""
    order = tf.convert_to_tensor(order)
    return look_up(order, first, length) if order.shape.rank == 1 else take(order, 1, first, length)
