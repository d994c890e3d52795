"""Categorical head: discrete variables from one logit per level."""

from __future__ import annotations

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from tfar.core.checks import checked_integer
from tfar.core.protocols import ArrayLike, Tensor
from tfar.heads.head import Head, index_boundary_distance, index_from_uniform


@keras.saving.register_keras_serializable("tfar")
class Categorical(Head):
    """Discrete variables: a softmax over `levels` values per position [1].

        p(x = v) = softmax(logits)_v,       draw: x = #{v < levels-1 : cdf_v <= u}

    Data values are 0 ... levels-1; the network sees them as 2x / (levels-1) - 1, in [-1, 1].

    Args:
        levels: int >= 2, number of values, e.g. 256 for 8-bit images.

    Raises:
        ValueError: if levels is not an integer of at least 2.

    Example:
        >>> head = Categorical(4)
        >>> head.sample([[0.0, 0.0, 0.0, 0.0]], [[0.6]]).numpy()
        array([2], dtype=int32)
        >>> head.encode([0, 3]).numpy()
        array([-1.,  1.], dtype=float32)

    References:
        [1] van den Oord et al. Pixel Recurrent Neural Networks, section 3 ("Pixels as Discrete
            Variables"). 2016.
    """

    levels: int

    def __init__(self, levels: int):
        self.levels = checked_integer("levels", levels, low=2)

    @property
    def params_size(self) -> int:
        """P = levels."""
        return self.levels

    def encode(self, x: ArrayLike) -> Tensor:
        """Levels to [-1, 1]: 2x / (levels-1) - 1."""
        return 2.0 * tf.cast(x, tf.float32) / (self.levels - 1) - 1.0

    def distribution(self, params: ArrayLike) -> tfp.distributions.Distribution:
        """`tfd.Categorical`, batch_shape [...], from params [..., levels]."""
        return tfp.distributions.Categorical(logits=self._params(params), dtype=self.dtype)

    def logits(self, params: ArrayLike) -> Tensor:
        """Returns the parameters themselves, [..., levels]."""
        return self._params(params)

    def mode(self, params: ArrayLike) -> Tensor:
        """Returns the most probable level (the lowest of equals): int32 [...]."""
        return tf.argmax(self._params(params), axis=-1, output_type=self.dtype)

    def check(self, x: ArrayLike, name: str = "x") -> None:
        """Refuses values that are not whole numbers from 0 to levels-1.

        Raises:
            ValueError: naming the first such value.
        """
        self._check_levels(x, name)

    def _draw(self, params: Tensor, noise: Tensor, temperature: Tensor) -> Tensor:
        return index_from_uniform(params / temperature[..., tf.newaxis], noise[..., 0])

    def _boundary_distance(self, params: Tensor, noise: Tensor, temperature: Tensor) -> Tensor:
        return index_boundary_distance(params / temperature[..., tf.newaxis], noise[..., 0])
