"""Causal convolution over a sequence, dilated, with a ring buffer for incremental evaluation."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfar.core import scope as scopes
from tfar.core.checks import check_sizes
from tfar.core.sizes import batch_size
from tfar.core.slicing import entry, pick, put
from tfar.layers.weighted import WeightedLayer


@keras.saving.register_keras_serializable("tfar")
class CausalConv1D(WeightedLayer):
    """Convolution over the past: y_t = b + sum_m w_m x_(t - m d), m = 0, ..., k - 1.

    Exclusive layers see m = 1, ..., k. A step costs the same for every dilation: the buffer is a ring of
    (k - 1) d entries, of which one is replaced and k - 1 are read, those that the next step needs.

    Args:
        filters: number of output features.
        kernel_size: number of taps k.
        dilation_rate: distance between taps d.
        exclusive: True for the first layer of a network (mask A): strictly before t.
        use_bias: whether to add b.
        kernel_initializer: initializer of the kernel [k, C, filters], the oldest tap first.
        ignore_first: reads the first element as zeros. Where a network's first element is a place holder for "nothing
            yet", the layers behind the first one then see at t = 1, 2, ... the zero padding of a network whose sequence
            begins at t = 1, whatever the biases in between.

    Input shape `[B, T, C]`, output shape `[B, T, filters]`.

    Raises:
        ValueError: a size is not positive, or `ignore_first` of an exclusive layer, which never sees such an element.

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
        ignore_first: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if exclusive and ignore_first:
            raise ValueError("ignore_first must be False for an exclusive layer, got True")
        check_sizes(filters=filters, kernel_size=kernel_size, dilation_rate=dilation_rate)
        self.filters, self.kernel_size, self.dilation_rate = filters, kernel_size, dilation_rate
        self.exclusive, self.use_bias, self.ignore_first = exclusive, use_bias, ignore_first
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
            ignored = int(self.ignore_first)
            x = tf.pad(x[:, ignored : tf.shape(x)[1] - shift], [[0, 0], [past + shift + ignored, 0], [0, 0]])
            return self._convolve(x)
        if scope.phase != "step":
            raise RuntimeError(f"layer {self.name!r} works on sequences and has no {scope.phase} phase")
        if self.ignore_first:
            x = tf.where((scope.positions > 0)[..., None], x, 0)
        state = scope.state_of(self)
        if not past:
            return self._convolve(x)
        batch, channels, taps = batch_size(x), x.shape[-1], self.kernel_size - 1
        # The step before takes the values for this step out of the ring, behind its own update. Reading the ring first
        # and then changing it would make XLA copy the whole ring at every step, and fuse the slice with what reads it.
        before = state.read("taps", [batch, taps * channels], x.dtype)
        dilated = self.dilation_rate > 1
        # ring[s] holds the input of the latest time with time % past == s; time first, so that an update is one row.
        ring = state.read("ring", [past, batch, channels], x.dtype) if dilated else None
        if scope.length == 1:
            window = tf.concat([before, x[:, 0]], -1)
            if dilated:
                slot, slots = self._slots(scope)
                ring = put(ring, slot, x[:, 0])
                state.write("ring", ring)
                state.write("taps", tf.concat([pick(ring, slot) for slot in slots], -1))
            else:
                state.write("taps", window[:, channels:])
            kernel = tf.reshape(tf.cast(self.kernel, x.dtype), [-1, self.filters])
            if self.bias is None:
                # XLA compiles a product that is added to something as a product of matrices, and a lone one with
                # reshapes around it as a plain loop (one-hot input, two blocks: 16 us per step instead of 30).
                old, new = tf.split(kernel, [taps * channels, channels])
                return (tf.matmul(before, old) + tf.matmul(x[:, 0], new))[:, None]
            return self._add_bias(tf.matmul(window, kernel))[:, None]
        if dilated:
            oldest_first = tf.transpose(tf.gather(ring, (scope.at + np.arange(past)) % past), [1, 0, 2])
        else:
            oldest_first = tf.reshape(before, [batch, taps, channels])
        window = tf.concat([oldest_first, x], 1)
        if dilated:
            newest = tf.transpose(window[:, -past:], [1, 0, 2])
            state.write("ring", tf.gather(newest, (np.arange(past) - scope.at - scope.length) % past))
        following = [past + scope.length - m * self.dilation_rate for m in range(taps, 0, -1)]
        state.write("taps", tf.concat([window[:, index] for index in following], -1))
        return self._convolve(window)

    def _slots(self, scope: scopes.Incremental) -> tuple[Any, list[Any]]:
        """Slot of the ring that a step writes, and those that the next step reads, the oldest first."""
        rate, taps = self.dilation_rate, self.kernel_size - 1

        def compute() -> tuple[Any, list[Any]]:
            slot = lambda time: entry(time % (taps * rate))  # noqa: E731
            return slot(scope.at), [slot(scope.at + 1 - m * rate) for m in range(taps, 0, -1)]

        return scope.shared(("ring", rate, taps), compute)

    def _convolve(self, window: tf.Tensor) -> tf.Tensor:
        kernel = tf.cast(self.kernel, window.dtype)
        return self._add_bias(tf.nn.convolution(window, kernel, padding="VALID", dilations=self.dilation_rate))

    def _add_bias(self, y: tf.Tensor) -> tf.Tensor:
        return y if self.bias is None else y + tf.cast(self.bias, y.dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """[B, T, filters]."""
        return (*input_shape[:-1], self.filters)
