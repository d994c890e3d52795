"""The clients of `benchmarks.serving`: threads that call a server in every way, some of which vanish.

A client draws whole events, steps sessions and explicit states, and compares what comes with what Python has drawn from
the same seeds. Half of its calls have deadlines that are too short for many of them; after one a session is stepped on
where the server says that it stands. Now and then a client closes its channel in the middle of a call, or leaves its
session behind. It needs gRPC and NumPy, but neither TensorFlow nor tfar.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.serving_reference import Arrays, Log, Reference
from export.client import Client, Code, ServingError
from export.client.messages import MESSAGES, PREDICT, to_array, to_proto

PATIENT = 60.0  # seconds
_SHORTEST, _LONGEST = 0.002, 5.0  # seconds; deadlines in between are as likely in every octave
_FRESH = np.full([1, 2], -1, np.int64)
# Refusals that a client has to expect, by how their texts go on after "assertion failed: [".
_REFUSALS = {
    "all session slots are in use": "full",
    "session_id is unknown or expired": "expired",
    "session_id was stepped by another call": "overtaken",
}
_MOST_UNITS = 6  # of a step
_KEPT = 16  # unseeded events of a client that Python draws again


def request(model: str, signature: str, inputs: Arrays) -> bytes:
    """Returns a Predict request as it goes over the wire."""
    message = MESSAGES["PredictRequest"]()
    message.model_spec.name, message.model_spec.signature_name = model, signature
    for name, value in inputs.items():
        to_proto(value, message.inputs[name])
    return message.SerializeToString()


def outputs(reply: bytes) -> Arrays:
    """Returns the outputs of a reply."""
    return {name: to_array(proto) for name, proto in MESSAGES["PredictResponse"].FromString(reply).outputs.items()}


class Caller(threading.Thread):
    """One client.

    Args:
        server: "host:port".
        references: the models.
        ttl: seconds after which the server gives a session up.
        end: when to stop, on the clock of `time.monotonic`.
        seed: of its decisions.
        log: of its process.
    """

    def __init__(self, server: str, references: list[Reference], ttl: float, end: float, seed: int, log: Log):
        super().__init__(daemon=True)
        self._server, self._references, self._ttl, self._end = server, references, ttl, end
        self._random, self._log = random.Random(seed), log
        self._clients: dict[str, Client] = {}
        self._kept = 0

    def run(self) -> None:
        """Calls until the end."""
        ways: list[tuple[Callable[[Reference], None], int]] = [
            (self._sample, 6),
            (self._sample_unseeded, 4),
            (self._continue, 2),
            (self._session, 6),
            (self._state, 2),
            (self._race, 1),
            (self._vanish, 1),
        ]
        try:
            while time.monotonic() < self._end:
                way = self._random.choices([way for way, _ in ways], [weight for _, weight in ways])[0]
                way(self._random.choice(self._references))
        except Exception as error:  # A bug of the benchmark must not pass for silence.
            self._log.fail(f"a client ended with {type(error).__name__}: {error}")
        finally:
            for client in self._clients.values():
                client.close()

    # Calls.

    def _sample(self, reference: Reference) -> None:
        """Whole events from known seeds."""
        rows = np.array(self._random.sample(range(len(reference.seed)), self._random.choice([1, 1, 1, 3])))
        found = self._call(reference, "sample", reference.inputs(rows))
        if found is not None:
            for row, event in zip(rows, found["samples"], strict=True):
                self._compare(reference, int(row), event)

    def _sample_unseeded(self, reference: Reference) -> None:
        """An event from the entropy of the server."""
        row = np.array([self._random.randrange(len(reference.seed))])
        given = {name: value for name, value in reference.inputs(row, _FRESH).items() if name not in reference.given}
        # The first row's condition, so that Python can draw all of them at once.
        given |= {name: value[:1] for name, value in reference.given.items()}
        found = self._call(reference, "sample", given, "sample unseeded")
        if found is not None:
            keep = self._kept < _KEPT
            self._kept += keep
            event = found["samples"][0] if keep else None
            self._log.fresh.append((reference.name, found["seed"][0].tolist(), event))

    def _continue(self, reference: Reference) -> None:
        """The rest of an event, from its first values: by `sample`, or by `complete` where events have a length."""
        row = self._random.randrange(len(reference.seed))
        inputs = reference.prefixed(row, self._random.randrange(1, reference.samples[row].size))
        signature, kind = "sample", "sample with prefix"
        if reference.length is None and self._random.random() < 0.5:
            signature = kind = "complete"
            observed = np.array([inputs.pop("prefix").shape[1]], np.int32)
            inputs |= {"x": reference.samples[row : row + 1], "observed_length": observed}
        found = self._call(reference, signature, inputs, kind)
        if found is not None:
            self._compare(reference, row, found["samples"][0])

    def _session(self, reference: Reference) -> None:
        """An event from the slots of the server; one in eight leaves it behind."""
        row = self._random.randrange(len(reference.seed))
        begun = self._call(reference, "session_begin", reference.draws(row))
        if begun is None:
            return
        session, last, leave = begun["session_id"], time.monotonic(), self._random.random() < 0.125
        event, position = reference.samples[row].copy(), 0
        while position < reference.units and time.monotonic() < self._end:
            asked = time.monotonic()
            found = self._call(reference, "session_step", {"session_id": session, "n": self._units()})
            if found is None:
                if self._outcome == "expired":
                    if asked - last < 0.9 * self._ttl:
                        self._log.fail(
                            f"a session of {reference.name} was lost {asked - last:.1f} s after its last step"
                        )
                    break
                continue
            last = asked
            position = self._put(event, found)
            if leave and position > reference.units // 2:
                break
        self._compare(reference, row, event)
        if not leave and self._outcome != "expired":
            self._call(reference, "session_end", {"session_id": session})

    def _state(self, reference: Reference) -> None:
        """An event whose state the client holds; a step that was cut off is done again."""
        if not reference.explicit:
            return
        row = self._random.randrange(len(reference.seed))
        found = self._call(reference, "start", reference.draws(row))
        event, position = reference.samples[row].copy(), 0
        while found is not None and position < reference.units and time.monotonic() < self._end:
            taken = self._call(reference, "step", {"state": found["state"], "n": self._units()})
            if taken is not None:
                found, position = taken, self._put(event, taken)
        self._compare(reference, row, event)

    def _race(self, reference: Reference) -> None:
        """Two steps of one session at once: what both return must still be the event, and the session goes on."""
        row = self._random.randrange(len(reference.seed))
        begun = self._call(reference, "session_begin", reference.draws(row), patient=True)
        if begun is None:
            return
        client, session = self._client(reference), begun["session_id"]
        step = client.calls.channel.unary_unary(PREDICT)
        data = request(reference.name, "session_step", {"session_id": session, "n": np.array([2], np.int32)})
        event, positions, stopped = reference.samples[row].copy(), [], False
        for call in [step.future(data, timeout=PATIENT) for _ in range(2)]:
            if call.exception() is None:
                positions.append(self._put(event, outputs(call.result())))
                self._log.count("two steps at once", "ok")
            else:
                error = ServingError(Code[call.code().name], call.details() or "")
                outcome = self._judge(reference, "session_step", error)
                stopped |= outcome == "stopped"
                self._log.count("two steps at once", outcome)
        if len(set(positions)) != len(positions) or not (positions or stopped):
            self._log.fail(f"two steps at once of a session of {reference.name} ended at {positions}")
        found = self._call(reference, "session_step", {"session_id": session}, patient=True)
        if found is not None:
            if positions and found["position"][0] != max(positions) + 1:
                self._log.fail(f"after steps to {positions} a session of {reference.name} stands elsewhere")
            self._put(event, found)
        self._compare(reference, row, event)
        self._call(reference, "session_end", {"session_id": session}, patient=True)

    def _vanish(self, reference: Reference) -> None:
        """Closes the channel in the middle of a call."""
        row, client = self._random.randrange(len(reference.seed)), self._client(reference)
        inputs = {"sample": reference.inputs(np.array([row])), "session_begin": reference.draws(row)}
        signature = self._random.choice(list(inputs))
        call = client.calls.channel.unary_unary(PREDICT)
        # With a deadline and without one: the server then continues without a client.
        timeout = self._random.choice([None, 2.0])
        call.future(request(reference.name, signature, inputs[signature]), timeout=timeout)
        time.sleep(self._random.uniform(0.0, 0.05))
        self._clients.pop(reference.name).close()
        self._log.count("vanished", signature)

    # Its means.

    def _client(self, reference: Reference) -> Client:
        if reference.name not in self._clients:
            # A subchannel of its own: those of one process share their connection otherwise.
            options = [("grpc.use_local_subchannel_pool", 1)]
            self._clients[reference.name] = Client(
                self._server, reference.name, timeout=PATIENT, retries=0, channel_options=options
            )
        return self._clients[reference.name]

    def _units(self) -> np.ndarray:
        return np.array([self._random.randint(1, _MOST_UNITS)], np.int32)

    def _call(
        self, reference: Reference, signature: str, inputs: Arrays, kind: str = "", patient: bool | None = None
    ) -> Arrays | None:
        """One call; None where it was cut off or refused, which is judged here and stands in `_outcome`."""
        patient = self._random.random() < 0.5 if patient is None else patient
        timeout = PATIENT if patient else _SHORTEST * (_LONGEST / _SHORTEST) ** self._random.random()
        kind, started = kind or signature, time.monotonic()
        try:
            client = self._client(reference)
            client.signatures  # noqa: B018  asked for once, in a call that is not measured
            started = time.monotonic()
            found = client.predict(signature, inputs, timeout=timeout)
        except ServingError as error:
            self._outcome = self._judge(reference, signature, error)
            if self._outcome == "deadline" and patient and not reference.batched:
                self._log.fail(f"{signature} of {reference.name} did not answer in {time.monotonic() - started:.0f} s")
            self._log.count(kind, self._outcome)
            if self._outcome == "full":
                time.sleep(self._random.uniform(0.0, 0.5))
            return None
        self._outcome = "ok"
        self._log.count(kind, "ok", time.monotonic() - started if patient else None)
        return found

    def _judge(self, reference: Reference, signature: str, error: ServingError) -> str:
        """Classifies an error by a word; an unexpected one is a failure."""
        if error.code == Code.DEADLINE_EXCEEDED:
            return "deadline"
        if reference.batched and (error.code == Code.CANCELLED or "BatchFunction" in error.message):
            return "stopped"  # with the batch, at the deadline of another call: see export/writer/batched.py
        if error.code == Code.INVALID_ARGUMENT and signature.startswith("session_"):
            for text, outcome in _REFUSALS.items():
                if f"assertion failed: [{text}" in error.message:
                    return outcome
        self._log.fail(f"{signature} of {reference.name}: {error.code.name} {error.message[:200]}")
        return error.code.name

    @staticmethod
    def _put(event: np.ndarray, found: Arrays) -> int:
        """Puts a chunk where it belongs, as far as the reference goes; returns the position."""
        position, count = int(found["position"][0]), int(found["count"][0])
        start, stop = position - count, min(position, len(event))
        if stop > start:
            event[start:stop] = found["chunk"][0, : stop - start]
        return position

    def _compare(self, reference: Reference, row: int, event: np.ndarray) -> None:
        if reference.samples.dtype.kind == "f":
            same = np.allclose(event, reference.samples[row], rtol=1e-3, atol=1e-3)
        else:
            same = np.array_equal(event, reference.samples[row])
        self._log.count("events compared", "equal" if same else "different")
        if not same:
            self._log.wrong.append((reference.name, row, event))


def references(folder: Path) -> Iterator[Reference]:
    """The references that a folder holds."""
    for path in sorted(folder.glob("*.npz")):
        yield Reference.load(path)


def call_for(server: str, folder: Path, ttl: float, seconds: float, clients: int, seed: int) -> Log:
    """Runs clients in this process.

    Args:
        server: "host:port".
        folder: of the references.
        ttl: of sessions, seconds.
        seconds: to call for.
        clients: how many.
        seed: of their decisions.

    Returns:
        What they have seen.
    """
    log, known = Log(), list(references(folder))
    end = time.monotonic() + seconds
    callers = [Caller(server, known, ttl, end, 1000 * seed + index, log) for index in range(clients)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(seconds + 3 * PATIENT)
        if caller.is_alive():
            log.fail("a client waits for an answer after the end")
    return log


def main(arguments: list[str]) -> None:
    """A process of clients: server, folder, ttl, seconds, clients, seed, file to write."""
    server, folder, ttl, seconds, clients, seed, out = arguments
    call_for(server, Path(folder), float(ttl), float(seconds), int(clients), int(seed)).save(Path(out))


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
