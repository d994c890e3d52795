"""A sequence that runs beside the network's input."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfar.core import scope as scopes
from tfar.core.slicing import take


@keras.saving.register_keras_serializable("tfar")
class AlignedSequence(keras.layers.Layer):
    """Returns the part of a known sequence that belongs to the elements being computed: features of a local condition.

    In parallel these are the first T steps of it; in a step those at t, ..., t + n - 1. Nothing is hidden: a condition
    is known as a whole.

    Input shapes `[B, T or n, F]` (of which only the number of elements is read) and `[B, S, C]`, S >= T; output shape
    `[B, T or n, C]`.

    Example:
        >>> AlignedSequence()(tf.zeros([1, 2, 1]), tf.constant([[[1.0], [2.0], [3.0]]]))[0, :, 0].numpy().tolist()
        [1.0, 2.0]
    """

    def call(self, x: tf.Tensor, sequence: tf.Tensor) -> tf.Tensor:
        """[B, T or n, F], [B, S, C] -> [B, T or n, C]."""
        scope = scopes.current()
        if scope is not None:
            return take(sequence, 1, scope.at, scope.length)
        return sequence[:, : tf.shape(x)[1] if x.shape[1] is None else x.shape[1]]

    def compute_output_shape(
        self, x_shape: tuple[int | None, ...], sequence_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        """[B, T, C]."""
        return (*x_shape[:2], sequence_shape[-1])
