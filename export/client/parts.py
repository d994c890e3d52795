"""Answers of a client, and calls of many examples in parts: every example depends on itself alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

Arrays = dict[str, np.ndarray]


class Drawn(NamedTuple):
    """Events and the seeds they follow from: samples [num, *event_shape], seed int64 [num, 2].

    The same version, processor and number of examples in a call give the same samples of the same inputs. Among
    another number of examples an event may go another way where the noise of a draw lies within the last bits of the
    boundary between two values.
    """

    samples: np.ndarray
    seed: np.ndarray


class Scores(NamedTuple):
    """Nats float32 [B], bits/dim float32 [B], and nats of every factor [B, *positions] where a model has factors."""

    log_prob: np.ndarray
    bits_per_dim: np.ndarray
    score: np.ndarray | None


class Limits(NamedTuple):
    """Examples of a request, and positions of all of them together; None where a model tells none."""

    examples: int | None = None
    positions: int | None = None

    @classmethod
    def read(cls, about: Mapping[str, Any]) -> Limits:
        """Reads what `describe` answers; exports of earlier versions do not tell."""
        return cls(about.get("max_examples"), about.get("max_positions"))

    def fitting(self, values: Mapping[str, np.ndarray], endless: bool) -> int:
        """Returns how many of the examples of a request one call may have, at least 1.

        Args:
            values: the inputs.
            endless: whether events have no length of their own; otherwise the number of examples bounds positions.
        """
        most = count(values) if self.examples is None else self.examples
        if self.positions is not None and endless:
            sizes = [int(values[name].max()) for name in ("length", "n") if name in values]
            sizes += [values[name].shape[1] for name in ("x", "prefix") if name in values]
            most = min(most, self.positions // max([1, *sizes]))
        return max(1, most)


def count(inputs: Mapping[str, np.ndarray]) -> int:
    """Returns the number of examples; 0 without inputs."""
    return max((len(value) for value in inputs.values()), default=0)


def split(inputs: Mapping[str, np.ndarray], most: int) -> list[Arrays]:
    """Splits inputs of B examples into parts of at most `most`; values of one example stand for all in every part."""
    num = count(inputs)
    return [
        {name: value if len(value) == 1 else value[start : start + most] for name, value in inputs.items()}
        for start in range(0, num, most)
    ] or [dict(inputs)]


def join(parts: Sequence[Mapping[str, np.ndarray]]) -> Arrays:
    """Joins outputs; where an output is narrower than in another part, it is filled up with zeros."""
    return {name: np.concatenate(widened([part[name] for part in parts])) for name in parts[0]}


def widened(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Pads arrays [B, n, ...] with zeros to the largest n."""
    if arrays[0].ndim < 2:
        return list(arrays)
    width = max(array.shape[1] for array in arrays)
    pads = [[(0, 0), (0, width - array.shape[1]), *[(0, 0)] * (array.ndim - 2)] for array in arrays]
    return [array if array.shape[1] == width else np.pad(array, pad) for array, pad in zip(arrays, pads, strict=True)]
