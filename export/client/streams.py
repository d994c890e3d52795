"""Draws events piece by piece, from a session of the server or from a state that the client holds.

Both draw what `sample` draws from the same seed. A session whose fate is open (the connection broke, a deadline passed,
the server restarted or gave the session up) is not stepped again: that could skip units. It is begun anew, with its
seed and with what was drawn so far as the prefix, which continues the event exactly where it stood (law 3: up to a tie
of rounding), on any replica of the same version. A state needs none of this: a step is a function of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from export.client.calls import may_repeat
from export.client.errors import Code, ServingError

Arrays = dict[str, np.ndarray]

# How the refusals of export/writer/sessions.py begin after which a session is gone for its client.
_GONE = ("session_id is unknown or expired", "session_id was stepped by another call")
# After these errors a step may or may not have acted.
_OPEN_ENDED = (
    *(Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED, Code.DEADLINE_EXCEEDED),
    *(Code.CANCELLED, Code.UNKNOWN, Code.INTERNAL),
)
_END_TIMEOUT = 5.0  # seconds; a session that is not ended expires by itself


class Caller(Protocol):
    """The part of a client that a stream needs."""

    version: int | None
    answered: int | None

    @property
    def retries(self) -> int:
        """How often a call is tried again."""

    @property
    def signatures(self) -> Mapping[str, Any]:
        """The signatures of the model by name."""

    @property
    def values_per_unit(self) -> int:
        """Values that a unit holds."""

    def predict(
        self, signature: str, inputs: Arrays, *, timeout: float | None = None, version: int | None = None
    ) -> Arrays:
        """Calls a signature."""


@dataclasses.dataclass(frozen=True)
class Chunk:
    """The result of a step.

    Attributes:
        values: [B, n, ...]: n rows of images, values of sequences, or cells; every example draws as many.
        position: int, units drawn so far.
        done: whether the events are complete.
        cells: int32 [B, n], where cells belong (row * width + column); None where units follow one another.
    """

    values: np.ndarray
    position: int
    done: bool
    cells: np.ndarray | None = None


class Stream:
    """Events that are drawn step by step; `Client.stream` makes one. Use it in a `with` statement.

    Iterating yields a `Chunk` of `n` units at a time until the events are complete; a model of any length never
    completes them.

    Attributes:
        seed: int64 [B, 2], as used: `sample` with it draws the same events.
        position: units drawn so far, the prefix included.
        done: whether the events are complete.
        version: of the model; every step asks for it, so that an event is drawn by one model.
    """

    def __init__(self, client: Caller, inputs: Arrays, n: int, timeout: float | None, version: int | None = None):
        self._client, self._inputs, self._n, self._timeout = client, inputs, n, timeout
        self.done = self._ended = False
        outputs = self._begin(inputs, client.version if version is None else version)
        self.version = client.answered
        self.seed, self.position = outputs["seed"], int(outputs["position"][0])
        # A session that is begun anew needs the seed that the first one has used.
        self._inputs = {**inputs, "seed": self.seed}

    def step(self, n: int | None = None) -> Chunk:
        """Draws the next n units, fewer at the end of the event.

        Args:
            n: at least 1; None for the stream's own.

        Raises:
            ServingError: the call failed. The stream stands where it stood, and may be stepped again.
            ValueError: the stream was ended.
        """
        if self._ended:
            raise ValueError("the stream was ended; make another one")
        rows = np.full([len(self.seed)], self._n if n is None else n, np.int32)
        outputs = self._step(rows)
        count = int(outputs["count"][0])
        self.position, self.done = int(outputs["position"][0]), bool(outputs["done"][0])
        cells = outputs["cells"][:, :count] if "cells" in outputs else None
        return Chunk(outputs["chunk"][:, :count], self.position, self.done, cells)

    def __iter__(self) -> Iterator[Chunk]:
        while not (self.done or self._ended):
            yield self.step()

    def end(self) -> None:
        """Gives the server's slots back; harmless when repeated."""
        self._ended = True

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def _begin(self, inputs: Arrays, version: int | None) -> Arrays:
        raise NotImplementedError

    def _step(self, n: np.ndarray) -> Arrays:
        raise NotImplementedError

    def _call(self, signature: str, inputs: Arrays, version: int | None, timeout: float | None = None) -> Arrays:
        timeout = self._timeout if timeout is None else timeout
        return self._client.predict(signature, inputs, timeout=timeout, version=version)


class StateStream(Stream):
    """Signatures `start` and `step`: the client holds the state, any replica continues it."""

    def _begin(self, inputs: Arrays, version: int | None) -> Arrays:
        outputs = self._call("start", inputs, version)
        self._state = outputs["state"]
        return outputs

    def _step(self, n: np.ndarray) -> Arrays:
        outputs = self._call("step", {"state": self._state, "n": n}, self.version)
        self._state = outputs["state"]
        return outputs


class SessionStream(Stream):
    """Signatures `session_begin`, `session_step`, `session_end`: the server holds the state in a slot.

    Attributes:
        session_id: int64 [B]; None while there is no session to trust.
    """

    def __init__(self, client: Caller, inputs: Arrays, n: int, timeout: float | None, version: int | None = None):
        self.session_id: np.ndarray | None = None
        self._drawn: list[np.ndarray] = []
        super().__init__(client, inputs, n, timeout, version)

    def _begin(self, inputs: Arrays, version: int | None) -> Arrays:
        outputs = self._call("session_begin", inputs, version)
        self.session_id = outputs["session_id"]
        return outputs

    def _step(self, n: np.ndarray) -> Arrays:
        retries = self._client.retries
        while True:
            if self.session_id is None:
                self._begin_anew()
            try:
                outputs = self._call("session_step", {"session_id": self.session_id, "n": n}, self.version)
            except ServingError as error:
                gone = error.code == Code.INVALID_ARGUMENT and any(text in error.message for text in _GONE)
                if not gone and (error.code not in _OPEN_ENDED or may_repeat(error, acts=True)):
                    raise  # Refused, and certainly not run: the session stands where it stood.
                self._give_up()
                # The next step begins anew; this one does where that may help.
                if not retries or not (gone or may_repeat(error, acts=False)):
                    raise
                retries -= 1
            else:
                count = int(outputs["count"][0])
                self._drawn.append(outputs["chunk"][:, :count].reshape(len(self.seed), -1))
                return outputs

    def _begin_anew(self) -> None:
        """Opens a session at the same place of the same events."""
        drawn = self._drawn
        inputs = dict(self._inputs)
        if drawn:
            if "prefix" not in self._client.signatures["session_begin"].inputs:
                raise ServingError(Code.FAILED_PRECONDITION, "the session is lost, and this model takes no prefix")
            # A prefix that ends within a unit: the unit that holds its end was drawn whole.
            kept = [self._inputs["prefix"][:, : self._prefix_units()]] if "prefix" in self._inputs else []
            inputs["prefix"] = np.concatenate([*kept, *drawn], 1)
        outputs = self._begin(inputs, self.version)
        if int(outputs["position"][0]) != self.position:
            raise ServingError(
                Code.DATA_LOSS, f"the session stands at {int(outputs['position'][0])}, not at {self.position}"
            )

    def _prefix_units(self) -> int:
        """Values of the prefix that lie in whole units, which no step returns."""
        width = self._client.values_per_unit
        return self._inputs["prefix"].shape[1] // width * width

    def _give_up(self) -> None:
        """Drops the session; frees its slot if the server can be reached."""
        session, self.session_id = self.session_id, None
        try:
            self._call("session_end", {"session_id": session}, self.version, _END_TIMEOUT)
        except ServingError:
            pass  # It expires.

    def end(self) -> None:
        """Gives the server's slots back; harmless when repeated."""
        super().end()
        if self.session_id is not None:
            self._give_up()


class JoinedStream(Stream):
    """Sessions of more examples than one call may have, stepped one part after the other."""

    def __init__(self, client: Caller, parts: Sequence[Arrays], n: int, timeout: float | None):
        self._parts: list[SessionStream] = []
        self._ended = False
        version = None
        try:
            for inputs in parts:
                self._parts.append(SessionStream(client, inputs, n, timeout, version))
                version = self._parts[-1].version
        except BaseException:
            self.end()
            raise
        # What parts have drawn of a step that failed in a later part.
        self._taken: list[Chunk] = []
        self._n, self.version, self.done = n, version, False
        self.seed, self.position = np.concatenate([part.seed for part in self._parts]), self._parts[0].position

    def step(self, n: int | None = None) -> Chunk:
        """Draws the next n units of every example; a step that failed half way is finished with its own n first."""
        if self._ended:
            raise ValueError("the stream was ended; make another one")
        if self._taken:
            n = self._taken[0].values.shape[1]
        for part in self._parts[len(self._taken) :]:
            self._taken.append(part.step(self._n if n is None else n))
        chunks, self._taken = self._taken, []
        self.position, self.done = chunks[0].position, chunks[0].done
        cells = [chunk.cells for chunk in chunks if chunk.cells is not None]
        values = np.concatenate([chunk.values for chunk in chunks])
        return Chunk(values, self.position, self.done, np.concatenate(cells) if cells else None)

    def end(self) -> None:
        """Gives the server's slots back; harmless when repeated."""
        super().end()
        for part in self._parts:
            part.end()
