"""Positions of the elements of a sequence: learned vectors that are added, or rotations of queries and keys."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfar.core import scope as scopes
from tfar.core.checks import check_sizes
from tfar.core.configured import Configured
from tfar.core.slicing import look_up, varies


def _first_position(layer: keras.layers.Layer) -> Any:
    """Position of the first element of the input: 0 in parallel, in a scope that of the step, a scalar or [B]."""
    scope = scopes.current()
    if scope is None:
        return 0
    if scope.phase != "step":
        raise RuntimeError(f"layer {layer.name!r} works on sequences and has no {scope.phase} phase")
    return scope.at


@keras.saving.register_keras_serializable("tfar")
class LearnedPositions(Configured, keras.layers.Layer):
    """x_t + p_t, with one learned vector for each of `max_length` positions.

    Args:
        max_length: number of positions.
        initializer: of the table [max_length, C].

    Input and output shape `[B, T, C]`, T at most `max_length`.

    Raises:
        ValueError: the sequence is longer than `max_length`.

    References:
        Gehring et al., Convolutional Sequence to Sequence Learning, 2017; Radford et al. (GPT), 2018.
    """

    def __init__(self, max_length: int, initializer: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        check_sizes(max_length=max_length)
        self.max_length = max_length
        self.initializer = keras.initializers.get(initializer or keras.initializers.RandomNormal(stddev=0.02))

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the table."""
        shape = (self.max_length, input_shape[-1])
        self.table = self.add_weight(shape=shape, initializer=self.initializer, name="table")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """[B, T, C] -> the same shape."""
        first, length = _first_position(self), x.shape[1]
        if length is not None and length > self.max_length:
            raise ValueError(
                f"a model with learned positions takes sequences of at most max_length={self.max_length}, got {length}"
            )
        table = tf.cast(tf.convert_to_tensor(self.table), x.dtype)
        return x + look_up(table, first, tf.shape(x)[1] if length is None else length)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the same shape."""
        return input_shape


@keras.saving.register_keras_serializable("tfar")
class RotaryPositions(Configured, keras.layers.Layer):
    """Rotates the features of every head by angles that grow with the position.

        y_(i)       = x_(i) cos(t w_i) - x_(i + d/2) sin(t w_i)
        y_(i + d/2) = x_(i) sin(t w_i) + x_(i + d/2) cos(t w_i),      w_i = base^(-2 i / d),   i < d/2

    Applied to queries and keys, products of two of them depend on the difference of their positions alone, so a
    model of any length needs no table.

    Args:
        num_heads: heads that share the channels; d = C / num_heads is even.
        base: the slowest angle is about 1 / base per position.

    Input and output shape `[B, T, C]`.

    References:
        Su et al., RoFormer: Enhanced Transformer with Rotary Position Embedding, 2021.
    """

    def __init__(self, num_heads: int = 1, base: float = 10_000.0, **kwargs: Any):
        super().__init__(**kwargs)
        check_sizes(num_heads=num_heads)
        self.num_heads, self.base = num_heads, base

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Checks the channels."""
        if input_shape[-1] % (2 * self.num_heads):
            raise ValueError(
                f"rotary positions need an even number of channels for each of {self.num_heads} heads, "
                f"got {input_shape[-1]} in all"
            )

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """[B, T, C] -> the same shape."""
        half = x.shape[-1] // (2 * self.num_heads)
        dtype = tf.float64 if x.dtype == tf.float64 else tf.float32
        first = _first_position(self)
        position = tf.cast((first[:, None] if varies(first) else first) + tf.range(tf.shape(x)[1]), dtype)
        angle = position[..., None] * self.base ** (-tf.range(half, dtype=dtype) / half)
        cos, sin = (tf.cast(f(angle), x.dtype)[..., None, :] for f in (tf.cos, tf.sin))
        shape = tf.shape(x)
        first, second = tf.unstack(tf.reshape(x, [shape[0], shape[1], self.num_heads, 2, half]), axis=3)
        rotated = tf.stack([first * cos - second * sin, first * sin + second * cos], 3)
        return tf.reshape(rotated, shape)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the same shape."""
        return input_shape
