"""Checks of arguments that many constructors share."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import tensorflow as tf


def check_sizes(**sizes: int | None) -> None:
    """Raises ValueError, naming the size, where one is no integer or below 1; None leaves a size open.

    Example:
        >>> check_sizes(filters=3, num_layers=0)
        Traceback (most recent call last):
        ValueError: num_layers must be at least 1, got 0
    """
    for name, value in sizes.items():
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise ValueError(f"{name} must be an integer, got {value!r}")
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")


def check_choice(known: Collection[str], **choices: Any) -> None:
    """Raises ValueError, naming the argument, where a choice is unknown.

    Example:
        >>> check_choice(("gru", "lstm"), cell="rnn")
        Traceback (most recent call last):
        ValueError: cell must be one of ('gru', 'lstm'), got 'rnn'
    """
    for name, value in choices.items():
        if value not in known:
            raise ValueError(f"{name} must be one of {known}, got {value!r}")


def checked_integer(name: str, value: Any, low: int, high: int | None = None) -> int:
    """Returns the value as an int; raises ValueError unless it is an integer from `low` to `high`.

    Example:
        >>> checked_integer("num", 2.5, low=1)
        Traceback (most recent call last):
        ValueError: num must be an integer of at least 1, got 2.5
    """
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < low or (high is not None and value > high):
        accepted = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name} must be an integer {accepted}, got {value!r}")
    return int(value)


def as_tensor(value: Any, name: str) -> tf.Tensor:
    """Converts a value to a tensor of numbers; raises ValueError where rows differ in length or hold anything else.

    Example:
        >>> as_tensor([None, 1], "condition")
        Traceback (most recent call last):
        ValueError: condition must be one array of numbers, got list with None or other objects
    """
    kind = type(value).__name__
    if isinstance(value, tf.RaggedTensor | tf.SparseTensor):
        raise ValueError(f"{name} must be one array of numbers, got {kind}")
    try:
        tensor = tf.convert_to_tensor(value)
    except (TypeError, ValueError):
        what = f"{kind} with None or other objects"
        if isinstance(value, list | tuple) and len({np.size(row) for row in value}) > 1:
            what = f"{kind} with rows of several lengths"
        raise ValueError(f"{name} must be one array of numbers, got {what}") from None
    if not (tensor.dtype.is_floating or tensor.dtype.is_integer or tensor.dtype.is_bool):
        raise ValueError(f"{name} must be one array of numbers, got {tensor.dtype.name}")
    return tensor
