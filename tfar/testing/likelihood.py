"""Asserts that the probabilities of all events sum to one."""

from __future__ import annotations

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

    Args:
        model: a model of discrete events, of which there are at most 100,000: levels ** dimensions.
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
    if levels is None or None in model.event_shape or levels**model.event.num_dimensions > MAX_EVENTS:
        raise ValueError(
            f"model must have at most {MAX_EVENTS} events to enumerate, got {model.head!r} over {model.event_shape}"
        )
    dimensions = model.event.num_dimensions
    total = levels**dimensions
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
        probability = 0.0
        for begin in range(0, total, size):
            # The last batch is filled up with events that are not counted: one shape, one compiled function.
            index = np.arange(begin, begin + size)
            digits = index[:, None] // levels ** np.arange(dimensions) % levels
            x = digits.reshape(size, *model.event_shape).astype(np.int32)
            nats = np.asarray(model.log_prob(x, value), np.float64)
            probability += np.exp(nats[: total - begin]).sum()
        if not abs(probability - 1) <= tolerance:
            given = "" if value is None else f" under the condition {value.numpy().tolist()}"
            raise AssertionError(
                f"the probabilities of all {total} events sum to {probability:.8f}{given}, expected 1 +- {tolerance}"
            )
        worst = max(worst, abs(probability - 1))
    return worst
