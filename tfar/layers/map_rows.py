"""The rows of a map beside the image that belong to the rows that a network computes."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfar.core import scope as scopes
from tfar.core.slicing import take


@keras.saving.register_keras_serializable("tfar")
class MapRows(keras.layers.Layer):
    """Returns a map for the vertical stack: all of it in parallel, in a scope the rows that the row phase computes.

    For shortcuts of the vertical stack (`Shortcut`, `GatedResnet` with `vertical_shortcut`), which read it in the row
    phase alone; in the pixel phase it is NaN, as what `VerticalConv2D` does not hand out.

    Inputs: features of the network `[B, n, W, F]`, and the map `[B, H, W, C]`. Output shape `[B, n, W, C]`.
    """

    def call(self, x: tf.Tensor, maps: tf.Tensor) -> tf.Tensor:
        """Features of the network, whose shape and type count, and the map -> rows of the map."""
        maps, scope = tf.cast(maps, x.dtype), scopes.current()
        if scope is None:
            return maps
        return scope.only_rows(x, maps.shape[-1], lambda: take(maps, 1, scope.at, scope.length))

    def compute_output_shape(
        self, x_shape: tuple[int | None, ...], map_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        """[B, n, W, C]."""
        return (*x_shape[:-1], map_shape[-1])
