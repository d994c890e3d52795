"""Slices of one axis at a position that is known only when the graph runs."""

from __future__ import annotations

import tensorflow as tf


def take(x: tf.Tensor, axis: int, start: int | tf.Tensor, size: int = 1) -> tf.Tensor:
    """x[..., start : start + size, ...] along `axis`; the size is static, which XLA needs."""
    begin = [0] * x.shape.rank
    begin[axis] = start
    dynamic = tf.shape(x)
    sizes = [dynamic[i] if known is None else known for i, known in enumerate(x.shape)]
    sizes[axis] = size
    y = tf.slice(x, begin, sizes)
    return tf.ensure_shape(y, [*x.shape[:axis], size, *x.shape[axis + 1 :]])
