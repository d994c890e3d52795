"""A model as a TensorFlow Probability distribution over whole events."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from tfar.core.checks import as_tensor

NUM_SAMPLES = 256  # of estimates


class ModelDistribution(tfp.distributions.Distribution):
    """p(x | h) with the interface of TensorFlow Probability.

    `log_prob` and `sample` are exact. `mean`, `entropy` and `kl_divergence` are Monte Carlo estimates: means over
    `num` samples (256 by default), drawn with `seed`, which all three take.

    Args:
        model: an `AutoregressiveModel` whose event shape is known.
        condition: None, one value (no batch), or values [B, ...] (batch shape [B]).

    Raises:
        ValueError: the length of events is open; the model has a condition and none is given, or the other way round.

    Example:
        >>> import tfar
        >>> model = tfar.models.from_preset("gated_pixel_cnn_tiny", event_shape=(3, 3, 1), head=tfar.heads.Bernoulli())
        >>> p = model.distribution()
        >>> p.event_shape, p.log_prob(p.sample(4, seed=(1, 2))).shape
        (TensorShape([3, 3, 1]), TensorShape([4]))
    """

    def __init__(self, model: Any, condition: Any = None):
        parameters = {"model": model, "condition": condition}
        if None in model.event_shape:
            raise ValueError(f"event_shape must be known for a distribution over events, got {model.event_shape}")
        self._model = model
        self._batch: list[int] = []
        if condition is not None and model.condition is not None:
            condition = as_tensor(condition, "condition")
            if condition.shape.rank == len(model.condition.shape) + 1:
                self._batch = [condition.shape[0]]
        self._given = model.check_condition(condition, self._batch[0] if self._batch else 1)
        if self._given is not None and not self._batch:
            self._given = self._given[0]
        super().__init__(
            dtype=model.head.dtype,
            reparameterization_type=tfp.distributions.NOT_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=False,
            parameters=parameters,
            name=type(model).__name__,
        )

    @classmethod
    def _parameter_properties(cls, dtype: Any, num_classes: Any = None) -> dict[str, Any]:
        return {}

    @property
    def model(self) -> Any:
        """The model."""
        return self._model

    def _batch_shape(self) -> tf.TensorShape:
        return tf.TensorShape(self._batch)

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape(self._model.event_shape)

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.constant(self._model.event_shape, tf.int32)

    # Sums over all events have no closed form: these are means over samples, of which each is drawn and scored exactly.

    def _mean(self, num: int = NUM_SAMPLES, seed: Any = None) -> tf.Tensor:
        """Monte Carlo: the mean of `num` samples, float32 [*batch, *event_shape]."""
        return tf.reduce_mean(tf.cast(self.sample(num, seed=seed), tf.float32), 0)

    def _entropy(self, num: int = NUM_SAMPLES, seed: Any = None) -> tf.Tensor:
        """Monte Carlo: the mean of -log p(x) over `num` samples, nats [*batch]."""
        return -tf.reduce_mean(self.log_prob(self.sample(num, seed=seed)), 0)

    def kl_divergence(self, other: Any, num: int = NUM_SAMPLES, seed: Any = None, name: str = "kl_divergence") -> Any:
        """KL(p || other), Monte Carlo: the mean of log p(x) - log other(x) over `num` samples of p.

        Args:
            other: a distribution over the same events.
            num: number of samples; the error falls as 1 / sqrt(num).
            seed: as of `sample`.
            name: of the operations.

        Returns:
            Nats [*batch]; below 0 where the samples happen to be so.

        Raises:
            ValueError: `other` is over other events.
        """
        if other.event_shape != self.event_shape:
            raise ValueError(f"other must have the event shape {self.event_shape}, got {other.event_shape}")
        with tf.name_scope(name):
            x = self.sample(num, seed=seed)
            return tf.reduce_mean(self.log_prob(x) - other.log_prob(x), 0)

    def _condition(self, num: int) -> Any:
        """Repeats the condition of the batch for `num` examples."""
        if self._given is None or not self._batch:
            return self._given
        return tf.tile(self._given, [num // self._batch[0]] + [1] * (self._given.shape.rank - 1))

    def _log_prob(self, x: Any) -> tf.Tensor:
        event = self._model.event_shape
        lead = tf.broadcast_static_shape(x.shape[: x.shape.rank - len(event)], self.batch_shape)
        x = tf.reshape(tf.broadcast_to(x, [*lead, *event]), [-1, *event])
        return tf.reshape(self._model.log_prob(x, self._condition(int(x.shape[0]))), lead)

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        num = int(n) * (self._batch[0] if self._batch else 1)
        pair = tf.cast(tfp.random.sanitize_seed(seed), tf.int64)
        seeds = tf.stack([tf.repeat(pair[0], num), pair[1] + tf.range(num, dtype=tf.int64)], 1)
        x = self._model.sample(num, self._condition(num), seed=seeds)
        return tf.reshape(x, [int(n), *self._batch, *self._model.event_shape])
