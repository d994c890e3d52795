"""The sum of the skip outputs of many layers."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfar.core.checks import check_sizes
from tfar.layers.weighted import WeightedLayer


@keras.saving.register_keras_serializable("tfar")
class SkipSum(WeightedLayer):
    """scale sum_l (W_l z_l + b_l), every z_l behind a 1 x 1 convolution of its own, as one product of all of them.

    One product of [z_1, ..., z_L] is several times faster than L small ones and L - 1 sums of maps.

    Args:
        filters: features of the sum.
        num_layers: L, equal parts of the input's features.
        scale: factor of the sum.
        use_bias: whether there are the b_l.

    Input shape `[B, ..., L p]`, output shape `[B, ..., filters]`.

    Raises:
        ValueError: a number is not positive, or L does not divide the features.

    Example:
        >>> SkipSum(8, num_layers=3)(tf.zeros([1, 5, 12])).shape
        TensorShape([1, 5, 8])
    """

    def __init__(self, filters: int, num_layers: int, scale: float = 1.0, use_bias: bool = True, **kwargs: Any):
        super().__init__(**kwargs)
        check_sizes(filters=filters, num_layers=num_layers)
        self.filters, self.num_layers, self.scale, self.use_bias = filters, num_layers, scale, use_bias

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the kernel [L p, filters], layer after layer, and the biases [L, filters]."""
        if input_shape[-1] % self.num_layers:
            raise ValueError(f"num_layers={self.num_layers} must divide the features, got {input_shape[-1]}")
        self.kernel = self.add_weight(shape=(input_shape[-1], self.filters), name="kernel")
        shape = (self.num_layers, self.filters)
        self.bias = self.add_weight(shape=shape, initializer="zeros", name="bias") if self.use_bias else None

    def call(self, z: tf.Tensor) -> tf.Tensor:
        """[B, ..., L p] -> [B, ..., filters]."""
        kernel = tf.cast(self.kernel, z.dtype)
        y = tf.tensordot(z, kernel if self.scale == 1 else kernel * self.scale, 1)
        return y if self.bias is None else y + tf.cast(tf.reduce_sum(self.bias, 0) * self.scale, y.dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """[B, ..., filters]."""
        return (*input_shape[:-1], self.filters)
