"""Asserts that the probabilities of all events sum to one, those of a model with auxiliary variables of all pairs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

from tfar.models.autoregressive import AutoregressiveModel
from tfar.testing.inputs import random_condition

MAX_EVENTS = 100_000


def assert_normalized(
    model: AutoregressiveModel, condition: Any = None, tolerance: float = 1e-5, batch_size: int = 4096
) -> float:
    """Asserts that the probabilities of all events sum to 1, by enumerating them.

    Of a model with auxiliary variables, functions of x, the probabilities of all pairs (auxiliary, x) sum to 1, and
    those of the pairs with the auxiliary values that x has, which `log_prob` gives, to at most 1.

    Args:
        model: a model of discrete events, of which there are at most 100,000: levels ** dimensions, times the number
            of auxiliary values where there are such.
        condition: one value of the condition; by default every label in turn, or one random value.
        tolerance: allowed difference from 1.
        batch_size: events that are scored at once.

    Returns:
        The greatest difference from 1.

    Raises:
        AssertionError: naming the condition and the sum.
        ValueError: the space cannot be enumerated.
    """
    levels = model.head.levels
    hidden = [part for part in model.parts if part.view.auxiliary]
    counts = [(part.model.head.levels, part.model.event.num_dimensions) for part in hidden]
    if levels is not None and None not in model.event_shape:
        counts.append((levels, model.event.num_dimensions))
    if len(counts) == len(hidden) or math.prod(number**each for number, each in counts) > MAX_EVENTS:
        raise ValueError(
            f"model must have at most {MAX_EVENTS} events to enumerate, got {model.head!r} over {model.event_shape}"
        )
    radices = np.concatenate([np.full(each, number, np.int64) for number, each in counts])
    places = np.cumprod(radices) // radices
    total = int(np.prod(radices))
    size = min(batch_size, total)
    if condition is not None:
        conditions = [tf.convert_to_tensor(condition)]
    elif model.condition is not None and model.condition.num_labels is not None:
        conditions = [tf.constant(label) for label in range(model.condition.num_labels)]
    else:
        value = random_condition(model, 1)
        conditions = [None if value is None else value[0]]
    worst = 0.0
    for value in conditions:
        probability = own = 0.0
        for begin in range(0, total, size):
            # The last batch is filled up with events that are not counted: one shape, one compiled function.
            index = np.arange(begin, begin + size)
            digits = index[:, None] // places % radices
            *auxiliary, x = np.split(digits.astype(np.int32), np.cumsum([each for _, each in counts])[:-1], 1)
            x = x.reshape(size, *model.event_shape)
            auxiliary = [y.reshape(size, *part.model.event_shape) for part, y in zip(hidden, auxiliary, strict=True)]
            given = {"auxiliary": auxiliary} if hidden else {}
            nats = np.asarray(model.log_prob(x, value, **given), np.float64)
            each = np.exp(nats)[: total - begin]
            probability += each.sum()
            own += each[_are_own(hidden, x, auxiliary)[: total - begin]].sum()
        under = "" if value is None else f" under the condition {value.numpy().tolist()}"
        what = "pairs of an event and auxiliary values" if hidden else "events"
        if not abs(probability - 1) <= tolerance:
            raise AssertionError(
                f"the probabilities of all {total} {what} sum to {probability:.8f}{under}, expected 1 +- {tolerance}"
            )
        if not 0 < own <= 1 + tolerance:
            raise AssertionError(
                f"the probabilities of all events with their own auxiliary values sum to {own:.8f}{under}, expected at "
                f"most 1"
            )
        worst = max(worst, abs(probability - 1))
    return worst


def _are_own(hidden: list[Any], x: np.ndarray, auxiliary: list[np.ndarray]) -> np.ndarray:
    """Whether the auxiliary values are those of x, bool [B]."""
    found = np.ones(len(x), bool)
    for part, y in zip(hidden, auxiliary, strict=True):
        found &= (part.view.take(x).numpy() == y).reshape(len(x), -1).all(1)
    return found
