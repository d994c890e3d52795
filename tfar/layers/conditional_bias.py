"""A bias that depends on the condition."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfar.layers.condition_projection import project_condition
from tfar.layers.weighted import WeightedLayer


@keras.saving.register_keras_serializable("tfar")
class ConditionalBias(WeightedLayer):
    """y = x + V h: adds a condition to features that have no gate.

    The condition h is a vector [B, d] (V is [d, p], the same at every position) or a map [B, H, W, d] (V is a 1 x 1
    convolution [1, 1, d, p]; every pixel sees its own place of the map). V has no bias; without a condition y = x.

    Input shape `[B, ..., p]`, output shape `[B, ..., p]`.

    Args:
        kernel_initializer: initializer of V.
        hand_out: whether the pixel phase returns it column by column, see `VerticalConv2D`.

    References:
        van den Oord et al., Conditional Image Generation with PixelCNN Decoders, 2016, section 2.3 (the projection).
    """

    def __init__(self, kernel_initializer: Any = "glorot_uniform", hand_out: bool = True, **kwargs: Any):
        super().__init__(**kwargs)
        self.hand_out = hand_out
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, x_shape: tuple[int | None, ...], condition_shape: tuple[int | None, ...] | None = None) -> None:
        """Creates V where there is a condition."""
        if condition_shape is None:
            return
        ones = (1, 1) if len(condition_shape) == 4 else ()
        shape = (*ones, condition_shape[-1], x_shape[-1])
        self.kernel = self.add_weight(shape=shape, initializer=self.kernel_initializer, name="kernel")

    def call(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """[B, ..., p] -> [B, ..., p]."""
        return x if condition is None else x + project_condition(self, self.kernel, condition, x, self.hand_out)

    def compute_output_shape(
        self, x_shape: tuple[int | None, ...], condition_shape: tuple[int | None, ...] | None = None
    ) -> tuple[Any, ...]:
        """As `x`."""
        return tuple(x_shape)
