"""Trains and evaluates densities with Keras: `compile`, `fit`, `evaluate` and `predict`.

    loss = mean over the batch of w * -log p(x | h) / (dimensions ln 2) + sum of `losses`        bits/dim

with w the weight of an example, 1 where none is given, and `losses` those of regularizers and of `add_loss`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import keras
import tensorflow as tf

from tfar.core.protocols import Condition
from tfar.core.units import bits_per_dim
from tfar.models.checked_data import CheckedData


class Trained(keras.Model):
    """The methods of `Density` that Keras trains with; data, weights and arguments are checked."""

    condition: Condition | None

    def example_nats(self, x: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Log p(x | h) in nats, [B], of events [B, *event_shape] and what `call` gave for them."""
        raise NotImplementedError

    # The loss.

    def batch_loss(self, x: Any, y_pred: tf.Tensor, sample_weight: Any = None) -> tf.Tensor:
        """Mean bits/dim of a batch, nothing added.

        Args:
            x: events [B, *event_shape], or {"x": events, ...}.
            y_pred: what `call` gave for them.
            sample_weight: [B] or [B, 1], of every example; the mean is over B, as of Keras's losses.
        """
        values = x["x"] if isinstance(x, dict) else x
        return weighted_bits(self.example_nats(values, y_pred), values, sample_weight)

    def penalty(self, added: Iterable[tf.Tensor] | None = None) -> tf.Tensor | None:
        """Sum of `losses`: those of regularizers and those that layers added in the last call; None without any.

        Args:
            added: what layers added, where a `keras.StatelessScope` has collected it.
        """
        losses: list[Any] = list(self.losses) if added is None else list(added)
        if added is not None:
            weights = (weight for weight in self.trainable_variables if weight.regularizer is not None)
            losses += [weight.regularizer(weight) for weight in weights]
        return tf.add_n([tf.cast(tf.reduce_sum(loss), tf.float32) for loss in losses]) if losses else None

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> tf.Tensor:
        """The loss of a batch, for `fit` and `evaluate`; the share of this replica where there are several.

        `tfar.training.TrainStep` adds `batch_loss` and `penalty` itself: a loss of your own overrides `batch_loss`.
        """
        del y, training
        return self._share_of_replica(self.batch_loss(x, y_pred, sample_weight))

    def _share_of_replica(self, loss: tf.Tensor) -> tf.Tensor:
        penalty = self.penalty()
        loss = loss if penalty is None else loss + tf.cast(penalty, loss.dtype)
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        return loss if replicas == 1 else loss / replicas

    # What Keras is given.

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        **options: Any,
    ) -> None:
        """As `keras.Model.compile`; the loss is the model's own.

        Args:
            optimizer: a Keras optimizer or its name.
            loss: None: what is minimized is the mean of bits/dim, and what `add_loss` and regularizers add.
            loss_weights: None.
            metrics: None: there is no target that could be compared; `log_prob`, `score` and `bits_per_dim` measure.
            weighted_metrics: None.
            **options: of `keras.Model.compile`.

        Raises:
            ValueError: one of those that must be None is given.
        """
        if loss or loss_weights:
            name, value = ("loss", loss) if loss else ("loss_weights", loss_weights)
            raise ValueError(f"{name} must be None: the loss of a density is its mean bits/dim, got {value!r}")
        for name, value in (("metrics", metrics), ("weighted_metrics", weighted_metrics)):
            if value:
                raise ValueError(
                    f"{name} must be None: metrics compare predictions with targets, and a density has none, got "
                    f"{value!r}; log_prob, score and bits_per_dim measure"
                )
        super().compile(optimizer, **options)

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool | None = None,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        **options: Any,
    ) -> Any:
        """As `keras.Model.fit`, with values that are checked as `log_prob` checks them.

        Args:
            x: events [N, *event_shape], {"x": events, "condition": ...}, or batches of these: a `tf.data.Dataset`, a
                `keras.utils.PyDataset`, a generator. Batches may be (x, None, sample_weight).
            y: None.
            batch_size: examples of a step, 32 by default.
            epochs: passes over the data.
            verbose: as in Keras.
            callbacks: as in Keras.
            validation_split: as in Keras.
            validation_data: x, or (x, None, sample_weight).
            shuffle: as in Keras, True by default; of data sets it must be False, they are shuffled where they are made.
            class_weight: {label: weight}, 1 for other labels, of a model with `Label` conditions.
            sample_weight: a number for each of N examples.
            **options: of `keras.Model.fit`.

        Returns:
            The `keras.callbacks.History`.

        Raises:
            ValueError: an argument, or a value of the data, is not acceptable.
        """
        checked = CheckedData(self, class_weight)
        validation = CheckedData(self)
        x, sample_weight = checked.take(x, y, sample_weight)
        if validation_data is not None:
            val_x, weights = validation.take(*keras.utils.unpack_x_y_sample_weight(validation_data))
            validation_data = (val_x, weights, weights)
        if shuffle is None:
            shuffle = not isinstance(x, tf.data.Dataset | tf.distribute.DistributedDataset | Iterator)
        options = {"batch_size": batch_size, "epochs": epochs, "verbose": verbose, "callbacks": callbacks, **options}
        options |= {"validation_split": validation_split, "validation_data": validation_data, "shuffle": shuffle}
        if getattr(self, "optimizer", None) is not None and not self.optimizer.built:
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)
        run = super().fit
        # Of arrays without targets Keras drops the weights; the targets are not read.
        return self._run(lambda: run(x, sample_weight, sample_weight=sample_weight, **options), checked, validation)

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        **options: Any,
    ) -> Any:
        """As `keras.Model.evaluate`, with values that are checked: mean bits/dim, and what `losses` add.

        Args:
            x: as in `fit`.
            y: None.
            batch_size: examples of a step, 32 by default.
            verbose: as in Keras.
            sample_weight: as in `fit`.
            **options: of `keras.Model.evaluate`.

        Raises:
            ValueError: an argument, or a value of the data, is not acceptable.
        """
        run, given = super().evaluate, {"batch_size": batch_size, "verbose": verbose, **options}
        if options.get("_use_cached_eval_dataset"):  # `fit` evaluates what it has checked
            return run(x, y, sample_weight=sample_weight, **given)
        checked = CheckedData(self)
        x, sample_weight = checked.take(x, y, sample_weight)
        return self._run(lambda: run(x, sample_weight, sample_weight=sample_weight, **given), checked)

    def predict(self, x: Any, *args: Any, **options: Any) -> Any:
        """As `keras.Model.predict`, with values that are checked: parameters of the head for every position.

        Args:
            x: as in `fit`.
            *args: of `keras.Model.predict`.
            **options: of `keras.Model.predict`.

        Raises:
            ValueError: x is not acceptable.
        """
        checked, run = CheckedData(self, ignore_y=True), super().predict
        x, _ = checked.take(x)
        return self._run(lambda: run(x, *args, **options), checked)

    def train_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, class_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """As `keras.Model.train_on_batch`, of arrays as in `fit`."""
        x, sample_weight = CheckedData(self, class_weight).arrays(x, y, sample_weight)
        return super().train_on_batch(x, None, sample_weight, return_dict=return_dict)

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """As `keras.Model.test_on_batch`, of arrays as in `fit`."""
        x, sample_weight = CheckedData(self).arrays(x, y, sample_weight)
        return super().test_on_batch(x, None, sample_weight, return_dict)

    def predict_on_batch(self, x: Any) -> Any:
        """As `keras.Model.predict_on_batch`, of arrays as in `fit`."""
        return super().predict_on_batch(CheckedData(self).arrays(x)[0])

    def _run(self, run: Callable[[], Any], *checked: CheckedData) -> Any:
        """Calls `run()`; raises the error of a check as it is, and leaves the model usable."""
        try:
            return run()
        except Exception:
            for each in checked:
                if each.error is not None:  # what was traced was not to blame
                    raise each.error from None
            # A function whose first trace has failed is of no use any more.
            self.train_function = self.test_function = self.predict_function = None
            raise


def weighted_bits(nats: tf.Tensor, values: tf.Tensor, sample_weight: Any) -> tf.Tensor:
    """Mean bits/dim of log-likelihoods [B] of events."""
    if sample_weight is not None:
        nats *= tf.reshape(tf.cast(sample_weight, nats.dtype), [-1])
    count = tf.cast(tf.reduce_prod(tf.shape(values)[1:]), nats.dtype)
    return bits_per_dim(tf.reduce_mean(nats) / count, 1)
