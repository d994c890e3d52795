"""The difference between two models over the same examples, paired."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfar.core.units import bits_per_dim
from tfar.training.metrics import Z95
from tfar.training.sequences import independent_parts


@dataclasses.dataclass(frozen=True)
class Difference:
    """How much worse one score is than another on the same examples.

    Examples differ far more from one another than two models do on one of them. So the interval of the mean difference
    is much narrower than that of either score.

    Attributes:
        bits_per_dim: bits per dimension (of sequences per element) of the first less those of the second: below 0, the
            first is better.
        bits_per_dim_interval: 95% confidence interval of the mean, normal approximation over examples.
        examples: images, sequences, or stretches of one long sequence that were compared.
        better: on how many of them the first is better.
        unit: "dim", "char", "byte" or "sample".
    """

    bits_per_dim: float
    bits_per_dim_interval: tuple[float, float]
    examples: int
    better: int
    unit: str

    def __str__(self) -> str:
        """One line."""
        low, high = self.bits_per_dim_interval
        interval = f" (95% CI {low:+.4f} to {high:+.4f}, paired)" if math.isfinite(low) else ""
        return f"{self.bits_per_dim:+.4f} bits/{self.unit}{interval}, better on {self.better} of {self.examples}"

    def to_json(self) -> dict[str, Any]:
        """Returns a dictionary that json can write."""
        return dataclasses.asdict(self)


def paired_difference(
    first: np.ndarray | Sequence[np.ndarray], second: np.ndarray | Sequence[np.ndarray], info: Any
) -> Difference:
    """Bits of the first less bits of the second, over the same examples in the same order.

    Args:
        first: nats of every example [N] from `log_probs`, or of the elements of every sequence from
            `sequence_log_probs`; those of a sequence count by their elements, as in its score.
        second: likewise.
        info: the split's `tfar.data.DataInfo`.

    Raises:
        ValueError: the two have not the same examples.

    Example:
        >>> import types
        >>> info = types.SimpleNamespace(is_sequence=False, event_shape=(2,), unit="dim")
        >>> print(paired_difference(np.array([-2.0, -9.0, -4.0]), np.array([-1.0, -8.5, -3.0]), info))
        +0.6011 bits/dim (95% CI +0.3655 to +0.8368, paired), better on 0 of 3
    """
    sizes = [[np.size(part) for part in nats] for nats in (first, second)]
    if sizes[0] != sizes[1]:
        raise ValueError(
            f"both must score the same examples, got {len(sizes[0])} with {sum(sizes[0])} numbers and {len(sizes[1])} "
            f"with {sum(sizes[1])}"
        )
    if info.is_sequence:
        parts = independent_parts([one - other for one, other in zip(first, second, strict=True)])
        sums, counts = np.array([part.sum() for part in parts]), np.array([len(part) for part in parts])
    else:
        sums = np.asarray(first) - np.asarray(second)
        counts = np.full(len(sums), math.prod(info.event_shape))
    mean = sums.sum() / counts.sum()
    half = math.inf
    if len(sums) > 1:
        # A ratio of sums, for examples may be of unequal lengths.
        rests = sums - mean * counts
        half = Z95 * math.sqrt(rests @ rests * len(sums) / (len(sums) - 1)) / counts.sum()
    bits = [float(bits_per_dim(value, 1)) for value in (mean, mean + half, mean - half)]
    return Difference(
        bits[0], (bits[1], bits[2]), len(sums), int((sums > 0).sum()), info.unit if info.is_sequence else "dim"
    )
