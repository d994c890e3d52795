"""Reference samples that Python draws, and the log of what clients received."""

from __future__ import annotations

import collections
import dataclasses
import json
import threading
from pathlib import Path

import numpy as np

Arrays = dict[str, np.ndarray]


@dataclasses.dataclass
class Reference:
    """A served model and the samples that Python draws from it.

    Attributes:
        name: as in requests.
        unit: the unit that a step draws, "row" or "value".
        samples: [K, *event_shape].
        seed: int64 [K, 2].
        given: conditions [K, ...] by the names of the inputs.
        length: of events where a model has none of its own.
        explicit: whether it has states that a client holds.
        batched: whether calls that are under way are drawn together (`Options(batch_calls=True)`), so that the deadline
            of one may stop others.
    """

    name: str
    unit: str
    samples: np.ndarray
    seed: np.ndarray
    given: Arrays
    length: int | None = None
    explicit: bool = False
    batched: bool = False

    @property
    def units(self) -> int:
        """Units of an event."""
        return self.samples.shape[1]

    def draws(self, row: int) -> Arrays:
        """Returns the inputs of `session_begin` and `start` for one of the events."""
        return {"seed": self.seed[row : row + 1], **{name: value[row : row + 1] for name, value in self.given.items()}}

    def prefixed(self, row: int, size: int) -> Arrays:
        """Returns the inputs of `sample` that draw the rest of an event behind its first values."""
        return {**self.inputs(np.array([row])), "prefix": self.samples[row].reshape(1, -1)[:, :size]}

    def inputs(self, rows: np.ndarray, seed: np.ndarray | None = None) -> Arrays:
        """Returns the inputs of `sample` for some of the events."""
        length = {} if self.length is None else {"length": np.full([len(rows)], self.length, np.int32)}
        given = {name: value[rows] for name, value in self.given.items()}
        return {"seed": self.seed[rows] if seed is None else seed, **given, **length}

    def save(self, path: Path) -> None:
        """Writes it for the processes of the clients."""
        facts = {"name": self.name, "unit": self.unit, "length": self.length}
        facts |= {"explicit": self.explicit, "batched": self.batched}
        arrays = {f"given/{name}": value for name, value in self.given.items()}
        np.savez(path, facts=json.dumps(facts), samples=self.samples, seed=self.seed, **arrays)  # type: ignore[arg-type]

    @staticmethod
    def load(path: Path) -> Reference:
        """Reads what `save` wrote."""
        with np.load(path) as file:
            given = {name.partition("/")[2]: file[name] for name in file.files if name.startswith("given/")}
            return Reference(samples=file["samples"], seed=file["seed"], given=given, **json.loads(str(file["facts"])))


class Log:
    """The results of the clients of a process; their threads share it.

    Attributes:
        counts: kind of call -> outcome -> number.
        seconds: kind of call -> durations of those that had time.
        wrong: streams that differ from Python's: (model, row of the reference, event as far as it was seen).
        fresh: unseeded events: (model, seed, event or None).
        failures: in words.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.counts: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
        self.seconds: dict[str, list[float]] = collections.defaultdict(list)
        self.wrong: list[tuple[str, int, np.ndarray]] = []
        self.fresh: list[tuple[str, list[int], np.ndarray | None]] = []
        self.failures: list[str] = []

    def count(self, kind: str, outcome: str, seconds: float | None = None) -> None:
        """Counts a call."""
        with self._lock:
            self.counts[kind][outcome] += 1
            if seconds is not None:
                self.seconds[kind].append(seconds)

    def fail(self, text: str) -> None:
        """Notes a failure."""
        with self._lock:
            self.failures.append(text)

    def save(self, path: Path) -> None:
        """Writes it for the process that started the clients."""
        plain = {
            "counts": self.counts,
            "seconds": self.seconds,
            "wrong": [(name, row, event.tolist()) for name, row, event in self.wrong],
            "fresh": [(name, seed, None if event is None else event.tolist()) for name, seed, event in self.fresh],
            "failures": self.failures,
        }
        temporary = path.with_suffix(".writing")
        temporary.write_text(json.dumps(plain), encoding="utf-8")
        temporary.replace(path)

    def merge(self, path: Path) -> None:
        """Adds the log of another process."""
        plain = json.loads(path.read_text(encoding="utf-8"))
        for kind, outcomes in plain["counts"].items():
            self.counts[kind].update(outcomes)
        for kind, seconds in plain["seconds"].items():
            self.seconds[kind] += seconds
        self.wrong += [(name, row, np.array(event)) for name, row, event in plain["wrong"]]
        fresh = ((name, seed, None if event is None else np.array(event)) for name, seed, event in plain["fresh"])
        self.fresh += fresh
        self.failures += plain["failures"]


def same_events(one: np.ndarray, other: np.ndarray) -> bool:
    """Returns whether two events are equal, of floats but for rounding."""
    if one.dtype.kind == "f":
        return bool(np.allclose(one, other, rtol=1e-3, atol=1e-3))
    return bool(np.array_equal(one, other))
