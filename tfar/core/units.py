"""Units of likelihood. Everything is computed in nats; this is the only place where nats become bits."""

from __future__ import annotations

import math
from typing import TypeVar

Number = TypeVar("Number")


def bits_per_dim(log_prob: Number, num_dimensions: int) -> Number:
    """Negative log-likelihood in bits per dimension: -log_prob / (num_dimensions ln 2).

    Args:
        log_prob: nats per example, a number, array or tensor.
        num_dimensions: values per example (for an image every channel of every pixel).

    Example:
        >>> bits_per_dim(-8 * math.log(2), 4)
        2.0
    """
    return -log_prob / (num_dimensions * math.log(2.0))  # type: ignore[operator]
