"""Drops the condition of some examples while training."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfar.core.configured import Configured


@keras.saving.register_keras_serializable("tfar")
class ConditionDropout(Configured, keras.layers.Layer):
    """Replaces the condition of a share of the examples by zeros while training; the others are not rescaled.

    Args:
        rate: the share.
        seed: of the random choice.

    Input: features of a condition, tensors [B, ...] in any nesting; output alike.

    References:
        Ho, Salimans, Classifier-Free Diffusion Guidance, 2022, section 3.2.
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"rate must be at least 0 and below 1, got {rate}")
        self.rate, self.seed = rate, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, *shapes: Any) -> None:
        """Nothing to create."""

    def call(self, features: Any, training: bool | None = None) -> Any:
        """Replaces the features of some examples by zeros."""
        if not training or not self.rate:
            return features
        examples = tf.shape(tf.nest.flatten(features)[0])[0]
        kept = keras.random.uniform([examples], seed=self.seed_generator) >= self.rate

        def keep(x: tf.Tensor) -> tf.Tensor:
            return x * tf.cast(tf.reshape(kept, [examples, *[1] * (x.shape.rank - 1)]), x.dtype)

        return tf.nest.map_structure(keep, features)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """As the input."""
        return input_shape


def check_condition_dropout(rate: float, condition: Any) -> None:
    """Raises ValueError unless the rate is a share, and 0 without a condition."""
    if not 0 <= rate < 1 or (rate and condition is None):
        raise ValueError(
            "condition_dropout must be at least 0 and below 1, and 0 without a condition, got "
            f"{rate} with condition={condition!r}"
        )
