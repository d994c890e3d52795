"""Scores over a whole data set: every example once, with a confidence interval."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tfar.core.units import Unit, bits_per_dim

Z95 = 1.959964  # two-sided 95% quantile of the normal distribution


def log_probs(
    model: Any,
    arrays: Mapping[str, np.ndarray],
    batch_size: int = 256,
    progress: Callable[[int, int], None] | None = None,
    *,
    in_parts: bool = False,
) -> np.ndarray:
    """Log p(x | h) in nats of every example.

    Args:
        model: an `AutoregressiveModel`.
        arrays: {"x": [N, *event_shape], "condition": [N, ...]}; other keys are not read.
        batch_size: examples scored together. The last batch is filled up with copies of its last example, so that one
            shape is compiled, and the copies are dropped again: all N examples count, each once.
        progress: called with (examples done, N).
        in_parts: whether to score the parts of a `Chain` one by one.

    Returns:
        float64 [N]; [N, parts] with `in_parts`.

    Example:
        >>> import tfar
        >>> model = tfar.models.from_preset("gated_pixel_cnn_tiny", event_shape=(3, 3, 1), head=tfar.heads.Bernoulli())
        >>> log_probs(model, {"x": np.zeros([5, 3, 3, 1], np.uint8)}, batch_size=2).shape
        (5,)
    """
    num = len(arrays["x"])
    batch_size = min(batch_size, num)
    function = model.part_log_probs if in_parts else model.log_prob
    found = []
    for start in range(0, num, batch_size):
        rows = np.minimum(np.arange(start, start + batch_size), num - 1)
        condition = arrays["condition"][rows] if "condition" in arrays else None
        found.append(function(arrays["x"][rows], condition).numpy().astype(np.float64))
        if progress is not None:
            progress(min(start + batch_size, num), num)
    return np.concatenate(found)[:num]


@dataclasses.dataclass(frozen=True)
class Score:
    """A reported likelihood, with all that it needs to be read.

    Attributes:
        data: name of the data set.
        split: "train", "valid" or "test".
        transforms: transforms of the data (binarization and so on).
        fingerprint: of the split's arrays before the transforms.
        bits_per_dim: mean negative log-likelihood, bits per dimension; of sequences per element, their `unit`.
        bits_per_dim_interval: 95% confidence interval of the mean, normal approximation over examples.
        nats: mean negative log-likelihood, nats per example; of sequences per element.
        nats_interval: likewise.
        examples: number of examples (of sequences: elements) scored: all of the split.
        dimensions: values per example.
        weights: "averaged" or "raw".
        unit: the kind of an example, "image" or "example"; of sequences "char", "byte" or "sample".
        ensemble: "single model", or what was averaged.
        sequences: number of sequences; None for other data.
        how: how much of the past the elements of sequences were given.
        parts: bits per dimension of x of every part of a `Chain`, which sum to `bits_per_dim`; None of other models.
    """

    data: str
    split: str
    transforms: tuple[str, ...]
    fingerprint: str
    bits_per_dim: float
    bits_per_dim_interval: tuple[float, float]
    nats: float
    nats_interval: tuple[float, float]
    examples: int
    dimensions: int
    weights: str
    unit: str = "example"
    ensemble: str = "single model"
    sequences: int | None = None
    how: str = ""
    parts: dict[str, float] | None = None

    def __str__(self) -> str:
        """One line."""
        bits, nats = (_in_words(interval) for interval in (self.bits_per_dim_interval, self.nats_interval))
        if self.sequences is not None:
            unit, plural = Unit(self.unit), "s" if self.sequences != 1 else ""
            parts = [
                f"{self.data} {self.split}: {self.bits_per_dim:.3f} {unit.bits}{bits}",
                f"{self.nats:.3f} {unit.nats}{nats}",
                f"{self.examples} {unit.plural} in {self.sequences} sequence{plural}",
                self.how,
                f"{self.weights} weights",
                self.ensemble,
            ]
            return ", ".join(part for part in parts if part)
        parts = [
            f"{self.data} {self.split}: {self.bits_per_dim:.3f} bits/dim{bits}",
            f"{self.nats:.2f} nats per {self.unit}{_in_words(self.nats_interval, 2)}",
            f"{self.examples} {self.unit}s",
            f"{self.weights} weights",
            self.ensemble,
            *self.transforms,
        ]
        if self.parts is not None:
            parts.append("bits/dim of parts: " + " + ".join(f"{name} {bits:.3f}" for name, bits in self.parts.items()))
        return ", ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """Returns a dictionary that json can write; of sequences also with keys like "nats_per_char"."""
        record = dataclasses.asdict(self)
        if self.parts is None:
            del record["parts"]
        if self.sequences is None:
            return record
        return {**record, f"bits_per_{self.unit}": self.bits_per_dim, f"nats_per_{self.unit}": self.nats}


def _in_words(interval: tuple[float, float], digits: int = 3) -> str:
    """Returns a confidence interval behind its number; nothing where there were too few examples for one."""
    low, high = interval
    return f" (95% CI {low:.{digits}f} to {high:.{digits}f})" if math.isfinite(low) else ""


def score(
    nats: np.ndarray, info: Any, weights: str, members: int = 1, part_names: Sequence[str] | None = None
) -> Score:
    """Computes the score from log-probabilities.

    Args:
        nats: log p of every example, [N], from `log_probs`; of every part of it, [N, parts], with `part_names`.
        info: the split's `tfar.data.DataInfo`.
        weights: "averaged" or "raw".
        members: models whose probabilities of an example were averaged.
        part_names: names of the parts of a `Chain`.

    Raises:
        ValueError: not every example of the split was scored.
    """
    if len(nats) != info.num_examples:
        raise ValueError(f"nats must have one number for each of {info.num_examples} examples, got {len(nats)}")
    dimensions, parts = math.prod(info.event_shape), None
    if part_names is not None:
        means = nats.mean(0)
        parts = {name: bits_per_dim(float(mean), dimensions) for name, mean in zip(part_names, means, strict=True)}
        nats = nats.sum(1)
    mean = float(np.mean(nats))
    half = Z95 * float(np.std(nats, ddof=1)) / math.sqrt(len(nats)) if len(nats) > 1 else math.inf
    return Score(
        data=info.name,
        split=info.split,
        transforms=tuple(info.transforms),
        fingerprint=info.fingerprint,
        bits_per_dim=bits_per_dim(mean, dimensions),
        bits_per_dim_interval=(bits_per_dim(mean + half, dimensions), bits_per_dim(mean - half, dimensions)),
        nats=-mean,
        nats_interval=(-mean - half, -mean + half),
        examples=len(nats),
        dimensions=dimensions,
        weights=weights,
        unit="image" if len(info.event_shape) == 3 else "example",
        ensemble="single model" if members == 1 else f"average of {members} members' probabilities",
        parts=parts,
    )
