"""Auxiliary views: functions of an event that a chain draws before the event, see `tfar.models.Chain`.

They are computed with whole numbers, so that every device and every compiler finds the same values.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfar.core.checks import checked_integer
from tfar.core.views import View

# Luminance of red, green and blue in thousandths, ITU-R BT.601.
_LUMINANCE = (299, 587, 114)


@keras.saving.register_keras_serializable("tfar")
class Gray(View):
    """The image in few levels of grey: luminance, or the mean of the channels where there are not three.

        y[i, j, 0] = floor(luminance(x[i, j]) * gray_levels / levels)

    Args:
        levels: of a value of x.
        gray_levels: of y, from 2 to `levels`.

    Raises:
        ValueError: a number of levels is not positive, or y would have more levels than x.

    Example:
        >>> Gray(256, 16).take([[[[255, 255, 255], [255, 0, 0]]]])[0, 0, :, 0].numpy().tolist()
        [15, 4]
    """

    auxiliary = True

    def __init__(self, levels: int, gray_levels: int):
        self.levels = checked_integer("levels", levels, low=2)
        self.gray_levels = checked_integer("gray_levels", gray_levels, low=2, high=levels)

    def take(self, x: Any) -> tf.Tensor:
        """See `View.take`; int32 [B, H, W, 1]."""
        x = tf.cast(x, tf.int32)
        channels = x.shape[-1]
        weights = _LUMINANCE if channels == 3 else (1,) * channels
        weighted = tf.reduce_sum(x * tf.constant(weights, tf.int32), -1, keepdims=True)
        return weighted * self.gray_levels // (sum(weights) * self.levels)

    def spread(self, score: tf.Tensor, canvas_shape: tuple[int, ...]) -> tf.Tensor:
        """See `View.spread`: the nats of a pixel evenly over its channels."""
        return spread_evenly(score, canvas_shape)


@keras.saving.register_keras_serializable("tfar")
class Averages(View):
    """A coarser image: averages over squares of pixels, rounded to whole levels, halves to the even one.

        y[i, j, c] = round(mean of x[factor * i + k, factor * j + l, c] * (average_levels - 1) / (levels - 1))

    Args:
        factor: pixels along the side of a square; it divides height and width.
        levels: of a value of x.
        average_levels: of y; `levels` by default.

    Raises:
        ValueError: a number of levels is below 2, or the squares do not fill the image.

    Example:
        >>> Averages(2, 256).take([[[[1], [2]], [[3], [4]]]])[0, 0, 0].numpy().tolist()
        [2]
    """

    auxiliary = True

    def __init__(self, factor: int, levels: int, average_levels: int | None = None):
        self.factor = checked_integer("factor", factor, low=1)
        self.levels = checked_integer("levels", levels, low=2)
        self.average_levels = checked_integer("average_levels", average_levels or levels, low=2)

    def take(self, x: Any) -> tf.Tensor:
        """See `View.take`; [B, H / factor, W / factor, C]."""
        unit = self.factor**2 * (self.levels - 1)
        x = tf.cast(x, tf.int32 if unit * (self.average_levels - 1) < 2**30 else tf.int64)
        height, width, channels = x.shape[1:]
        if height % self.factor or width % self.factor:
            raise ValueError(f"factor must divide height and width {(height, width)}, got {self.factor}")
        rows, columns = height // self.factor, width // self.factor
        x = tf.reduce_sum(tf.reshape(x, [-1, self.factor, width * channels]), 1)
        x = tf.reduce_sum(tf.reshape(x, [-1, self.factor, channels]), 1)
        total = tf.reshape(x, [-1, rows, columns, channels]) * (self.average_levels - 1)
        below, rest = total // unit, 2 * (total % unit)
        up = (rest > unit) | ((rest == unit) & (below % 2 == 1))
        return below + tf.cast(up, below.dtype)

    def spread(self, score: tf.Tensor, canvas_shape: tuple[int, ...]) -> tf.Tensor:
        """See `View.spread`: the nats of an average evenly over its square."""
        return spread_evenly(score, canvas_shape, self.factor)


def spread_evenly(score: tf.Tensor, canvas_shape: tuple[int, ...], factor: int = 1) -> tf.Tensor:
    """Lays nats on the canvas of x, those of a site evenly over the values that it summarizes.

    Args:
        score: [B, h, w], or [B, h, w, c]: of each channel, or of one value that stands for all channels.
        canvas_shape: positions of x, (H, W) or (H, W, C).
        factor: H / h.

    Returns:
        [B, *canvas_shape].
    """
    score = tf.convert_to_tensor(score)
    channels = canvas_shape[2] if len(canvas_shape) == 3 else None
    if score.shape.rank == 4 and score.shape[3] != channels:
        score = tf.reduce_sum(score, -1)
    if channels is not None and score.shape.rank == 3:
        score = tf.repeat(score[..., None] / channels, channels, -1)
    for axis in (1, 2) if factor > 1 else ():
        score = tf.repeat(score / factor, factor, axis)
    return score
