"""One optimisation step, on one device or on several.

    loss = mean over the global batch of -log p(x | h) / (dimensions ln 2)        bits/dim
    g    = gradient of the loss, summed over the replicas, scaled down to a global norm of at most `clip_norm`
    w    = optimizer(w, g)
    avg  = d avg + (1 - d) w, d = min(decay, k / (k + 9)) at the k-th step from 0: the first step copies the weights,
           and the average forgets the start at the pace of the run until `decay` limits it

Everything random in the step (dropout, random masks) is a function of (seed, step, replica).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf


class NonFiniteLoss(ArithmeticError):
    """The loss or its gradient is NaN or infinite.

    Attributes:
        step: the step, counted from 1, that produced it.
    """

    def __init__(self, step: int, loss: float, gradient_norm: float):
        super().__init__(f"step {step}: the loss is {loss} bits/dim, its gradient's norm {gradient_norm}")
        self.step = step


class TrainStep:
    """Model, optimizer and averaged weights, and the step that advances them.

    Args:
        model: an `AutoregressiveModel`, built inside of `strategy.scope()`.
        optimizer: a Keras optimizer.
        strategy: a `tf.distribute.Strategy`.
        batch_size: global batch size, a multiple of the number of replicas.
        clip_norm: largest global norm of the gradient; None or 0 does not clip.
        ema_decay: largest decay of the averaged weights per step, 0 <= decay < 1; 0 makes them equal to the weights.
        seed: int >= 0, of everything random in the step.
        jit_compile: compile the step with XLA; with one replica only.

    Attributes:
        averages: float32 variables, the averaged trainable weights.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        strategy: tf.distribute.Strategy,
        batch_size: int,
        clip_norm: float | None = 1.0,
        ema_decay: float = 0.999,
        seed: int = 0,
        jit_compile: bool = False,
    ):
        replicas = strategy.num_replicas_in_sync
        if batch_size < 1 or batch_size % replicas:
            raise ValueError(f"batch_size must be a positive multiple of the {replicas} replicas, got {batch_size}")
        if not 0 <= ema_decay < 1:
            raise ValueError(f"ema_decay must be at least 0 and below 1, got {ema_decay}")
        if clip_norm is not None and clip_norm < 0:
            raise ValueError(f"clip_norm must be positive, or 0 for no clipping, got {clip_norm}")
        if jit_compile and replicas > 1:
            raise ValueError(f"jit_compile works with one replica, got {replicas}; set it to False")
        self.model, self.optimizer, self.strategy, self.batch_size = model, optimizer, strategy, batch_size
        self.clip_norm, self.ema_decay, self.seed = clip_norm, ema_decay, seed
        self._random_states = [
            variable for variable in model.non_trainable_variables if variable.name == "seed_generator_state"
        ]
        seeds = {id(variable) for variable in self._random_states}
        self._counters = [variable for variable in model.non_trainable_variables if id(variable) not in seeds]
        with strategy.scope():
            optimizer.build(model.trainable_variables)
            self.averages = [
                tf.Variable(
                    tf.zeros(weight.shape),
                    trainable=False,
                    aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
                    name=f"average_{index}",
                )
                for index, weight in enumerate(model.trainable_variables)
            ]
        self._function = tf.function(self._distributed_step, autograph=False, jit_compile=jit_compile or None)

    def __call__(self, batch: Mapping[str, np.ndarray], step: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Runs step `step`.

        Args:
            batch: {"x": [B, *event_shape], "condition": [B, ...]}, the global batch; other keys are not read.
            step: counted from 0.

        Returns:
            Loss in bits/dim and global norm of the gradient before clipping, float32 [].
        """
        seeds = np.random.SeedSequence([self.seed, step]).generate_state(2 * max(1, len(self._random_states)))
        seeds = tf.constant(seeds.reshape(-1, 2).astype(np.int64))
        batch = {key: batch[key] for key in ("x", "condition") if key in batch}
        return self._function(self._distribute(batch), seeds)

    def _distribute(self, batch: dict[str, np.ndarray]) -> Any:
        replicas = self.strategy.num_replicas_in_sync
        if replicas == 1:
            return {key: tf.convert_to_tensor(value) for key, value in batch.items()}
        size = self.batch_size // replicas

        def part(context: tf.distribute.distribute_lib.ValueContext) -> dict[str, tf.Tensor]:
            first = context.replica_id_in_sync_group * size
            return {key: tf.convert_to_tensor(value[first : first + size]) for key, value in batch.items()}

        return self.strategy.experimental_distribute_values_from_function(part)

    def _distributed_step(self, batch: Any, seeds: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        losses, norms = self.strategy.run(self._replica_step, (batch, seeds))
        if self.strategy.num_replicas_in_sync == 1:
            return losses, norms
        # Every replica holds the reduced numbers.
        return self.strategy.experimental_local_results(losses)[0], self.strategy.experimental_local_results(norms)[0]

    def _replica_step(self, batch: dict[str, tf.Tensor], seeds: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        context = tf.distribute.get_replica_context()
        weights, replicas = self.model.trainable_variables, context.num_replicas_in_sync
        states = tf.unstack(seeds + tf.cast(context.replica_id_in_sync_group, tf.int64))
        with tf.GradientTape() as tape:
            # Seed generators are variables that count; here they read a function of (seed, step, replica) instead.
            mapping = list(zip(self._random_states, states, strict=False))
            with keras.StatelessScope(state_mapping=mapping) as scope:
                loss = self.model.compute_loss(x=batch, y_pred=self.model(batch, training=True))
            loss = loss * (tf.cast(tf.shape(batch["x"])[0], loss.dtype) / self.batch_size)
        # What the model counts itself, like the turns of an ensemble's members, is written back.
        for counter in self._counters:
            counted = scope.get_current_value(counter)
            if counted is not None:
                counter.assign(counted)
        gradients = tape.gradient(loss, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
        if replicas > 1:
            loss = context.all_reduce(tf.distribute.ReduceOp.SUM, loss)
            gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        norm = tf.linalg.global_norm(gradients)
        scale = tf.constant(1.0)
        if self.clip_norm:
            scale = self.clip_norm / tf.maximum(norm, self.clip_norm)
        # The optimizer sums over the replicas once more; what it is given is already the sum.
        gradients = [gradient * tf.cast(scale / replicas, gradient.dtype) for gradient in gradients]
        self.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        self._average(weights)
        return tf.cast(loss, tf.float32), tf.cast(norm, tf.float32)

    def _average(self, weights: list[keras.Variable]) -> None:
        before = tf.cast(self.optimizer.iterations.value, tf.float32) - 1.0
        decay = tf.minimum(self.ema_decay, before / (before + 9.0))
        for average, weight in zip(self.averages, weights, strict=True):
            average.assign(average + (1.0 - decay) * (tf.cast(weight.value, tf.float32) - average))

    @contextlib.contextmanager
    def averaged_weights(self) -> Iterator[keras.Model]:
        """The model with the averaged weights inside of the block, with its own again afterwards."""
        weights = self.model.trainable_variables
        raw = [tf.identity(weight.value) for weight in weights]
        try:
            for weight, average in zip(weights, self.averages, strict=True):
                weight.assign(tf.cast(average.read_value(), weight.dtype))
            yield self.model
        finally:
            for weight, value in zip(weights, raw, strict=True):
                weight.assign(value)
