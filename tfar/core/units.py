"""Units of likelihood. Everything is computed in nats; this is the only place where nats become bits."""

from __future__ import annotations

import dataclasses
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


@dataclasses.dataclass(frozen=True)
class Unit:
    """The element per which reports give a likelihood: a dimension of an image, a character, a sample of audio.

    Attributes:
        name: "dim", "char", "byte" or "sample".

    Example:
        >>> Unit("char").bits, Unit("char").nats, Unit("char").key("valid"), Unit("char").key("valid", "nats")
        ('bits/char', 'nats/char', 'valid_bits_per_char', 'valid_nats_per_char')
    """

    name: str = "dim"

    def __post_init__(self) -> None:
        """Raises ValueError for an unknown name."""
        if self.name not in _NAMES:
            raise ValueError(f"unit must be one of {tuple(_NAMES)}, got {self.name!r}")

    @property
    def bits(self) -> str:
        """Bits per element, "bits/char"."""
        return f"bits/{self.name}"

    @property
    def nats(self) -> str:
        """Nats per element, "nats/char"."""
        return f"nats/{self.name}"

    @property
    def plural(self) -> str:
        """Several of them, "characters"."""
        return _NAMES[self.name]

    @property
    def is_sequence(self) -> bool:
        """Whether it is the element of a sequence."""
        return self.name != "dim"

    def key(self, prefix: str, measure: str = "bits") -> str:
        """Name of a number in metrics.jsonl, "train_bits_per_char"."""
        return f"{prefix}_{measure}_per_{self.name}"


_NAMES = {"dim": "dimensions", "char": "characters", "byte": "bytes", "sample": "samples"}
DIM = Unit("dim")
