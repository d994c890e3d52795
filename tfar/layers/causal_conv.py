"""Causal convolution over a sequence, dilated, with a ring buffer for incremental evaluation."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfar.core import scope as scopes


@keras.saving.register_keras_serializable("tfar")
class CausalConv1D(keras.layers.Layer):
    """Convolution over the past: y_t = b + sum_m w_m x_(t - m d), m = 0, ..., k - 1.

    Exclusive layers see m = 1, ..., k. A step costs the same for every dilation: the buffer is a ring of
    (k - 1) d entries, of which k - 1 are read and one is replaced.

    Args:
        filters: number of output features.
        kernel_size: number of taps k.
        dilation_rate: distance between taps d.
        exclusive: True for the first layer of a network (mask A): strictly before t.
        use_bias: whether to add b.
        kernel_initializer: initializer of the kernel [k, C, filters], the oldest tap first.

    Input shape `[B, T, C]`, output shape `[B, T, filters]`.

    References:
        van den Oord et al., WaveNet: A Generative Model for Raw Audio, 2016.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        dilation_rate: int = 1,
        exclusive: bool = False,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        for name, value in (("filters", filters), ("kernel_size", kernel_size), ("dilation_rate", dilation_rate)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.filters, self.kernel_size, self.dilation_rate = filters, kernel_size, dilation_rate
        self.exclusive, self.use_bias = exclusive, use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates kernel and bias."""
        shape = (self.kernel_size, input_shape[-1], self.filters)
        self.kernel = self.add_weight(shape=shape, initializer=self.kernel_initializer, name="kernel")
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias") if self.use_bias else None

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """[B, T, C] -> [B, T, filters]."""
        scope = scopes.current()
        past = (self.kernel_size - 1) * self.dilation_rate
        if scope is None:
            # In a step the input is the previous element already; in parallel the shift is done here.
            shift = int(self.exclusive)
            x = tf.pad(x[:, : tf.shape(x)[1] - shift], [[0, 0], [past + shift, 0], [0, 0]])
            return self._convolve(x)
        if scope.phase != "step":
            raise RuntimeError(f"layer {self.name!r} works on sequences and has no {scope.phase} phase")
        cell = scope.cell(self)
        if not past:
            return self._convolve(x)
        # ring[s] holds the input of the latest time with time % past == s; time first, so that an update is one row.
        ring = cell.read("ring", [past, tf.shape(x)[0], x.shape[-1]], x.dtype)
        if scope.length == 1:
            slots = [(scope.at - m * self.dilation_rate) % past for m in range(self.kernel_size - 1, 0, -1)]
            taps = [ring[slot] for slot in slots] + [x[:, 0]]
            cell.write("ring", tf.tensor_scatter_nd_update(ring, [[scope.at % past]], x[None, :, 0]))
            window = tf.concat(taps, -1)
            kernel = tf.reshape(self.kernel, [-1, self.filters])
            return self._add_bias(tf.matmul(window, tf.cast(kernel, x.dtype)))[:, None]
        oldest_first = tf.gather(ring, (scope.at + np.arange(past)) % past)
        window = tf.concat([tf.transpose(oldest_first, [1, 0, 2]), x], 1)
        end = scope.at + scope.length
        newest = tf.transpose(window[:, -past:], [1, 0, 2])
        cell.write("ring", tf.gather(newest, (np.arange(past) - end) % past))
        return self._convolve(window)

    def _convolve(self, window: tf.Tensor) -> tf.Tensor:
        kernel = tf.cast(self.kernel, window.dtype)
        return self._add_bias(tf.nn.convolution(window, kernel, padding="VALID", dilations=self.dilation_rate))

    def _add_bias(self, y: tf.Tensor) -> tf.Tensor:
        return y if self.bias is None else y + tf.cast(self.bias, y.dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """[B, T, filters]."""
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "dilation_rate": self.dilation_rate,
            "exclusive": self.exclusive,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
