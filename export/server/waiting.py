"""Ends the connections whose clients let the server wait: for a request, for the rest of one, for a message."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Iterator

logger = logging.getLogger("tfar.serving")
# A connection that has waited for less is not ended to make room for another one.
GRACE_SECONDS = 1.0
_SWEEP_SECONDS = 0.25


@dataclasses.dataclass(eq=False)
class Wait:
    """One connection that waits, or the body that it has received.

    Attributes:
        end: ends the connection; may be called from any thread.
        since: when the waiting began.
        size: bytes received so far.
        ended: whether it was ended from outside.
    """

    end: Callable[[], object]
    since: float
    size: int = 0
    ended: bool = False


class Waiting:
    """The connections that wait for bytes of their clients.

    One that waits for longer than `seconds` is ended. Where there are more than `most` of them, or they have received
    more than `most_bytes` together, the one that has waited longest is ended: whoever is idle or slow makes room for
    whoever is not.

    Args:
        seconds: that a connection may wait.
        most: connections that wait at once.
        most_bytes: received together, by those that wait and those whose bodies are being read.
    """

    def __init__(self, seconds: float, most: int, most_bytes: int):
        self._seconds, self._most, self._most_bytes = seconds, most, most_bytes
        self._lock = threading.Lock()
        self._waits: dict[int, Wait] = {}  # the one that has waited longest comes first
        self._bytes = 0
        self._stopped = False
        self._sweeper: threading.Thread | None = None

    @contextlib.contextmanager
    def hold(self, end: Callable[[], object]) -> Iterator[Wait]:
        """Counts a connection as waiting until the `with` block ends.

        Args:
            end: ends the connection, so that the thread that waits for it wakes up.
        """
        wait = Wait(end, time.monotonic())
        with self._lock:
            self._waits[id(wait)] = wait
            crowded = len(self._waits) > self._most
            if self._sweeper is None:
                self._sweeper = threading.Thread(target=self._sweep, daemon=True, name="waiting")
                self._sweeper.start()
        if crowded:
            self.make_room()
        try:
            yield wait
        finally:
            with self._lock:
                self._waits.pop(id(wait), None)

    def received(self, wait: Wait, size: int) -> bool:
        """Counts bytes of a body, and ends others that wait for theirs where all together are too many.

        Args:
            wait: of the body's connection.
            size: bytes that came.

        Returns:
            Whether there is room for them.
        """
        with self._lock:
            if wait.ended:
                return False
            wait.size += size
            self._bytes += size
            now = time.monotonic()
            ended = []
            for other in list(self._waits.values()):
                if self._bytes <= self._most_bytes:
                    break
                if other is not wait and other.size and now - other.since >= GRACE_SECONDS:
                    ended.append(self._drop(other))
            room = self._bytes <= self._most_bytes
        _end(ended)
        return room

    def release(self, wait: Wait) -> None:
        """Forgets the bytes of a body."""
        with self._lock:
            self._bytes -= wait.size
            wait.size = 0

    def make_room(self) -> bool:
        """Ends the connection that has waited longest; returns whether one had waited long enough for that."""
        with self._lock:
            oldest = next(iter(self._waits.values()), None)
            if oldest is None or time.monotonic() - oldest.since < GRACE_SECONDS:
                return False
            self._drop(oldest)
        _end([oldest])
        return True

    def _drop(self, wait: Wait) -> Wait:
        """Forgets a connection that is about to be ended; the lock is held."""
        self._waits.pop(id(wait), None)
        self._bytes -= wait.size
        wait.size, wait.ended = 0, True
        return wait

    def _sweep(self) -> None:
        while True:
            time.sleep(_SWEEP_SECONDS)
            ended = []
            with self._lock:
                if self._stopped and not self._waits:
                    self._sweeper = None
                    return
                latest = time.monotonic() - self._seconds
                for wait in list(self._waits.values()):
                    if wait.since > latest:
                        break
                    ended.append(self._drop(wait))
            _end(ended)

    def stop(self) -> None:
        """Lets the thread end when no connection waits any more."""
        self._stopped = True


def _end(waits: list[Wait]) -> None:
    for wait in waits:
        try:
            wait.end()
        except OSError:  # It has ended by itself.
            pass
        except Exception:  # The thread must live on.
            logger.exception("a connection could not be ended")
