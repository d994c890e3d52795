"""Position embeddings of an image's cells, by row and by column and colour, in any order of drawing."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfar.core import scope as scopes
from tfar.core.invariants import invariant
from tfar.core.slicing import look_up

KINDS = ("sine", "learned")


@keras.saving.register_keras_serializable("tfar")
class ImagePositions(keras.layers.Layer):
    """x_t + p_t: a vector for the row of what is drawn at t, and one for its column and colour.

    Args:
        rows: int [N], the row of every position in the order of drawing.
        columns: int [N], the column, times the number of colours, plus the colour.
        kind: "learned" adds both vectors; "sine" gives half of the features to each.

    Input and output shape `[B, n, C]`.

    Raises:
        ValueError: unknown kind.

    References:
        Parmar et al., Image Transformer, 2018, section 3.1; `add_timing_signal_nd` and `add_positional_embedding_nd` of
        tensor2tensor.
    """

    def __init__(self, rows: np.ndarray, columns: np.ndarray, kind: str, **kwargs: Any):
        super().__init__(**kwargs)
        if kind not in KINDS:
            raise ValueError(f"positions must be one of {KINDS}, got {kind!r}")
        self._places, self._kind = (rows, columns), kind

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the learned vectors."""
        self._width = input_shape[-1]
        if self._kind == "learned":
            normal = keras.initializers.RandomNormal
            rows, columns = ((int(place.max()) + 1, self._width) for place in self._places)
            self.row = self.add_weight(shape=rows, initializer=normal(stddev=0.5**0.5), name="row")
            self.column = self.add_weight(shape=columns, initializer=normal(stddev=0.5**0.5), name="column")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """[B, n, C] -> the same shape."""
        scope = scopes.current()
        table = invariant(self, x.dtype, lambda: tf.cast(self._table(), x.dtype))
        return x + look_up(table, 0 if scope is None else scope.at, x.shape[1])

    def _table(self) -> tf.Tensor:
        """One vector for every position, [N, C]."""
        if self._kind == "learned":
            row, column = self._places
            return tf.gather(self.row, row) + tf.gather(self.column, column)
        # Wavelengths from 2 pi to 10,000 times 2 pi, as for words (Vaswani et al., 2017, section 3.5).
        count = self._width // 4
        rates = 10_000.0 ** (-np.arange(count) / max(count - 1, 1))
        angles = [place[:, None] * rates for place in self._places]
        waves = np.concatenate([f(angle) for angle in angles for f in (np.sin, np.cos)], 1)
        return tf.constant(np.pad(waves, [[0, 0], [0, self._width - 4 * count]]))
