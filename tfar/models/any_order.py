"""Models whose network evaluates any order: one set of weights, trained over one order, over several, or over all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfar.core import orderings
from tfar.core.event import Event
from tfar.core.orderings import Ordering
from tfar.core.protocols import EventShape, Head, Network
from tfar.core.request import Request
from tfar.models.ensemble import Ensemble, flat_ordering

RANDOM = "random"

# Orders that follow from the shape of the event; "snakes" stands for eight.
NAMED = ("raster", "reversed_raster", "column_major", "snake", "zigzag", "hilbert", "snakes")


class AnyOrder(Ensemble):
    """p(x | h) under any order of the cells, with the same weights.

    The `ordering` of the constructor says which orders are trained, and under which one the model is evaluated:

        one order     log_prob, score, sample, ... are those of this order.
        several       an ensemble: every training example gets one of them, drawn anew. `log_prob` averages the
                      probabilities (never logits), `score` and `complete` need `member=`; see `Ensemble`.
        "random"      order-agnostic: every training example gets a random permutation of the cells. `log_prob`,
                      `score` and `sample` use raster order; `complete` keeps any values, in any places, and is exact:
                      every example is drawn in the order that has its observed cells first.

    Whatever was trained, every public method takes `ordering=` and then evaluates that order: any order is a
    normalised density, one that was not trained a worse one. `log_prob` takes several and averages probabilities.

    The network is called with `order=`, int32 [B, N], or `member=`; with neither it evaluates `self.ordering`.

    Args:
        network: see `AutoregressiveModel`.
        event_shape: see `AutoregressiveModel`.
        head: see `AutoregressiveModel`.
        ordering: an order, a name, or a list of these, see `trained_orderings`.
        order_annealing: (begin, end) in training steps: an example gets a trained order with a probability of 1
            up to step `begin` that falls linearly to 0 at step `end`, otherwise the first order (raster for
            "random"). None keeps the probability at 1. Evaluation does not depend on it.
        **kwargs: see `AutoregressiveModel`.

    Raises:
        ValueError: an ordering or `order_annealing` does not fit.

    References:
        Uria, Murray, Larochelle, A Deep and Tractable Density Estimator, 2014 (order-agnostic training).
        Yu et al., Randomized Autoregressive Visual Generation, 2024 (annealing).
    """

    def __init__(
        self,
        network: Network,
        event_shape: EventShape,
        head: Head,
        ordering: Any,
        order_annealing: Sequence[int] | None = None,
        **kwargs: Any,
    ):
        if order_annealing is not None:
            order_annealing = tuple(order_annealing)
            if len(order_annealing) != 2 or not 0 <= order_annealing[0] < order_annealing[1]:
                raise ValueError(f"order_annealing must be (begin, end), 0 <= begin < end, got {order_annealing}")
        trained = trained_orderings(ordering, Event(event_shape, head, "sequence"))
        self.order_agnostic, self.order_annealing = ordering == RANDOM, order_annealing
        super().__init__(network, event_shape, head, trained, layout="sequence", **kwargs)
        self._ordering = RANDOM if self.order_agnostic else self.orderings  # what is saved: orders without their names
        # Its variable is a function of (seed, step, replica) in `tfar.training`.
        takes_turns = self.order_agnostic or self.num_members > 1
        self.seed_generator = keras.random.SeedGenerator() if takes_turns else None

    @property
    def _counts_steps(self) -> bool:
        return self.order_annealing is not None

    # Choice of the order.

    def choose(self, request: Request, num: Any, member: Any = None, ordering: Any = None) -> Request:
        """See `AutoregressiveModel.choose`.

        Args:
            request: with its condition.
            num: number of events.
            member: index of one of the trained orders, or one per event; where there are several, `score`,
                `conditionals` and `complete` need it or `ordering`.
            ordering: an order to evaluate instead: an `Ordering` or a name; or int [num, N], for every event the cell
                of every rank.
        """
        if ordering is None:
            return super().choose(request, num, member)
        if member is not None:
            raise ValueError(f"ordering and member exclude each other, got member={member!r}")
        if isinstance(ordering, np.ndarray | tf.Tensor):
            order = tf.cast(ordering, tf.int32)
            if order.shape.rank != 2 or order.shape[1] != self.event.num_cells:
                raise ValueError(
                    f"ordering must be an Ordering, or [num, {self.event.num_cells}] cells, got {order.shape}"
                )
            return request._replace(order=order)
        found = trained_orderings(ordering, self.event)
        if ordering == RANDOM or len(found) != 1:
            raise ValueError(f"ordering must be one order here, got {ordering!r}")
        return request._replace(order=tf.tile(tf.constant(found[0].permutation)[None], [num, 1]))

    def take_turn(self, request: Request, batch: Any) -> Request:
        """See `Ensemble.take_turn`: an order for every example."""
        takes_turns = self.order_agnostic or self.num_members > 1
        if not takes_turns or request.choice:
            return request
        tables = np.stack([each.permutation for each in self.orderings])
        if self.order_agnostic:
            order = tf.argsort(self._uniform([batch, self.event.num_cells]), -1)
        else:
            order = tf.gather(tables, tf.cast(self._uniform([batch]) * len(tables), tf.int32))
        if self.order_annealing is not None:
            begin, end = self.order_annealing
            step = tf.cast(self.training_steps.value, tf.float32)
            self.training_steps.assign(self.training_steps.value + 1)
            probability = tf.clip_by_value((end - step) / (end - begin), 0.0, 1.0)
            order = tf.where(self._uniform([batch, 1]) < probability, order, tables[0])
        return request._replace(order=order)

    def _uniform(self, shape: Any) -> tf.Tensor:
        return tf.random.stateless_uniform(shape, tf.cast(self.seed_generator.next(), tf.int32))

    # Scores and completions under several orders.

    def log_prob(self, x: Any, condition: Any = None, **choice: Any) -> tf.Tensor:
        """Exact log-likelihood in nats, under the model's order (the average over all of them where it has several).

        Args:
            x: data values, [B, *event_shape].
            condition: values of the condition, [B, ...].
            **choice: `member=`, index of one of the trained orders; or `ordering=`, an order to score under, or
                several: log of the mean of their probabilities.

        Returns:
            float32 [B].
        """
        ordering = choice.get("ordering")
        if isinstance(ordering, Sequence) and not isinstance(ordering, str):
            nats = [self.log_prob(x, condition, **{**choice, "ordering": each}) for each in ordering]
            return tf.reduce_logsumexp(tf.stack(nats), 0) - math.log(len(nats))
        return super().log_prob(x, condition, **choice)

    def complete(self, x: Any, observed: Any, condition: Any = None, *args: Any, **kwargs: Any) -> tf.Tensor:
        """See `AutoregressiveModel.complete`.

        Args:
            x: data values.
            observed: flags of the known values. An order-agnostic model takes any, unless an order is chosen; other
                models take a prefix of the order. Of a cell with several values all are known or none (or, in one
                cell, the first).
            condition: values of the condition.
            *args: see `AutoregressiveModel.complete`.
            **kwargs: see `AutoregressiveModel.complete`; `member=` or `ordering=` chooses the order.
        """
        shape, flags = np.shape(x), np.asarray(observed)
        chosen = kwargs.get("ordering") is not None or kwargs.get("member") is not None
        if self.order_agnostic and not chosen and flags.dtype == bool and flags.shape in (shape, shape[1:]):
            kwargs["ordering"] = self._observed_first(np.broadcast_to(flags, shape))
        return super().complete(x, observed, condition, *args, **kwargs)

    def _observed_first(self, observed: np.ndarray) -> np.ndarray:
        """Returns orders [B, N]: cells observed whole, then in part, then the rest, each in the model's order."""
        cells = observed.reshape(len(observed), self.event.num_cells, -1)[:, self.ordering.permutation]
        late = 2 - cells.all(2).astype(int) - cells.any(2)
        return self.ordering.permutation[np.argsort(late, 1, kind="stable")]


def trained_orderings(ordering: Any, event: Event) -> list[Ordering]:
    """Returns the trained orders of the flat cells of an event.

    Args:
        ordering: None or "random" (raster stands for it), an `Ordering` of the cells or of the pixels of an image, a
            name (see `NAMED`; "snakes" stands for eight orders), or a list of these.
        event: the event whose cells are ordered.

    Raises:
        ValueError: an ordering does not fit the event, or a name is not known.

    Example:
        >>> import tfar
        >>> event = Event((2, 2, 1), tfar.heads.Bernoulli(), "sequence")
        >>> trained_orderings(["snake", tfar.orderings.raster(2, 2)], event)
        [Ordering([0, 1, 3, 2]), Ordering([0, 1, 2, 3])]
    """
    if None in event.grid:
        raise ValueError(f"event_shape must be known for a model of any order, got {event.event_shape}")
    if ordering is None or ordering == RANDOM:
        return [orderings.raster(event.num_cells)]
    entries = [ordering] if isinstance(ordering, str | Ordering) else list(ordering)
    if not entries:
        raise ValueError("ordering must be one order or more, got none")
    shape = event.event_shape[:2] if len(event.event_shape) == 3 else event.event_shape
    found: list[Ordering] = []
    for entry in entries:
        if isinstance(entry, str):
            names = NAMED if len(shape) == 2 else NAMED[:2]
            if entry not in names:
                raise ValueError(f'ordering must be "random", an Ordering or one of {names}, got {entry!r}')
            entry = getattr(orderings, entry)(*shape)
        found += [entry] if isinstance(entry, Ordering) else entry
    return [flat_ordering(each, event) for each in found]
