"""Projects a condition h to the features of a layer: V h."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfar.core import scope as scopes
from tfar.core.slicing import take


def project_condition(
    layer: keras.layers.Layer, kernel: tf.Tensor, condition: tf.Tensor, x: tf.Tensor, hand_out: bool = True
) -> tf.Tensor:
    """V h in the shape of `x`, or broadcast over its positions; computed once a row while images are sampled.

    Args:
        layer: the layer that calls, in whose state the row is kept.
        kernel: V, [d, p] for a vector, [1, 1, d, p] for a map.
        condition: h, a vector [B, d] or a map [B, H, W, d].
        x: the tensor to which V h is added, [B, ..., p].
        hand_out: whether the pixel phase returns V h column by column, see `VerticalConv2D`.

    Returns:
        [B, ..., p], with 1 in place of the positions where the condition is a vector.
    """
    kernel, condition = tf.cast(kernel, x.dtype), tf.cast(condition, x.dtype)
    scope = scopes.current()

    def compute() -> tf.Tensor:
        if condition.shape.rank == 4:
            rows = condition if scope is None else take(condition, 1, scope.at, scope.length)
            return tf.nn.conv2d(rows, kernel, 1, "VALID")
        projected = tf.matmul(condition, kernel)
        for _ in range(x.shape.rank - 2):
            projected = projected[:, None]
        return projected

    if scope is None or scope.phase == "step":
        return compute()
    if not hand_out:
        return scope.only_rows(x, kernel.shape[-1], compute)
    return scope.per_row(scope.state_of(layer), "condition", compute)
