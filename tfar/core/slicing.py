"""Slices of one axis at a position that is known only when the graph runs: one for all examples, or one for each."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tfar.core import compat
from tfar.core.compiled import updates_slices


def varies(start: Any) -> bool:
    """Returns whether every example has a position of its own, [B]."""
    return _rank(start) == 1


def take(x: tf.Tensor, axis: int, start: Any, size: int = 1) -> tf.Tensor:
    """x[..., start : start + size, ...] along `axis`; the size is static, which XLA needs.

    Args:
        x: any tensor; [B, ...] where every example has its own start.
        axis: the axis.
        start: an int, a scalar, or [B]; then the size is 1.
        size: length of the slice.
    """
    if varies(start):
        return tf.gather(x, start[:, None], axis=axis, batch_dims=1)
    begin = [0] * x.shape.rank
    begin[axis] = start
    dynamic = tf.shape(x)
    sizes = [dynamic[i] if known is None else known for i, known in enumerate(x.shape)]
    sizes[axis] = size
    y = tf.slice(x, begin, sizes)
    return tf.ensure_shape(y, [*x.shape[:axis], size, *x.shape[axis + 1 :]])


def look_up(table: tf.Tensor, start: Any, size: int = 1) -> tf.Tensor:
    """Entries of a table [N, ...] that all examples share: [size, ...], or [B, 1, ...] for a start [B]."""
    return tf.gather(table, start[:, None]) if varies(start) else take(table, 0, start, size)


def entry(start: Any) -> Any:
    """Returns the index that `put` and `pick` use: a scalar start as it is, of starts [B] pairs (start, example)."""
    return tf.stack([start, tf.range(tf.shape(start)[0])], -1) if varies(start) else start


def pick(x: tf.Tensor, start: Any) -> tf.Tensor:
    """x[start] of `x` [N, B, ...]: [B, ...]; `start` as for `put`."""
    return tf.gather_nd(x, start) if _rank(start) == 2 else x[start]


def put(x: tf.Tensor, start: Any, value: tf.Tensor) -> tf.Tensor:
    """`x` with x[start] = `value`, which has the shape of one entry; `start` lies in 0, ..., len(x) - 1.

    XLA turns a scatter into an update in place with a check of bounds, which adds three kernels per position. It runs
    more than eight ready kernels in a pool of threads, which costs more than kernels of a microsecond save: WaveNet's
    step took 1.7 times as long with ten different dilations.

    Args:
        x: [N, ...]; [N, B, ...] where every example has its own entry.
        start: an int or a scalar; or [B, 2], see `entry`: x[start[b], b] = value[b].
        value: the new entry.
    """
    if _rank(start) == 2:
        return tf.tensor_scatter_nd_update(x, start, value)
    if not updates_slices():
        return tf.tensor_scatter_nd_update(x, [[start]], value[None])
    begin = tf.stack([start, *[0] * (x.shape.rank - 1)])
    return compat.dynamic_update_slice(x, value[None], begin)


def put_block(x: tf.Tensor, start: Any, values: tf.Tensor) -> tf.Tensor:
    """`x` with x[start : start + n] = `values`.

    Args:
        x: [N, ...].
        start: an int or a scalar; the block lies inside of `x`.
        values: [n, ...], n static.
    """
    if not updates_slices():
        return tf.tensor_scatter_nd_update(x, (start + tf.range(values.shape[0]))[:, None], values)
    return compat.dynamic_update_slice(x, values, tf.stack([start, *[0] * (x.shape.rank - 1)]))


def _rank(start: Any) -> int:
    return start.shape.rank if isinstance(start, tf.Tensor) else 0
