"""Features of a slice of a Subscale Pixel Network from the slices before it, see `tfar.models.SubscalePixelNetwork`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfar.core.protocols import Head
from tfar.layers.composite import Composite
from tfar.models.multiscale_pixel_cnn import ResidualBlock


def neighbours(scaling_factor: int, all_slices: bool) -> np.ndarray:
    """Returns the slice at every offset relative to every slice, int32 [slices, offsets].

    Slices are numbered row by row. Where an offset leads outside of the image's squares there is none, and the entry is
    the number of slices.

    Args:
        scaling_factor: rows and columns of a square, S.
        all_slices: whether the offsets are those of all slices, or of the slices before the target only.

    Example:
        >>> neighbours(2, all_slices=False).tolist()        # offsets (-1, -1), (-1, 0), (-1, 1), (0, -1)
        [[4, 4, 4, 4], [4, 4, 4, 0], [4, 0, 1, 4], [0, 1, 4, 2]]
    """
    reach = range(1 - scaling_factor, scaling_factor)
    offsets = [(down, right) for down in reach for right in reach if all_slices or (down, right) < (0, 0)]
    inside = range(scaling_factor)
    table = [
        [
            (row + down) * scaling_factor + column + right
            if row + down in inside and column + right in inside
            else scaling_factor**2
            for down, right in offsets
        ]
        for row in inside
        for column in inside
    ]
    return np.array(table, np.int32)


@keras.saving.register_keras_serializable("tfar")
class SliceEmbedder(Composite):
    """Features of a slice from those before it, its place and the condition: an unmasked residual network.

    Args:
        slice_shape: (height, width, channels) of a slice.
        scaling_factor: rows and columns between the pixels of a slice.
        heads: encode the values of every depth that is read: of the last one the slices before the target, of the one
            before it (high bits, all drawn) all slices.
        filters: feature maps.
        num_blocks: residual blocks.
        dropout: rate inside of the blocks.
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(
        self,
        slice_shape: tuple[int, int, int],
        scaling_factor: int,
        heads: Sequence[Head],
        filters: int,
        num_blocks: int,
        dropout: float,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._slice_shape, self._num_slices, self._heads = slice_shape, scaling_factor**2, list(heads)
        self._neighbours = [neighbours(scaling_factor, index < len(heads) - 1) for index in range(len(heads))]
        self.place = keras.layers.Embedding(self._num_slices, filters, name="embedding")
        self.first = keras.layers.Conv2D(filters, 3, padding="same")
        self.from_condition = keras.layers.Dense(filters, use_bias=False)
        self.blocks = [ResidualBlock(filters, dropout) for _ in range(num_blocks)]

    def call(self, values: list[tf.Tensor], place: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """Features [B, h, w, filters] of the slices `place`.

        Args:
            values: of the slices of each depth in turn, [B, h, w, C]; those that are not read may lack.
            place: int32 [B], the slice of every example.
            condition: its features, [B, d].
        """
        count = self._num_slices
        maps = [
            self._relative(head, table, values[index * count : (index + 1) * count], place)
            for index, (head, table) in enumerate(zip(self._heads, self._neighbours, strict=True))
            if table.size
        ]
        x = self.first(tf.concat(maps, -1)) + self.place(place)[:, None, None]
        if condition is not None:
            x += self.from_condition(condition)[:, None, None]
        for block in self.blocks:
            x = block(x)
        return x

    def _relative(self, head: Head, table: np.ndarray, values: list[tf.Tensor], place: tf.Tensor) -> tf.Tensor:
        """Slices [B, h, w, C] stacked by their offset relative to the target: [B, h, w, offsets * (C + 1)]."""
        height, width, channels = self._slice_shape
        absent = tf.zeros([tf.shape(place)[0], height, width, channels + 1])
        known = [tf.concat([tf.cast(head.encode(y), tf.float32), tf.ones_like(absent[..., :1])], -1) for y in values]
        known += [absent] * (self._num_slices + 1 - len(known))
        found = tf.gather(tf.stack(known, 1), tf.gather(table, place), batch_dims=1)
        return tf.reshape(tf.transpose(found, [0, 2, 3, 1, 4]), [-1, height, width, table.shape[1] * (channels + 1)])


@keras.saving.register_keras_serializable("tfar")
class SliceLink(Composite):
    """Features of one slice, by the embedder that all slices share.

    Args:
        embedder: of all slices.
        place: number of the slice.
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(self, embedder: SliceEmbedder, place: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.embedder, self._place = embedder, place
        self.built = True

    def call(self, earlier: list[tf.Tensor], condition: tf.Tensor | None = None) -> tf.Tensor:
        """Values of the parts before, and features [B, d] of the condition -> [B, h, w, filters]."""
        batch = tf.shape(condition if condition is not None else earlier[0])[0]
        return self.embedder(earlier, tf.fill([batch], self._place), condition)
