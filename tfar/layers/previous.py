"""Delays a step by one position in the order of drawing."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfar.core import scope as scopes
from tfar.core.sizes import batch_size


@keras.saving.register_keras_serializable("tfar")
class Previous(keras.layers.Layer):
    """The identity in parallel; in a step, the value of the position that was computed last.

    Attention over strictly earlier positions takes keys and values of a position that is complete. In parallel they
    are aligned with their own position and a strict mask hides what is not yet known; a step knows the current
    position only in part, so it takes what `Previous` kept of the last one (across the end of a row). The input of
    the network needs no delay: in a step it is the previous element already.

    Input and output shape `[B, ..., C]`.

    Example:
        >>> bool(tf.reduce_all(Previous()(tf.ones([1, 3, 2])) == 1))
        True
    """

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """[B, ..., C] -> the same shape."""
        scope = scopes.current()
        if scope is None:
            return x
        state = scope.state_of(self)
        if scope.phase == "row":
            state.keep_unchanged()
            return x
        flat = tf.reshape(x, [batch_size(x), -1, x.shape[-1]])
        last = state.read("last", [batch_size(x), 1, x.shape[-1]], x.dtype)
        state.write("last", flat[:, -1:])
        return tf.reshape(tf.concat([last, flat[:, :-1]], 1), tf.shape(x))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the same shape."""
        return input_shape
