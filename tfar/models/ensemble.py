"""Ensembles: one set of weights read by several members, each with its own order or its own connections."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfar.core.event import Event, Stage
from tfar.core.orderings import Ordering
from tfar.core.row_orders import inverse
from tfar.models.autoregressive import AutoregressiveModel


@dataclasses.dataclass(frozen=True)
class EnsembleStage(Stage):
    """What samplers know of an ensemble: every row is drawn in the order of its own member.

    Attributes:
        orderings: of the members.
    """

    orderings: Sequence[Ordering] = ()

    def order(self, context: Any = None) -> tuple[Any, Any] | None:
        """The order of drawing [B, N] of the rows' members or of `context["order"]`, see `Stage.order`."""
        if isinstance(context, dict) and "order" in context:
            return context["order"], inverse(context["order"])
        if all(ordering == self.orderings[0] for ordering in self.orderings):
            return super().order(context)
        tables = [ordering.permutation for ordering in self.orderings], [o.ranks.reshape(-1) for o in self.orderings]
        permutations, ranks = (tf.gather(np.stack(table), context["member"]) for table in tables)
        return permutations, ranks


class Ensemble(AutoregressiveModel):
    """p(x | h) = 1/M sum_m p_m(x | h), each p_m autoregressive in its own order, all with the same weights.

    Probabilities of whole events are averaged, never logits: averaged logits of different orders are no distribution.
    So an ensemble has a likelihood but no factors, and what is about factors needs `member=`. A training step uses
    one member; they take turns, by a counter that is saved with the weights. A sample's first noise number chooses
    its member, floor(M u), and goes on as M u - floor(M u), so that a sample is a function of its own noise alone.

    The network is called with the context {"member": index, "condition": features}, the index a scalar or one per
    row [B]; a single member (M = 1) is an ordinary model, called as any other.

    Args:
        network: see `AutoregressiveModel`.
        event_shape: see `AutoregressiveModel`.
        head: see `AutoregressiveModel`.
        orderings: orders of the members, of the cells of the grid.
        **kwargs: see `AutoregressiveModel`.
    """

    def __init__(self, network: Any, event_shape: Any, head: Any, orderings: Sequence[Ordering], **kwargs: Any):
        self._orderings = tuple(orderings)
        super().__init__(network, event_shape, head, ordering=orderings[0], **kwargs)

    def _example(self) -> None:
        self.training_steps = None
        if self._counts_steps:
            self.training_steps = self.add_weight(
                shape=(), dtype="int64", initializer="zeros", trainable=False, name="training_steps"
            )
        super()._example()

    @property
    def num_members(self) -> int:
        """Number of members M."""
        return len(self._orderings)

    @property
    def orderings(self) -> tuple[Ordering, ...]:
        """The order of every member."""
        return self._orderings

    @property
    def _counts_steps(self) -> bool:
        """Whether training depends on the number of steps taken: members take turns."""
        return self.num_members > 1

    @property
    def _takes_turns(self) -> bool:
        """Whether a training step chooses what it trains."""
        return self.num_members > 1

    def _turn(self, batch: Any) -> dict[str, tf.Tensor]:
        """What a training step of `batch` rows trains: the member whose turn it is."""
        del batch
        turn = {"member": tf.cast(self.training_steps.value % self.num_members, tf.int32)}
        self.training_steps.assign(self.training_steps.value + 1)
        return turn

    @property
    def stage(self) -> Stage:
        """See `AutoregressiveModel.stage`."""
        if self.num_members == 1:
            return super().stage
        return EnsembleStage(self.network, self.event, self.ordering, self._encode_cells, self._orderings)

    # A member travels beside the condition: {"member": ..., "condition": ...}.

    def _given(self, condition: Any, member: Any, num: int | None = None) -> Any:
        """The condition with the member, for one row after the other where `num` is given."""
        if self.num_members == 1 or isinstance(condition, dict):
            if member not in (None, 0):
                raise ValueError(f"member must be 0 or None for a model with one member, got {member!r}")
            return condition
        if member is None:
            raise ValueError(
                f"member is needed, 0 to {self.num_members - 1}: an ensemble has one factorisation per member"
            )
        index = np.asarray(member)
        if index.dtype.kind not in "iu" or index.shape not in ((), (num,)) or not self._in_range(index):
            rows = "" if num is None else f", or {num} of them"
            raise ValueError(f"member must be an integer from 0 to {self.num_members - 1}{rows}, got {member!r}")
        index = tf.constant(index if num is None else np.broadcast_to(index, (num,)), tf.int32)
        return _with_condition({"member": index}, condition)

    def _in_range(self, index: np.ndarray) -> bool:
        return bool(((index >= 0) & (index < self.num_members)).all())

    def _check_condition(self, condition: Any, num: Any, event_shape: Any = None) -> Any:
        if not isinstance(condition, dict):
            return super()._check_condition(condition, num, event_shape)
        own = super()._check_condition(condition.get("condition"), num, event_shape)
        return _with_condition(condition, own)

    def _example_condition(self) -> Any:
        return self._given(super()._example_condition(), 0)

    def context(self, condition: Any = None) -> Any:
        """See `AutoregressiveModel.context`; {"member": ..., "condition": ...} where there are several members."""
        if isinstance(condition, dict):
            return _with_condition(condition, super().context(condition.get("condition")))
        if self.num_members == 1:
            return super().context(condition)
        return self.context(self._given(condition, None))

    def prepare_draws(self, condition: Any, noise: tf.Tensor) -> tuple[Any, tf.Tensor]:
        """See `AutoregressiveModel.prepare_draws`; where no member is given, the noise chooses it."""
        if self.num_members > 1 and not isinstance(condition, dict):
            member, noise = choose_member(noise, self.num_members)
            condition = _with_condition({"member": member}, condition)
        return super().prepare_draws(condition, noise)

    # The public methods, with `member=` where they are about factors.

    def call(self, x: Any, condition: Any = None, member: Any = None, training: bool | None = None) -> tf.Tensor:
        """Parameters of the head for every position, for one member; while training the members take turns.

        Args:
            x: data values [B, *event_shape], or a dictionary {"x": ..., "condition": ...}.
            condition: values of the condition, [B, ...].
            member: index of the member.
            training: whether to use the member whose turn it is, if none is given.

        Returns:
            [B, *positions, P].
        """
        if isinstance(x, dict):
            x, condition = x["x"], x.get("condition", condition)
        if training and member is None and self._takes_turns and not isinstance(condition, dict):
            condition = _with_condition(self._turn(tf.shape(x)[0]), condition)
        return super().call(x, self._given(condition, member))

    def test_step(self, data: Any) -> Any:
        """`evaluate` reports what `bits_per_dim` does, of the whole ensemble."""
        if self.num_members == 1:
            return super().test_step(data)
        data = data[0] if isinstance(data, tuple) else data
        x, condition = (data["x"], data.get("condition")) if isinstance(data, dict) else (data, None)
        loss = tf.reduce_mean(self.bits_per_dim(x, condition))
        self._loss_tracker.update_state(loss, sample_weight=tf.shape(x)[0])
        return self.compute_metrics(data, None, None)

    def log_prob(self, x: Any, condition: Any = None, *, member: int | None = None) -> tf.Tensor:
        """Exact log-likelihood in nats, of the ensemble or of one member.

        Args:
            x: data values, [B, *event_shape].
            condition: values of the condition, [B, ...].
            member: index of a member; None for log 1/M sum_m p_m(x | h).

        Returns:
            float32 [B].
        """
        if self.num_members == 1 or member is not None or isinstance(condition, dict):
            return super().log_prob(x, self._given(condition, member))
        x, given = self._check(x, self._given(condition, 0))
        nats = []
        for index in range(self.num_members):
            factors = self._compiled.run("score", self._score, x, {**given, "member": tf.constant(index)})
            nats.append(tf.reduce_sum(tf.reshape(factors, [tf.shape(x)[0], -1]), -1))
        return tf.reduce_logsumexp(tf.stack(nats), 0) - math.log(self.num_members)

    def score(self, x: Any, condition: Any = None, *, member: int | None = None) -> tf.Tensor:
        """See `AutoregressiveModel.score`; an ensemble needs `member`, as it has one factorisation per member."""
        return super().score(x, self._given(condition, member))

    def conditionals(self, x: Any, condition: Any = None, *, member: int | None = None) -> Any:
        """See `AutoregressiveModel.conditionals`; an ensemble needs `member`."""
        return super().conditionals(x, self._given(condition, member))

    def sample(self, num: int, condition: Any = None, *args: Any, member: Any = None, **kwargs: Any) -> tf.Tensor:
        """See `AutoregressiveModel.sample`.

        Args:
            num: number of events.
            condition: values of the condition.
            *args: see `AutoregressiveModel.sample`.
            member: index of the member to draw from, or [num] of them; by default every row's noise chooses its own.
            **kwargs: see `AutoregressiveModel.sample`.
        """
        given = condition if member is None else self._given(condition, member, num)
        return super().sample(num, given, *args, **kwargs)

    def complete(
        self, x: Any, observed: Any, condition: Any = None, *args: Any, member: Any = None, **kwargs: Any
    ) -> tf.Tensor:
        """See `AutoregressiveModel.complete`.

        Args:
            x: data values.
            observed: what is known of them; a prefix of the member's order.
            condition: values of the condition.
            *args: see `AutoregressiveModel.complete`.
            member: index of the member, or one per row; needed where there are several.
            **kwargs: see `AutoregressiveModel.complete`.
        """
        return super().complete(x, observed, self._given(condition, member, len(x)), *args, **kwargs)


def _with_condition(chosen: dict[str, Any], condition: Any) -> dict[str, Any]:
    """What is chosen of an ensemble beside another condition."""
    chosen = {key: value for key, value in chosen.items() if key != "condition"}
    return chosen if condition is None else {**chosen, "condition": condition}


def flat_ordering(ordering: Ordering, event: Event) -> Ordering:
    """An order of the flat cells of an event, from one of its cells or of the pixels of an image.

    In an order of pixels whose channels are cells of their own, the channels of a pixel follow each other.

    Raises:
        ValueError: the ordering has another number of cells.
    """
    ranks, size = ordering.ranks.reshape(-1), event.num_cells
    channels = size // ranks.size
    if channels * ranks.size != size or channels not in (1, event.event_shape[-1]):
        raise ValueError(f"ordering must have {size} cells (or {event.event_shape[:-1]}), got shape {ordering.shape}")
    return Ordering((ranks[:, None] * channels + np.arange(channels)).reshape(-1))


def choose_member(noise: tf.Tensor, num_members: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Splits the first noise number u of every row into a member, floor(M u), and the rest, M u - floor(M u).

    Both are uniform and independent, so that the noise of an event needs no further number; the rest has log2 M bits
    less than u.

    Args:
        noise: float32 [B, positions, k] in (0, 1).
        num_members: M.

    Returns:
        Members, int32 [B], and noise [B, positions, k] in (0, 1).
    """
    scaled = noise[:, 0, 0] * num_members
    member = tf.minimum(tf.floor(scaled), num_members - 1)
    rest = tf.clip_by_value(scaled - member, 2.0**-24, 1.0 - 2.0**-24)
    first = tf.concat([rest[:, None], noise[:, 0, 1:]], 1)
    return tf.cast(member, tf.int32), tf.concat([first[:, None], noise[:, 1:]], 1)
