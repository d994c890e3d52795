"""One optimisation step, on one device or on several.

    loss = mean over the global batch of -log p(x | h) / (dimensions ln 2)        bits/dim
           + what regularizers and `add_loss` add
    g    = gradient of the loss, summed over the replicas, scaled down to a global norm of at most `clip_norm`
    w    = optimizer(w, g)
    avg  = d avg + (1 - d) w, d = min(decay, k / (k + 9)) at the k-th step from 0: the first step copies the weights,
           and the average forgets the start at the pace of the run until `decay` limits it

Everything random in the step (dropout, random masks) is a function of (seed, step, replica).

With `carry_state` the network's incremental state goes on from batch to batch (truncated back-propagation): a batch is
a block of known elements that begins where the last one ended,

    params, carry = stage.read(carry of the last batch, elements, context, training=True)

and the gradient stops at its border.

Of a chain (`tfar.models.Chain`) a step may take one part: always the same, or one that is drawn for the step. The
gradient is that of its weights, and the other weights stay as they are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfar.core.carry import Carry
from tfar.core.sizes import batch_axis

_LAST = "last"  # entry of the carried state: the last elements of the windows


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
        clip_value: largest absolute value of an element of the gradient, before `clip_norm`; None or 0 does not clip.
        carry_state: go on from the state that the last batch left, for models of sequences; batches are then
            contiguous windows and hold "offset", the number of elements since the state was zero.
        part: name of the only part of a chain to train, given the true values of those before it.

    Attributes:
        averages: float32 variables, the averaged trainable weights.
        carried: with `carry_state`, the state after the last step: the network's, and under "last" [B] the last
            elements of the windows; tensors, or one per replica. None before the first step.

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
        clip_value: float | None = None,
        carry_state: bool = False,
        part: str | None = None,
    ):
        replicas = strategy.num_replicas_in_sync
        if batch_size < 1 or batch_size % replicas:
            raise ValueError(f"batch_size must be a positive multiple of the {replicas} replicas, got {batch_size}")
        if not 0 <= ema_decay < 1:
            raise ValueError(f"ema_decay must be at least 0 and below 1, got {ema_decay}")
        if clip_norm is not None and clip_norm < 0:
            raise ValueError(f"clip_norm must be positive, or 0 for no clipping, got {clip_norm}")
        if clip_value is not None and clip_value < 0:
            raise ValueError(f"clip_value must be positive, or 0 for no clipping, got {clip_value}")
        if carry_state and (len(model.event_shape) != 1 or model.longest_event is not None):
            raise ValueError(
                f"carry_state needs a model of sequences of any length, got {type(model).__name__} of "
                f"{model.event_shape}" + (f", at most {model.longest_event}" if model.longest_event else "")
            )
        if jit_compile and replicas > 1:
            raise ValueError(f"jit_compile works with one replica, got {replicas}; set it to False")
        if part is not None:
            model.part_weights(part)  # ValueError where there is none
        self.part = part
        self.model, self.optimizer, self.strategy, self.batch_size = model, optimizer, strategy, batch_size
        self.clip_norm, self.ema_decay, self.seed = clip_norm, ema_decay, seed
        self.clip_value, self.carry_state = clip_value, carry_state
        self.carried: dict[str, Any] | None = None
        self._restored: dict[str, np.ndarray] = {}
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
            batch: {"x": [B, *event_shape], "condition": [B, ...]}, the global batch, and "offset", an int, where the
                state is carried; other keys are not read.
            step: counted from 0.

        Returns:
            Loss in bits/dim and global norm of the gradient before clipping, float32 [].

        Raises:
            ValueError: values that `model.log_prob` would refuse.
        """
        self.model.check_batch(batch["x"], batch.get("condition"))
        seeds = np.random.SeedSequence([self.seed, step]).generate_state(2 * max(1, len(self._random_states)))
        seeds = tf.constant(seeds.reshape(-1, 2).astype(np.int64))
        parts = {key: batch[key] for key in ("x", "condition") if key in batch}
        if not self.carry_state:
            drawn = None if self.part else self.model.part_of_step(np.random.default_rng([self.seed, step]))
            part = (self.part or drawn, drawn is not None)
            loss, norm, _ = self._function(self._distribute(parts), seeds, tf.constant(0), {}, part)
            return loss, norm
        if self.carried is None:
            zeros = self._zero_state(parts)
            start = {
                key: self._restored.get(key, zero).reshape(zero.shape).astype(zero.dtype) for key, zero in zeros.items()
            }
            self.carried = self._distribute(start)
        offset = tf.constant(batch["offset"], tf.int32)
        loss, norm, self.carried = self._function(self._distribute(parts), seeds, offset, self.carried)
        return loss, norm

    def initialize(self, batch: Mapping[str, np.ndarray]) -> None:
        """Data-dependent initialization, by the moments of the global batch, of a model with weight normalization."""
        if not self.model.has_weight_norm:
            return
        parts = self._distribute({key: batch[key] for key in ("x", "condition") if key in batch})
        replica = lambda part: self.model.initialize_from_data(part["x"], part.get("condition"))  # noqa: E731
        tf.function(lambda parts: self.strategy.run(replica, (parts,)), autograph=False)(parts)

    def _distribute(self, batch: Mapping[str, np.ndarray]) -> Any:
        """Distributes the examples of arrays [B, ...] to the replicas."""
        replicas = self.strategy.num_replicas_in_sync
        if replicas == 1:
            return {key: tf.convert_to_tensor(value) for key, value in batch.items()}
        size = self.batch_size // replicas

        def part(context: tf.distribute.experimental.ValueContext) -> dict[str, tf.Tensor]:
            first = context.replica_id_in_sync_group * size
            return {key: tf.convert_to_tensor(value[first : first + size]) for key, value in batch.items()}

        return self.strategy.experimental_distribute_values_from_function(part)

    def _distributed_step(
        self,
        batch: Any,
        seeds: tf.Tensor,
        offset: tf.Tensor,
        carried: Any,
        part: tuple[str | None, bool] = (None, False),
    ) -> tuple[Any, Any, Any]:
        losses, norms, carried = self.strategy.run(self._replica_step, (batch, seeds, offset, carried, part))
        if self.strategy.num_replicas_in_sync == 1:
            return losses, norms, carried
        # Every replica holds the reduced numbers, and the state of its own examples.
        local = self.strategy.experimental_local_results
        return local(losses)[0], local(norms)[0], carried

    def _replica_step(
        self,
        batch: dict[str, tf.Tensor],
        seeds: tf.Tensor,
        offset: tf.Tensor,
        carried: dict[str, tf.Tensor],
        part: tuple[str | None, bool],
    ) -> tuple[tf.Tensor, tf.Tensor, dict[str, tf.Tensor]]:
        context = tf.distribute.get_replica_context()
        name, drawn = part
        weights = self.model.trainable_variables if name is None else self.model.part_weights(name)
        chosen = {} if name is None else {"part": name, "drawn": drawn}
        replicas = context.num_replicas_in_sync
        states = tf.unstack(seeds + tf.cast(context.replica_id_in_sync_group, tf.int64))
        with tf.GradientTape() as tape:
            # Seed generators are variables that count; here they read a function of (seed, step, replica) instead.
            mapping = list(zip(self._random_states, states, strict=False))
            with keras.StatelessScope(state_mapping=mapping, collect_losses=True) as scope:
                if self.carry_state:
                    params, carried = self._advance(batch, offset, carried)
                else:
                    params = self.model(batch, training=True, **chosen)
                loss = self.model.batch_loss(batch, params)
            loss = loss * (tf.cast(tf.shape(batch["x"])[0], loss.dtype) / self.batch_size)
            penalty = self.model.penalty(scope.losses)
            if penalty is not None:
                loss += tf.cast(penalty, loss.dtype) / replicas
        # Counters of the model, like the turns of an ensemble's members, are written back.
        for counter in self._counters:
            counted = scope.get_current_value(counter)
            if counted is not None:
                counter.assign(counted)
        gradients = tape.gradient(loss, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
        if replicas > 1:
            loss = context.all_reduce(tf.distribute.ReduceOp.SUM, loss)
            gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        if self.clip_value:
            gradients = [tf.clip_by_value(gradient, -self.clip_value, self.clip_value) for gradient in gradients]
        norm = tf.linalg.global_norm(gradients)
        scale = tf.constant(1.0)
        if self.clip_norm:
            scale = self.clip_norm / tf.maximum(norm, self.clip_norm)
        # The optimizer sums over the replicas once more, but these gradients are the sum already.
        gradients = [gradient * tf.cast(scale / replicas, gradient.dtype) for gradient in gradients]
        self.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        self._average(self.model.trainable_variables)
        return tf.cast(loss, tf.float32), tf.cast(norm, tf.float32), carried

    def _advance(
        self, batch: dict[str, tf.Tensor], offset: tf.Tensor, carried: dict[str, tf.Tensor]
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Parameters of the head for a window that goes on from `carried`, and what the next window is given."""
        model, (stage,) = self.model, self.model.stages
        # Conditions are dropped as in any other training step.
        context = model.context(model.request(batch.get("condition"), tf.shape(batch["x"])[0]), training=True)
        state = {key: value for key, value in carried.items() if key != _LAST}
        # At offset 0 the text begins anew.
        carry = stage.reset(Carry(state, carried[_LAST], offset), offset == 0, context)
        outputs, carry = stage.read(carry, model.event.to_grid(batch["x"]), context, training=True)
        last = tf.cast(carry.last, model.head.dtype)
        return model.split(outputs), {**carry.state, _LAST: last}

    def _zero_state(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the carry of the whole batch before the first step."""
        model, (stage,) = self.model, self.model.stages
        context = model.context(model.request(batch["condition"][:1] if "condition" in batch else None, 1))
        if self.strategy.num_replicas_in_sync > 1:
            for key, spec in stage.spec(context).state.items():
                if batch_axis(spec) != 0:
                    raise ValueError(
                        f"carry_state on several replicas needs the batch first in {key!r}, got {spec.shape}"
                    )
        carry = stage.begin(self.batch_size, context)
        return {**{key: value.numpy() for key, value in carry.state.items()}, _LAST: carry.last.numpy()}

    def carried_arrays(self) -> dict[str, np.ndarray]:
        """Returns the carried state of the whole batch for checkpoints, [B, ...]; empty where none is carried (yet)."""
        if self.carried is None:
            return dict(self._restored)
        local, arrays = self.strategy.experimental_local_results, {}
        for key, value in self.carried.items():
            array = np.concatenate([part.numpy() for part in local(value)])
            # Files do not know bfloat16.
            arrays[key] = array if array.dtype.kind in "iuf" else array.astype(np.float32)
        return arrays

    def restore_carried(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Goes on from the `carried_arrays` of another process."""
        self.carried, self._restored = None, dict(arrays)

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
