"""Bernoulli head: binary variables from one logit."""

from __future__ import annotations

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from tfar.core.protocols import ArrayLike, Tensor
from tfar.heads.head import Head


@keras.saving.register_keras_serializable("tfar")
class Bernoulli(Head):
    """Binary variables: one logit per position.

        p(x = 1) = sigmoid(logit),      draw: x = 1 iff u >= p(x = 0)

    The same distribution, and the same draws, as `Categorical(2)` with logits (0, logit).

    Data values are 0 and 1 of any dtype; anything else is refused by `check` (8-bit images must be
    binarized first).

    Example:
        >>> head = Bernoulli()
        >>> head.log_prob([[0.0]], [1]).numpy().round(3)
        array([-0.693], dtype=float32)
        >>> head.sample([[0.0], [0.0]], [[0.4], [0.6]]).numpy()
        array([0, 1], dtype=int32)
    """

    levels = 2

    @property
    def params_size(self) -> int:
        """P = 1."""
        return 1

    def encode(self, x: ArrayLike) -> Tensor:
        """0 and 1 as float32."""
        return tf.cast(x, tf.float32)

    def distribution(self, params: ArrayLike) -> tfp.distributions.Distribution:
        """`tfd.Bernoulli`, batch_shape [...], from params [..., 1]."""
        return tfp.distributions.Bernoulli(logits=self._params(params)[..., 0], dtype=self.dtype)

    def logits(self, params: ArrayLike) -> Tensor:
        """0 and the logit, [..., 2]."""
        logit = self._params(params)
        return tf.concat([tf.zeros_like(logit), logit], -1)

    def mode(self, params: ArrayLike) -> Tensor:
        """1 where p(x = 1) > 1/2, else 0: int32 [...]."""
        return tf.cast(self._params(params)[..., 0] > 0.0, self.dtype)

    def check(self, x: ArrayLike, name: str = "x") -> None:
        """Refuses values other than 0 and 1, whatever the dtype.

        Raises:
            ValueError: naming the first such value.
        """
        self._check_levels(x, name, hint='; binarize the data first, e.g. transforms=("binarize",)')

    def _draw(self, params: Tensor, noise: Tensor, temperature: Tensor) -> Tensor:
        return tf.cast(noise[..., 0] >= tf.sigmoid(-params[..., 0] / temperature), self.dtype)

    def _boundary_distance(self, params: Tensor, noise: Tensor, temperature: Tensor) -> Tensor:
        return tf.abs(noise[..., 0] - tf.sigmoid(-params[..., 0] / temperature))
