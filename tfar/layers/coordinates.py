"""Channels with the coordinates of every pixel."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfar.core import scope as scopes
from tfar.core.sizes import batch_size
from tfar.core.slicing import look_up, take


@keras.saving.register_keras_serializable("tfar")
class Coordinates(keras.layers.Layer):
    """Channels (i - H / 2) / H and (j - W / 2) / W of every pixel (i, j), each as often as the input has channels.

    Input shape `[B, H, W, C]`, output shape `[B, H, W, 2 C]`.

    References:
        Chen et al., PixelSNAIL, 2018; https://github.com/neocxi/pixelsnail-public ("background").
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Notes the size of the image."""
        height, width, channels = input_shape[1:]
        rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
        scaled = [(rows - height / 2) / height, (columns - width / 2) / width]
        self._table = np.repeat(np.stack(scaled, -1), channels, -1).astype(np.float32)[None]

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """[B, H, W, C] -> [B, H, W, 2 C]."""
        scope, table = scopes.current(), tf.constant(self._table, x.dtype)
        if scope is not None:
            table = look_up(table[0], scope.at, scope.length)  # [n, W, 2 C], or [B, 1, W, 2 C]
            table = table if scope.varies else table[None]
            if scope.phase == "pixel" and not scope.whole_rows:
                table = take(table, 2, scope.column)
        return table if scope is not None and scope.varies else tf.tile(table, [batch_size(x), 1, 1, 1])

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[Any, ...]:
        """[B, H, W, 2 C]."""
        return (*input_shape[:-1], 2 * input_shape[-1])
