"""The gated activation unit, with its condition."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfar.core import scope as scopes
from tfar.core.slicing import take


@keras.saving.register_keras_serializable("tfar")
class GatedActivation(keras.layers.Layer):
    """y = tanh(x_f + V_f h) * sigmoid(x_g + V_g h), where x = [x_f, x_g] has 2p channels.

    The condition h is a vector [B, d] (V is [d, p], the same at every position) or a map [B, H, W, d] (V is a 1 x 1
    convolution [1, 1, d, p]; every pixel sees its own place of the map, which hides nothing). V has no bias.

    Input shape `[B, ..., 2p]`, output shape `[B, ..., p]`.

    References:
        van den Oord et al., Conditional Image Generation with PixelCNN Decoders, 2016, equations 2 to 5.
    """

    def build(self, x_shape: tuple[int | None, ...], condition_shape: tuple[int | None, ...] | None = None) -> None:
        """Creates V_f and V_g where there is a condition."""
        if x_shape[-1] % 2:
            raise ValueError(f"a gate splits its input in halves, got {x_shape[-1]} channels")
        if condition_shape is None:
            return
        ones = (1, 1) if len(condition_shape) == 4 else ()
        shape = (*ones, condition_shape[-1], x_shape[-1] // 2)
        self.kernel_f = self.add_weight(shape=shape, initializer="glorot_uniform", name="kernel_f")
        self.kernel_g = self.add_weight(shape=shape, initializer="glorot_uniform", name="kernel_g")

    def call(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """[B, ..., 2p] -> [B, ..., p]."""
        if condition is not None:
            x = x + self._project(condition, x)
        f, g = tf.split(x, 2, -1)
        return tf.tanh(f) * tf.sigmoid(g)

    def _project(self, condition: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
        """V h, in the shape of `x` or broadcast over its positions; computed once a row while sampling images."""
        kernel = tf.cast(tf.concat([self.kernel_f, self.kernel_g], -1), x.dtype)
        condition = tf.cast(condition, x.dtype)
        is_map = condition.shape.rank == 4
        scope = scopes.current()

        def compute() -> tf.Tensor:
            if is_map:
                rows = condition if scope is None else take(condition, 1, scope.at, scope.length)
                return tf.nn.conv2d(rows, kernel, 1, "VALID")
            projected = tf.matmul(condition, kernel)
            for _ in range(x.shape.rank - 2):
                projected = projected[:, None]
            return projected

        if scope is None or scope.phase == "step":
            return compute()
        return scope.per_row(scope.cell(self), "condition", compute)

    def compute_output_shape(
        self, x_shape: tuple[int | None, ...], condition_shape: tuple[int | None, ...] | None = None
    ) -> tuple[int | None, ...]:
        """[B, ..., p]."""
        return (*x_shape[:-1], x_shape[-1] // 2)
