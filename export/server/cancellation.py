"""Stops the call of a client that has gone.

A session of TensorFlow stops a step at its deadline, or when an operation of it fails, and at nothing else. So every
step is given an operation that fails on request:

    watch     word = dequeue(queue of the call's place); fails unless it is 0
    release   enqueue(0), when the outputs are there
    stop      a step of its own: enqueue(1)

The watch waits without a thread, but needs one to begin: a session whose threads are all in loops would not reach it,
so it has more of them than there are calls. When it fails, TensorFlow stops the loops of its step as it does at a
deadline: at their next operation. A single large kernel, or a loop that XLA compiled, runs to its end.
"""

from __future__ import annotations

import contextlib
import contextvars
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from export.client.errors import Code, ServingError
from export.server import compat

_GO_ON, _STOP = 0, 1
# One thread makes batches of several calls there, and a batch fails for all of them.
_OWN_BATCHES = b"sessions/alone"


class Cancellation:
    """Tells a call that its client has gone; `cancel` may come from any thread, before, during or after the call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stop: Callable[[], Any] | None = None
        self.cancelled = False

    def cancel(self) -> None:
        """Stops the call soon, if it is running; returns at once."""
        self.cancelled = True
        if self._stop is not None:
            threading.Thread(target=self._stop_now, daemon=True, name="cancel").start()

    def _stop_now(self) -> None:
        with self._lock:
            if self._stop is not None:
                self._stop()

    @contextlib.contextmanager
    def stopped_by(self, stop: Callable[[], Any]) -> Iterator[None]:
        """Calls `stop` when the call is cancelled within the `with` block, and never after its end.

        Raises:
            ServingError: it was cancelled before.
        """
        self._stop = stop
        try:
            if self.cancelled:
                raise cancelled()
            yield
        finally:
            with self._lock:
                self._stop = None


CALL: contextvars.ContextVar[Cancellation | None] = contextvars.ContextVar("call", default=None)


@contextlib.contextmanager
def cancelled_by(add_callback: Callable[[Callable[[], Any]], bool]) -> Iterator[None]:
    """Lets what runs in this thread be cancelled.

    Args:
        add_callback: takes what is called when the client has gone; False where it has gone already, as in gRPC.
    """
    call = Cancellation()
    if not add_callback(call.cancel):
        call.cancel()
    token = CALL.set(call)
    try:
        yield
    finally:
        CALL.reset(token)


def cancelled() -> ServingError:
    """Returns the error of a call that was stopped."""
    return ServingError(Code.CANCELLED, "the client cancelled the call")


class Watch:
    """The watching operations of a session.

    Args:
        session: of the version.
        places: calls that can be watched at once.
    """

    def __init__(self, session: tf.compat.v1.Session, places: int):
        self._session = session
        # TensorFlow counts the inputs of a step by their names, and messages have the number: this one comes last.
        with session.graph.as_default(), tf.name_scope("zzz_watch"):
            queues = [
                tf.raw_ops.FIFOQueueV2(component_types=[tf.int32], shapes=[[]], shared_name=f"watch/{place}")
                for place in range(places)
            ]
            place = tf.compat.v1.placeholder(tf.int32, [], "place")
            self._queue = tf.raw_ops.GatherV2(params=tf.stack(queues), indices=place, axis=0)
            word = tf.raw_ops.QueueDequeueV2(handle=self._queue, component_types=[tf.int32])[0]
            watch = tf.debugging.Assert(tf.equal(word, _GO_ON), ["cancelled"])
            stop = self._enqueue(_STOP)
            size = tf.raw_ops.QueueSizeV2(handle=self._queue)
        self.operation = compat.operation_handle(watch)
        self._place, self._word, self._size = (self._handle(tensor) for tensor in (place, word, size))
        self._stop = compat.operation_handle(stop)
        self._free: queue.SimpleQueue[int] = queue.SimpleQueue()
        for index in range(places):
            self._free.put(index)

    def release(self, output: str) -> Any:
        """Adds the operation that ends the watch when an operation has run; before the session is extended."""
        graph = self._session.graph
        with graph.as_default(), graph.control_dependencies([graph.get_operation_by_name(output)]):
            return compat.operation_handle(self._enqueue(_GO_ON))

    def prepare(self) -> None:
        """Runs its own steps once, after the session was extended: a first run takes longer."""
        self._aside(0, targets=[self._stop])
        self._empty(0)

    def run(self, feeds: dict[Any, np.ndarray], fetches: Sequence[Any], release: Any, timeout_ms: int) -> list:
        """Runs a step that `CALL` can cancel, where a place is free.

        Args:
            feeds: values by handle.
            fetches: handles.
            release: what `release` returned for the operation of the fetches.
            timeout_ms: as of `compat.run_session`.

        Raises:
            ServingError: it was cancelled.
            tf.errors.OpError: it failed.
        """
        call = CALL.get() or Cancellation()
        try:
            place = self._free.get_nowait()
        except queue.Empty:
            return compat.run_session(self._session, feeds, fetches, timeout_ms)
        given = {**feeds, self._place: np.array(place, np.int32)}
        finished = False
        try:
            with call.stopped_by(lambda: self._aside(place, targets=[self._stop])):
                values = compat.run_session(self._session, given, fetches, timeout_ms, [self.operation, release])
            finished = not call.cancelled
            return values
        except tf.errors.OpError as error:
            if call.cancelled:
                raise cancelled() from error
            raise
        finally:
            if not finished:
                self._empty(place)
            self._free.put(place)

    def _empty(self, place: int) -> None:
        """Takes out what a step that failed has left."""
        (size,) = self._aside(place, [self._size])
        for _ in range(int(size)):
            self._aside(place, [self._word])

    def _aside(self, place: int, fetches: Sequence[Any] = (), targets: Sequence[Any] = ()) -> list:
        """Runs a small step in this thread, as the session's own may all be busy."""
        feeds = {self._place: np.array(place, np.int32)}
        return compat.run_session(self._session, feeds, list(fetches), targets=list(targets), own_threads=False)

    def _enqueue(self, word: int) -> tf.Operation:
        return tf.raw_ops.QueueEnqueueV2(handle=self._queue, components=[tf.constant(word)])

    @staticmethod
    def _handle(tensor: tf.Tensor) -> Any:
        return compat.tensor_handle(tensor.graph, tensor.op.name, tensor.value_index)


def draws_together(graph_def: Any) -> bool:
    """Returns whether a graph runs several calls as one batch, which fails for all of them where one is stopped."""
    return any(
        node.op == "BatchFunction" and node.attr["shared_name"].s != _OWN_BATCHES
        for function in graph_def.library.function
        for node in function.node_def
    )
