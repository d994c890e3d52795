"""The gated activation unit, with its condition."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfar.layers.condition_projection import project_condition
from tfar.layers.weighted import WeightedLayer


@keras.saving.register_keras_serializable("tfar")
class GatedActivation(WeightedLayer):
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
            kernel = tf.concat([self.kernel_f, self.kernel_g], -1)
            x = x + project_condition(self, kernel, condition, x)
        f, g = tf.split(x, 2, -1)
        return tf.tanh(f) * tf.sigmoid(g)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, as Keras saved them before this layer had any of its own."""
        return {"activity_regularizer": None, "autocast": self.autocast, **super().get_config()}

    def compute_output_shape(
        self, x_shape: tuple[int | None, ...], condition_shape: tuple[int | None, ...] | None = None
    ) -> tuple[int | None, ...]:
        """[B, ..., p]."""
        return (*x_shape[:-1], x_shape[-1] // 2)
