"""Counters and histograms under the names that TensorFlow Serving gives them, in the text format of Prometheus."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Iterator

# Microseconds; the 34th bucket is open.
BOUNDS = [10 * 1.8**index for index in range(33)]
# Clients choose the model's name in a request; memory must not grow with their mistakes.
_MAX_CELLS = 1000
_MAX_LABEL = 256
_OTHER = "(other)"


class Counter:
    """A number that grows, for every combination of labels.

    Args:
        name: in Prometheus.
        labels: their names.
    """

    def __init__(self, name: str, *labels: str):
        self.name, self.labels = name, labels
        self._lock = threading.Lock()
        self._cells: dict[tuple[str, ...], int] = {}

    def add(self, amount: int, *values: str) -> None:
        """Adds to the cell of these labels."""
        with self._lock:
            values = _cell(self._cells, values)
            self._cells[values] = self._cells.get(values, 0) + amount

    def total(self) -> int:
        """Returns the sum over all labels."""
        with self._lock:
            return sum(self._cells.values())

    def lines(self) -> Iterator[str]:
        """The text for Prometheus."""
        yield f"# TYPE {self.name} counter"
        with self._lock:
            cells = list(self._cells.items())
        for values, count in cells:
            yield f"{self.name}{{{_labels(self.labels, values)}}} {count}"


class Histogram:
    """Durations, for every combination of labels.

    Args:
        name: in Prometheus.
        labels: their names.
    """

    def __init__(self, name: str, *labels: str):
        self.name, self.labels = name, labels
        self._lock = threading.Lock()
        self._cells: dict[tuple[str, ...], tuple[list[int], list[float]]] = {}

    def add(self, seconds: float, *values: str) -> None:
        """Records a duration, in seconds, as microseconds."""
        microseconds = int(seconds * 1e6)
        with self._lock:
            values = _cell(self._cells, values)
            counts, total = self._cells.setdefault(values, ([0] * (len(BOUNDS) + 1), [0.0]))
            counts[bisect.bisect_right(BOUNDS, microseconds)] += 1
            total[0] += microseconds

    def lines(self) -> Iterator[str]:
        """The text for Prometheus."""
        yield f"# TYPE {self.name} histogram"
        with self._lock:
            cells = [(values, list(counts), total[0]) for values, (counts, total) in self._cells.items()]
        for values, counts, total in cells:
            labels = _labels(self.labels, values)
            cumulative = 0
            for count, bound in zip(counts, [*(f"{bound:g}" for bound in BOUNDS), "+Inf"], strict=True):
                cumulative += count
                yield f'{self.name}_bucket{{{labels},le="{bound}"}} {cumulative}'
            yield f"{self.name}_sum{{{labels}}} {total:g}"
            yield f"{self.name}_count{{{labels}}} {cumulative}"


class Metrics:
    """The counters and histograms of the server."""

    def __init__(self) -> None:
        prefix = ":tensorflow:serving:"
        self.request_count = Counter(f"{prefix}request_count", "model_name", "status")
        self.request_latency = Histogram(f"{prefix}request_latency", "model_name", "API", "entrypoint")
        self.runtime_latency = Histogram(f"{prefix}runtime_latency", "model_name", "API", "runtime")
        self.warmup_latency = Histogram(f"{prefix}model_warmup_latency", "model_path", "status")

    def __iter__(self) -> Iterator[Counter | Histogram]:
        return iter((self.request_count, self.request_latency, self.runtime_latency, self.warmup_latency))

    def text(self) -> str:
        """Returns the page that Prometheus scrapes."""
        return "\n".join(line for metric in self for line in metric.lines()) + "\n"

    def total(self, name: str) -> int | None:
        """The sum of a counter named as TensorFlow names it, "/tensorflow/serving/request_count"; None for others."""
        for metric in self:
            if isinstance(metric, Counter) and metric.name == name.replace("/", ":"):
                return metric.total()
        return None


def _cell(cells: dict, values: tuple[str, ...]) -> tuple[str, ...]:
    if any(len(value) > _MAX_LABEL for value in values):
        values = tuple(value[:_MAX_LABEL] for value in values)
    return values if values in cells or len(cells) < _MAX_CELLS else (_OTHER, *values[1:])


def _labels(names: tuple[str, ...], values: tuple[str, ...]) -> str:
    pairs = zip(names, values, strict=True)
    return ",".join(f'{name}="{_escape(value)}"' for name, value in pairs)


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
