"""Appends a channel of ones, so that a network can tell the image from the zeros around it."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfar.core import scope as scopes


@keras.saving.register_keras_serializable("tfar")
class OnesChannel(keras.layers.Layer):
    """Appends a channel of ones to the input of a network; beyond the border it is 0, as the padding is.

    Input shape `[B, H, W, C]`, output shape `[B, H, W, C + 1]`.

    References:
        https://github.com/openai/pixel-cnn
    """

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """[B, H, W, C] -> [B, H, W, C + 1]."""
        ones = tf.ones_like(x[..., :1])
        scope = scopes.current()
        if scope is not None and scope.phase == "row":
            # The row above the first is none. Pixels beyond a row's border are set to 0 by the layers that see them.
            ones *= tf.cast(scope.positions > 0, x.dtype)[..., None, None]
        return tf.concat([x, ones], -1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """[B, H, W, C + 1]."""
        return (*input_shape[:-1], input_shape[-1] + 1)
