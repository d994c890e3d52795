"""Ensembles: one set of weights read by several members, each with its own order or its own connections."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfar.core.event import Event
from tfar.core.orderings import Ordering
from tfar.core.protocols import EventShape, Head, Network
from tfar.core.request import NOTHING, Request
from tfar.models.autoregressive import AutoregressiveModel
from tfar.models.trained import weighted_bits


class Ensemble(AutoregressiveModel):
    """p(x | h) = 1/M sum_m p_m(x | h), each p_m autoregressive in its own order, all with the same weights.

    Probabilities of whole events are averaged, never logits: averaged logits of different orders are no distribution.
    So an ensemble has a likelihood but no factors; `score`, `conditionals` and `complete` need `member=`. A training
    step uses one member; they take turns, by a counter that is saved with the weights. A sample's first noise number
    chooses its member, floor(M u), and is replaced by M u - floor(M u): a sample is a function of its own noise alone.

    The network is called with `member=`, the index, a scalar or one per example [B]; a single member (M = 1) is an
    ordinary model, called as any other.

    Args:
        network: see `AutoregressiveModel`.
        event_shape: see `AutoregressiveModel`.
        head: see `AutoregressiveModel`.
        orderings: orders of the members, of the cells of the grid.
        **kwargs: see `AutoregressiveModel`.
    """

    def __init__(
        self, network: Network, event_shape: EventShape, head: Head, orderings: Sequence[Ordering], **kwargs: Any
    ):
        self._orderings = tuple(orderings)
        super().__init__(network, event_shape, head, ordering=orderings[0], **kwargs)
        self.training_steps = None
        if self._counts_steps:
            self.training_steps = self.add_weight(
                shape=(), dtype="int64", initializer="zeros", trainable=False, name="training_steps"
            )

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

    def _example(self, x: tf.Tensor, condition: Any) -> None:
        self(x, condition, member=0)

    @classmethod
    def _ordered(cls, value: Any) -> Any:
        """Ranks, those of one order or of several, as orderings."""
        several = isinstance(value, list) and isinstance(value[0], list)
        return [Ordering(ranks) for ranks in value] if several else super()._ordered(value)

    # Choice of the member.

    def _lacks_member(self, request: Request) -> bool:
        """Returns whether there are several factorisations, and the request says neither which one nor an order."""
        return self.num_members > 1 and request.member is None and request.order is None

    def choose(self, request: Request, num: Any, member: Any = None, ordering: Any = None) -> Request:
        """See `AutoregressiveModel.choose`.

        Args:
            request: with its condition.
            num: number of events.
            member: index of the member, or one per event; `score`, `conditionals` and `complete` need it.
            ordering: None; see `tfar.models.any_order.AnyOrder`.
        """
        if self.num_members == 1 or ordering is not None:
            return super().choose(request, num, member, ordering)
        if member is None or (isinstance(member, tf.Tensor) and not hasattr(member, "numpy")):
            return request._replace(member=member)
        index, several = np.asarray(member), isinstance(num, int)
        shapes = ((), (num,)) if several else ((), np.shape(member)[:1])
        if (
            index.dtype.kind not in "iu"
            or index.shape not in shapes
            or not ((index >= 0) & (index < self.num_members)).all()
        ):
            rows = f", or {num} of them" if several else ""
            raise ValueError(f"member must be an integer from 0 to {self.num_members - 1}{rows}, got {member!r}")
        return request._replace(member=tf.constant(index, tf.int32))

    def context(self, request: Request = NOTHING, training: bool | None = None) -> Request:
        """See `AutoregressiveModel.context`; one member, or one order, is needed."""
        if self._lacks_member(request):
            raise ValueError(
                f"member is needed, 0 to {self.num_members - 1}: an ensemble has one factorisation per member"
            )
        return super().context(request, training)

    def prepare_draws(self, request: Request, first: tf.Tensor) -> tuple[Request, tf.Tensor]:
        """See `AutoregressiveModel.prepare_draws`; where no member is given, the noise chooses it."""
        if not self._lacks_member(request):
            return request, first
        member, first = choose_member(first, self.num_members)
        return request._replace(member=member), first

    def take_turn(self, request: Request, batch: Any) -> Request:
        """Adds to the request of a training step the member whose turn it is."""
        if not self._lacks_member(request):
            return request
        member = tf.cast(self.training_steps.value % self.num_members, tf.int32)
        self.training_steps.assign(self.training_steps.value + 1)
        return request._replace(member=member)

    # The likelihood of the ensemble.

    def log_prob(self, x: Any, condition: Any = None, **choice: Any) -> tf.Tensor:
        """Exact log-likelihood in nats, of the ensemble or of one member.

        Args:
            x: data values, [B, *event_shape].
            condition: values of the condition, [B, ...].
            **choice: `member=`, the index of one; None for log 1/M sum_m p_m(x | h).

        Returns:
            float32 [B].
        """
        x, request = self._checked(x, condition, choice)
        members: Sequence[Any] = [request]
        if self._lacks_member(request):
            members = [request._replace(member=tf.constant(index)) for index in range(self.num_members)]
        factors = [self._compiled.run("score", self.score_graph, x, member) for member in members]
        nats = [tf.reduce_sum(tf.reshape(each, [tf.shape(x)[0], -1]), -1) for each in factors]
        return nats[0] if len(nats) == 1 else tf.reduce_logsumexp(tf.stack(nats), 0) - math.log(len(nats))

    def test_step(self, data: Any) -> Any:
        """`evaluate` reports what `bits_per_dim` does, of the whole ensemble, and what `losses` add."""
        if self.num_members == 1:
            return super().test_step(data)
        x, _, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        values, condition = (x["x"], x.get("condition")) if isinstance(x, dict) else (x, None)
        nats, penalties = [], []
        for member in range(self.num_members):
            nats.append(self.example_nats(values, self(values, condition, member=member, training=False)))
            penalties.append(self.penalty())
        loss = weighted_bits(tf.reduce_logsumexp(tf.stack(nats), 0) - math.log(len(nats)), values, sample_weight)
        given = [penalty for penalty in penalties if penalty is not None]
        if given:
            loss += tf.add_n(given) / self.num_members
        next(m for m in self.metrics if m.name == "loss").update_state(loss, sample_weight=tf.shape(values)[0])
        return self.compute_metrics(data, None, None)


def flat_ordering(ordering: Ordering, event: Event) -> Ordering:
    """Returns an order of the flat cells of an event, from one of its cells or of the pixels of an image.

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
    """Splits the first noise number u of every event into a member, floor(M u), and the rest, M u - floor(M u).

    Both are uniform and independent, so that the noise of an event needs no further number; the rest has log2 M bits
    less than u.

    Args:
        noise: float32 [B, k] in (0, 1), of the first position.
        num_members: M.

    Returns:
        Members, int32 [B], and noise [B, k] in (0, 1).
    """
    scaled = noise[:, 0] * num_members
    member = tf.minimum(tf.floor(scaled), num_members - 1)
    rest = tf.clip_by_value(scaled - member, 2.0**-24, 1.0 - 2.0**-24)
    return tf.cast(member, tf.int32), tf.concat([rest[:, None], noise[:, 1:]], 1)
