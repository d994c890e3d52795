"""Views: the values of an event that a part of a chain models, see `tfar.models.Chain`.

A chain's parts y_1, ..., y_K are views of the event x, and their values put on a canvas of zeros add up to it:

    y_k = view_k.take(x)          x = view_1.put(y_1) + ... + view_K.put(y_K)

An auxiliary view is another function of x; it puts nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfar.core.configured import Configured


class View(Configured):
    """A part of an event. Subclasses write `take`, `put` and `spread`; those of auxiliary parts `take` and `spread`.

    Attributes:
        auxiliary: whether the values are no part of x but a function of it.
    """

    auxiliary: bool = False

    def take(self, x: Any) -> Any:
        """Values [B, *event_shape of the part] of events [B, *event_shape], arrays or tensors."""
        raise NotImplementedError

    def flags(self, observed: Any) -> Any:
        """Which values of the part are known where `observed`, bool [B, *event_shape], says it of the event."""
        return self.take(observed)

    def put(self, y: tf.Tensor, event_shape: tuple[int, ...]) -> tf.Tensor:
        """Lays values of the part on a canvas of zeros, [B, *event_shape]."""
        return tf.zeros([tf.shape(y)[0], *event_shape], y.dtype)

    def spread(self, score: tf.Tensor, canvas_shape: tuple[int, ...]) -> tf.Tensor:
        """Lays nats of the part on the canvas of x; the sum over the canvas is the sum of the nats.

        Args:
            score: [B, *positions of the part].
            canvas_shape: positions of x, (H, W) or (H, W, C).

        Returns:
            [B, *canvas_shape].
        """
        raise NotImplementedError


@keras.saving.register_keras_serializable("tfar")
class Cells(View):
    """Pixels on a lattice, some of their channels, and some of the bits of these.

        y[i, j, c] = x[offset + stride * (i, j), channels[0] + c] >> shift, its lowest `bits` bits

    Args:
        offset: row and column of the first pixel.
        stride: distance of pixels in rows and columns; it divides the image.
        channels: (first, end) of the channels; None for all.
        shift: number of lower bits that are left out.
        bits: number of bits above these; None for all.

    Raises:
        ValueError: offset and stride do not fit together, or bits are negative.

    Example:
        >>> import numpy as np
        >>> x = np.arange(16).reshape(1, 4, 4, 1)
        >>> y = Cells((0, 1), (2, 2)).take(x)
        >>> y[0, ..., 0].tolist()
        [[1, 3], [9, 11]]
        >>> Cells((0, 1), (2, 2)).put(y, (4, 4, 1))[0, 0, :, 0].numpy().tolist()
        [0, 1, 0, 3]
    """

    def __init__(
        self,
        offset: Sequence[int] = (0, 0),
        stride: Sequence[int] = (1, 1),
        channels: Sequence[int] | None = None,
        shift: int = 0,
        bits: int | None = None,
    ):
        self.offset, self.stride, self.shift, self.bits = tuple(offset), tuple(stride), shift, bits
        self.channels = None if channels is None else tuple(channels)
        if not all(0 <= first < step for first, step in zip(self.offset, self.stride, strict=True)):
            raise ValueError(f"offset must be at least 0 and below stride {self.stride}, got {self.offset}")
        if shift < 0 or (bits is not None and bits < 1):
            raise ValueError(f"shift must be at least 0 and bits at least 1, got {shift} and {bits}")

    def take(self, x: Any) -> Any:
        """See `View.take`."""
        y = self.flags(x)
        y = y // 2**self.shift if self.shift else y
        return y if self.bits is None else y % 2**self.bits

    def flags(self, observed: Any) -> Any:
        """See `View.flags`."""
        height, width = observed.shape[1:3]
        if height % self.stride[0] or width % self.stride[1]:
            raise ValueError(f"stride must divide height and width {(height, width)}, got {self.stride}")
        (row, column), (down, right) = self.offset, self.stride
        first, end = self.channels or (0, observed.shape[3])
        return observed[:, row::down, column::right, first:end]

    def put(self, y: tf.Tensor, event_shape: tuple[int, ...]) -> tf.Tensor:
        """See `View.put`."""
        first, end = self.channels or (0, event_shape[2])
        y = self._on_lattice(tf.convert_to_tensor(y) * 2**self.shift if self.shift else tf.convert_to_tensor(y))
        if (first, end) == (0, event_shape[2]):
            return y
        return tf.pad(y, [[0, 0], [0, 0], [0, 0], [first, event_shape[2] - end]])

    def spread(self, score: tf.Tensor, canvas_shape: tuple[int, ...]) -> tf.Tensor:
        """See `View.spread`; nats of a whole pixel are spread evenly over its channels where these are positions."""
        score = tf.convert_to_tensor(score)
        if len(canvas_shape) == 2:
            score = score if score.shape.rank == 3 else tf.reduce_sum(score, -1)
            return self._on_lattice(score[..., None])[..., 0]
        first, end = self.channels or (0, canvas_shape[2])
        if score.shape.rank == 3:
            score = tf.repeat(score[..., None] / (end - first), end - first, -1)
        return tf.pad(self._on_lattice(score), [[0, 0], [0, 0], [0, 0], [first, canvas_shape[2] - end]])

    def _on_lattice(self, y: tf.Tensor) -> tf.Tensor:
        """Pixels [B, h, w, c] at their places, [B, H, W, c], 0 elsewhere; by two paddings, which LiteRT has."""
        height, width, channels = y.shape[1:]
        (row, column), (down, right) = self.offset, self.stride
        if down > 1:
            y = tf.reshape(y, [-1, height, 1, width * channels])
            y = tf.pad(y, [[0, 0], [0, 0], [row, down - 1 - row], [0, 0]])
        if right > 1:
            y = tf.reshape(y, [-1, width, 1, channels])
            y = tf.pad(y, [[0, 0], [0, 0], [column, right - 1 - column], [0, 0]])
        return tf.reshape(y, [-1, height * down, width * right, channels])
