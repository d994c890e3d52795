"""Upsamples a local condition to the rate of the elements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfar.layers.weighted import WeightedLayer

METHODS = ("repeat", "transposed", "stretch", "transposed2d")


@keras.saving.register_keras_serializable("tfar")
class Upsampling1D(WeightedLayer):
    """Every frame becomes `hop` elements.

        "repeat"        each frame, hop times; no weights
        "transposed"    a transposed convolution over time with stride hop and kernel 2 hop, which begins as a linear
                        interpolation between the middles of the frames
        "stretch"       for each scale s: repetition s times, then one kernel of (2 s + 1) x `channel_kernel` over time
                        and channels, without bias, beginning as a mean. The network of wavenet_vocoder
        "transposed2d"  for each scale s: a transposed convolution, one kernel of s x `channel_kernel` with stride s
                        over time, bias, ReLU. The older network of wavenet_vocoder

    A kernel reaches over time in both directions: the condition is known as a whole. Beyond the ends it sees zeros.

    Args:
        hop: elements per frame.
        method: as above.
        scales: factors of the steps, their product hop; (hop,) by default. For "stretch" and "transposed2d".
        channel_kernel: taps over neighbouring channels, odd. For "stretch" and "transposed2d".
        first_kernel: taps of a convolution of the frames in front of it all (without bias, as many channels out as
            in), 0 for none. It is not padded: first_kernel - 1 more frames than the event needs are expected, half of
            them in front.

    Input shape `[B, n, C]`, output shape `[B, (n - first_kernel + 1) hop, C]` (n hop without such a kernel).

    Raises:
        ValueError: unknown method, scales that do not make up hop, an even kernel.

    References:
        van den Oord et al., WaveNet: A Generative Model for Raw Audio, 2016, section 2.5.
        https://github.com/r9y9/wavenet_vocoder, upsample.py.

    Example:
        >>> Upsampling1D(2)(tf.constant([[[1.0], [2.0]]]))[0, :, 0].numpy().tolist()
        [1.0, 1.0, 2.0, 2.0]
    """

    def __init__(
        self,
        hop: int,
        method: str = "repeat",
        scales: Sequence[int] | None = None,
        channel_kernel: int = 1,
        first_kernel: int = 0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        scales = list(scales or (hop,))
        if method not in METHODS:
            raise ValueError(f"method must be one of {METHODS}, got {method!r}")
        if hop < 1 or min(scales) < 1 or math.prod(scales) != hop:
            raise ValueError(f"scales must be positive numbers whose product is hop={hop}, got {scales}")
        for name, value in (("channel_kernel", channel_kernel), ("first_kernel", first_kernel or 1)):
            if value < 1 or value % 2 == 0:
                raise ValueError(f"{name} must be odd, got {value}")
        self.hop, self.method, self.scales = hop, method, scales
        self.channel_kernel, self.first_kernel = channel_kernel, first_kernel

    @property
    def num_extra_frames(self) -> int:
        """Frames that are needed beyond those of the event."""
        return max(self.first_kernel - 1, 0)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the kernels."""
        channels, width = input_shape[-1], self.channel_kernel
        if self.first_kernel:
            shape = (self.first_kernel, channels, channels)
            self.first = self.add_weight(shape=shape, initializer="glorot_uniform", name="first")
        if self.method == "transposed":
            shape = (2 * self.hop, channels, channels)
            self.kernel = self.add_weight(shape=shape, initializer=_interpolation, name="kernel")
            self.bias = self.add_weight(shape=(channels,), initializer="zeros", name="bias")
        if self.method in ("stretch", "transposed2d"):
            taps = [2 * scale + 1 if self.method == "stretch" else scale for scale in self.scales]
            means = [1 / (width * count) if self.method == "stretch" else 1 / width for count in taps]
            self.kernels = [
                self.add_weight(
                    shape=(count, width, 1, 1), initializer=keras.initializers.Constant(mean), name=f"kernel_{index}"
                )
                for index, (count, mean) in enumerate(zip(taps, means, strict=True))
            ]
        if self.method == "transposed2d":
            self.biases = [
                self.add_weight(shape=(1,), initializer="zeros", name=f"bias_{index}")
                for index in range(len(self.scales))
            ]

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """[B, n, C] -> [B, n hop, C]."""
        x = tf.cast(x, self.compute_dtype)
        if self.first_kernel:
            x = tf.nn.conv1d(x, tf.cast(self.first, x.dtype), 1, "VALID")
        if self.method == "repeat":
            return tf.repeat(x, self.hop, 1)
        if self.method == "transposed":
            return self._transposed(x)
        y = x[..., None]
        for index, scale in enumerate(self.scales):
            kernel = tf.cast(self.kernels[index], y.dtype)
            if self.method == "stretch":
                y = tf.nn.conv2d(tf.repeat(y, scale, 1), kernel, 1, "SAME")
            else:
                shape = tf.shape(y)
                shape = [shape[0], shape[1] * scale, y.shape[2], 1]
                y = tf.nn.conv2d_transpose(y, kernel, shape, (scale, 1), "SAME")
                y = tf.nn.relu(y + tf.cast(self.biases[index], y.dtype))
        return y[..., 0]

    def _transposed(self, x: tf.Tensor) -> tf.Tensor:
        # Half a kernel is cut off at either end, so that frame i lies over its own elements.
        shape = tf.shape(x)
        output_shape = [shape[0], (shape[1] + 1) * self.hop, x.shape[-1]]
        y = tf.nn.conv1d_transpose(x, tf.cast(self.kernel, x.dtype), output_shape, self.hop, "VALID")
        begin = self.hop // 2
        return y[:, begin : begin + shape[1] * self.hop] + tf.cast(self.bias, x.dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """[B, n hop, C]."""
        frames = input_shape[1]
        length = None if frames is None else (frames - self.num_extra_frames) * self.hop
        return (input_shape[0], length, input_shape[-1])


def _interpolation(shape: Sequence[int], dtype: Any = None) -> tf.Tensor:
    """Returns a kernel [2 hop, C, C] of a transposed convolution that interpolates linearly, each channel by itself."""
    hop = shape[0] // 2
    weights = 1 - tf.abs((tf.range(2 * hop, dtype=tf.float32) + 0.5) / hop - 1)
    return tf.cast(weights[:, None, None] * tf.eye(shape[1], shape[2]), dtype or tf.float32)
