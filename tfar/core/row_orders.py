"""Orders of drawing inside of a graph, where they may differ from row to row of a batch.

An order is the cell of every rank: int [N] for all rows, or [B, N] with one for each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tfar.core.slicing import take


def order_of(context: Any, permutations: np.ndarray) -> tuple[Any, Any]:
    """The order that a network is to evaluate, and the features of its condition.

    Args:
        context: features of the condition, or {"member": index or [B], "condition": ...}, or
            {"order": [B, N], "condition": ...}; both without "condition" where there is none.
        permutations: int [M, N], the order of every member.

    Returns:
        The order (an array where it is the same for all, a tensor otherwise), and features or None.
    """
    given = context if isinstance(context, dict) else {"condition": context}
    if "order" in given:
        return given["order"], given.get("condition")
    if "member" in given and len(permutations) > 1:
        return tf.gather(tf.constant(permutations), given["member"]), given.get("condition")
    return permutations[0], given.get("condition")


def inverse(order: Any) -> tf.Tensor:
    """The rank of every cell, of the same shape."""
    return tf.argsort(order, -1)


def cells_of(x: tf.Tensor, cells: Any) -> tf.Tensor:
    """Cells [n], or [B, n], of x [B, N, ...]: [B, n, ...]."""
    cells = tf.convert_to_tensor(cells)
    return tf.gather(x, cells, axis=1, batch_dims=cells.shape.rank - 1)


def span(order: Any, first: Any, length: Any) -> tf.Tensor:
    """The cells of ranks first, ..., first + length - 1: [n] or [B, n]."""
    order = tf.convert_to_tensor(order)
    return take(order, order.shape.rank - 1, first, length)
