"""Checks of arguments that many constructors share."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np


def check_sizes(**sizes: int | None) -> None:
    """Raises ValueError, naming the size, where one is below 1; None leaves a size open.

    Example:
        >>> check_sizes(filters=3, num_layers=0)
        Traceback (most recent call last):
        ValueError: num_layers must be at least 1, got 0
    """
    for name, value in sizes.items():
        if value is not None and value < 1:
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


def positive_int(name: str, value: Any) -> int:
    """Returns the value as an int; raises ValueError unless it is an integer of at least 1.

    Example:
        >>> positive_int("num", 2.5)
        Traceback (most recent call last):
        ValueError: num must be a positive integer, got 2.5
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}")
    return int(value)
