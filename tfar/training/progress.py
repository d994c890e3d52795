"""A line on stderr that says how far a long job is."""

from __future__ import annotations

import sys
import time
from typing import TextIO


class ProgressBar:
    """Progress of `total` units: refreshed in place on a terminal, a line now and then elsewhere.

        train  [########............]  412/1000  1.923 bits/dim  41 s left

    Args:
        total: number of units.
        name: what is being done.
        stream: stderr by default.
        start: units that were done before, by an earlier process.

    Example:
        >>> import io
        >>> bar = ProgressBar(4, "count", io.StringIO())
        >>> bar.update(4, "done", force=True)
        >>> bar.stream.getvalue().split()[:3]
        ['count', '[####################]', '4/4']
    """

    WIDTH = 20
    LINE_SECONDS = 10.0  # between lines where the stream is no terminal
    REFRESH_SECONDS = 0.2

    def __init__(self, total: int, name: str, stream: TextIO | None = None, start: int = 0):
        self.total, self.name, self.start = total, name, start
        self.stream = stream or sys.stderr
        self._terminal = self.stream.isatty()
        self._shown = time.monotonic()
        # The first unit traces and compiles: the time left is reckoned from its end.
        self._first: tuple[int, float] | None = None
        self._open = False

    @property
    def due(self) -> bool:
        """Whether the next `update` would be shown."""
        wait = self.REFRESH_SECONDS if self._terminal else self.LINE_SECONDS
        return time.monotonic() - self._shown >= wait

    def update(self, done: int, note: str = "", force: bool = False) -> None:
        """Shows `done` units and a note, unless the last line is too fresh.

        The time left is that of the units after the first call at the pace since then; it is not known at that call.
        """
        if self._first is None and done > self.start:
            self._first = done, time.monotonic()
        if not (force or self.due):
            return
        now = time.monotonic()
        self._shown = now
        filled = self.WIDTH * done // max(self.total, 1)
        bar = "#" * filled + "." * (self.WIDTH - filled)
        parts = [f"{self.name}  [{bar}]  {done}/{self.total}", note]
        if self._first is not None and self._first[0] < done < self.total:
            first, at = self._first
            parts.append(f"{duration((now - at) / (done - first) * (self.total - done))} left")
        line = "  ".join(part for part in parts if part)
        self.stream.write(f"\r{line}\x1b[K" if self._terminal else f"{line}\n")
        self.stream.flush()
        self._open = self._terminal

    def close(self) -> None:
        """Ends the line on a terminal, so that other output begins on its own."""
        if self._open:
            self.stream.write("\n")
            self.stream.flush()
            self._open = False


def duration(seconds: float) -> str:
    """Seconds in words.

    Example:
        >>> duration(8.2), duration(150), duration(7300)
        ('8 s', '2 min 30 s', '2 h 1 min')
    """
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"
