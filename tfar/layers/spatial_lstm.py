"""The base class of LSTMs of images: weights, colour masks, the condition and the cell."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfar.core.slicing import take
from tfar.layers.groups import centre_mask, channel_groups
from tfar.layers.weighted import WeightedLayer

GATES = 4


class SpatialLSTM(WeightedLayer):
    """Base class of `RowLSTM` and `DiagonalLSTM`.

        o, f, i, g = K_is * x + K_ss * h' + b (+ V condition)
        c = sigmoid(f) c' + sigmoid(i) tanh(g)
        h = sigmoid(o) tanh(c)

    h' and c' are the state of a neighbour. Outside of the image it is learned: c' = c_0 and h' = tanh(c_0), the state
    of an LSTM whose output gate is open. In half precision matrix products are done in it, gates and c in float32.

    Tensors inside of a layer have rows and columns first, [n, W, B, C], so that a pixel is one piece of memory.

    Args:
        filters: features h of the state.
        input_taps: width of K_is, odd; the taps right of the pixel are stored and masked.
        state_taps: neighbours that K_ss sees.
        groups: number of colours that the network orders; 1 where pixels are drawn whole.
        channel_groups: layout of the colour groups of the output, "interleaved" or "contiguous".
        input_groups: layout of the input; default as `channel_groups`.
        forget_bias: initial b of the forget gates.
        **kwargs: name and dtype.
    """

    def __init__(
        self,
        filters: int,
        input_taps: int,
        state_taps: int,
        groups: int,
        channel_groups: str,
        input_groups: str | None,
        forget_bias: float,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if filters < 1:
            raise ValueError(f"filters must be at least 1, got {filters}")
        self.filters, self.input_taps, self.state_taps, self.groups = filters, input_taps, state_taps, groups
        self.channel_groups, self.input_groups = channel_groups, input_groups or channel_groups
        self.forget_bias = forget_bias

    @property
    def mask(self) -> np.ndarray:
        """The mask of K_is, float32 [taps, C, 4 filters] of 0 and 1; there once the layer is built."""
        return self._mask

    def build(self, x_shape: tuple[int | None, ...], condition_shape: tuple[int | None, ...] | None = None) -> None:
        """Creates K_is, K_ss, b, c_0 and, with a condition, V."""
        channels, size, left = x_shape[-1], GATES * self.filters, self.input_taps // 2
        mask = np.zeros((self.input_taps, channels, size), np.float32)
        mask[:left] = 1
        mask[left] = centre_mask(
            channel_groups(channels, self.groups, self.input_groups),
            # Every gate has the colours of the state.
            channel_groups(size, self.groups, self.channel_groups, GATES),
            "B",
        )
        self._mask = mask
        # Glorot with the fans that the mask leaves.
        limit = np.sqrt(6.0 / (mask.sum() / size + mask.sum() / channels + 1e-9))
        initializer = keras.initializers.RandomUniform(-limit, limit)
        self.kernel = self.add_weight(shape=mask.shape, initializer=initializer, name="kernel", used=mask)
        shape = (self.state_taps, self.filters, size)
        self.recurrent_kernel = self.add_weight(shape=shape, initializer="orthogonal", name="recurrent_kernel")

        def bias(shape: tuple[int, ...], dtype: Any = None) -> Any:
            forget = np.arange(size) // self.filters == 1
            return keras.ops.cast(np.where(forget, self.forget_bias, 0.0), dtype)

        self.bias = self.add_weight(shape=(size,), initializer=bias, name="bias")
        self.initial = self.add_weight(shape=(self.filters,), initializer="zeros", name="initial")
        self.condition_kernel = None
        if condition_shape is not None:
            self.condition_kernel = self.add_weight(
                shape=(condition_shape[-1], size), initializer="glorot_uniform", name="condition_kernel"
            )

    # The arithmetic; x.dtype is that of matrix products, `_precise` that of gates and c.

    def _precise(self, dtype: tf.DType) -> tf.DType:
        return dtype if dtype == tf.float64 else tf.float32

    def _input_kernel(self, dtype: tf.DType) -> tf.Tensor:
        """K_is without the taps to the right, [taps * C, 4 filters]."""
        seen = self.input_taps // 2 + 1
        mask = self._mask[:seen]
        kernel = tf.cast(self.kernel[:seen], dtype)
        kernel = kernel if mask.all() else kernel * tf.constant(mask, dtype)
        return tf.reshape(kernel, [-1, GATES * self.filters])

    def _state_kernel(self, dtype: tf.DType, tap: int | None = None) -> tf.Tensor:
        """K_ss [taps * filters, 4 filters], or one tap of it [filters, 4 filters]."""
        kernel = tf.cast(self.recurrent_kernel, dtype)
        return tf.reshape(kernel, [-1, GATES * self.filters]) if tap is None else kernel[tap]

    def _initial_state(self, dtype: tf.DType) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the state (h, c) of a neighbour outside of the image, [filters] each: of `dtype`, precise."""
        c = tf.cast(self.initial, self._precise(dtype))
        return tf.cast(tf.tanh(c), dtype), c

    def _offset(self, condition: tf.Tensor | None, dtype: tf.DType, start: Any = 0, rows: int | None = None) -> Any:
        """Bias + V condition for some rows, in a shape that broadcasts to [rows, W, B, 4 filters]; precise."""
        bias = tf.cast(self.bias, self._precise(dtype))
        if condition is None:
            return bias
        condition = tf.cast(condition, dtype)
        if condition.shape.rank == 4:
            condition = condition if rows is None else take(condition, 1, start, rows)
            condition = tf.transpose(condition, [1, 2, 0, 3])
        # Not "+": in a batch of one, TensorFlow's graph optimizer merges sums of [1, n] and [n] into one that fails.
        return tf.nn.bias_add(self._product(condition, tf.cast(self.condition_kernel, dtype)), bias)

    def _product(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """[..., C] by [C, F], in the precision of the gates."""
        y = tf.matmul(x, kernel) if x.shape.rank == 2 else tf.tensordot(x, kernel, 1)
        return tf.cast(y, self._precise(x.dtype))

    def _advance(self, gates: tf.Tensor, c: tf.Tensor, dtype: tf.DType) -> tuple[tf.Tensor, tf.Tensor]:
        """Gates [..., 4 filters] and c' -> h of `dtype` and c."""
        o, f, i = tf.split(tf.sigmoid(gates[..., : 3 * self.filters]), 3, -1)
        c = f * c + i * tf.tanh(gates[..., 3 * self.filters :])
        return tf.cast(o * tf.tanh(c), dtype), c

    def compute_output_shape(
        self, x_shape: tuple[int | None, ...], condition_shape: tuple[int | None, ...] | None = None
    ) -> tuple[int | None, ...]:
        """[B, H, W, filters]."""
        return (*x_shape[:-1], self.filters)


def cells_inside(x: tf.Tensor) -> tf.Tensor:
    """[B, n, W, C] -> [n, W, B, C]."""
    return tf.transpose(x, [1, 2, 0, 3])


def cells_outside(x: tf.Tensor) -> tf.Tensor:
    """[n, W, B, C] -> [B, n, W, C]."""
    return tf.transpose(x, [2, 0, 1, 3])
