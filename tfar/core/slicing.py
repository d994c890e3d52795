"""Slices of one axis at a position that is known only when the graph runs."""

from __future__ import annotations

import tensorflow as tf
from tensorflow.compiler.tf2xla.ops import gen_xla_ops

from tfar.core.compiled import updates_slices


def take(x: tf.Tensor, axis: int, start: int | tf.Tensor, size: int = 1) -> tf.Tensor:
    """x[..., start : start + size, ...] along `axis`; the size is static, which XLA needs."""
    begin = [0] * x.shape.rank
    begin[axis] = start
    dynamic = tf.shape(x)
    sizes = [dynamic[i] if known is None else known for i, known in enumerate(x.shape)]
    sizes[axis] = size
    y = tf.slice(x, begin, sizes)
    return tf.ensure_shape(y, [*x.shape[:axis], size, *x.shape[axis + 1 :]])


def put(x: tf.Tensor, start: int | tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    """`x` with x[start] = `value`, which has the shape of one entry; `start` lies in 0, ..., len(x) - 1.

    As a scatter XLA makes of it an update in place with a check of its bounds, that is three kernels more for every
    position that is computed. More than eight kernels that are ready at once it hands to a pool of threads, which
    costs more than kernels of a microsecond save: WaveNet's step took 1.7 times as long with ten different dilations.
    """
    if not updates_slices():
        return tf.tensor_scatter_nd_update(x, [[start]], value[None])
    begin = tf.stack([start, *[0] * (x.shape.rank - 1)])
    return tf.ensure_shape(gen_xla_ops.xla_dynamic_update_slice(x, value[None], begin), x.shape)
