"""Sessions: the server stores the sampler states of examples in a fixed number of slots.

TensorFlow Serving runs requests side by side without a lock of the model's own, stops one at its deadline wherever it
stands, and optimizes graphs across calls. So (each rule found by a failure, most in serving.md section 2.2):

- what must be alone is one inner function, and the next one begins only after it has ended;
- nothing is drawn in there: read alone, draw from local tensors, check and commit alone;
- the commit begins only after everything that is to be written has been computed;
- a slot holds two copies of its example; a step writes the idle one and publishes it with a single scatter on a
  counter, so that a step that is stopped half way has changed nothing;
- a step is committed only if the session and its counter are what was read: of two steps at once one is refused.

Being alone is not had from a lock: where a call is stopped while it waits for one, TensorFlow 2.21 marks the lock as
free although another call holds it (`MutexLock` sets `locked_` also when a wait is cancelled), and streams got mixed
when clients had short deadlines. A batch function with a single thread and batches of one does it.

A session whose time has passed loses its slot to the next `session_begin`; a living one never does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from export.writer import states
from export.writer.inputs import Input, Tensors, count_input, require, require_none
from export.writer.limits import MAX_LENGTH
from export.writer.part_sampler import Sampler
from export.writer.step_sampler import Chunk

UNKNOWN = "session_id is unknown or expired; values:"
REPEATED = "session_id must not repeat; values:"
OVERTAKEN = "session_id was stepped by another call at the same time; values:"
FULL = "all session slots are in use; slots, wanted:"

# Stands for no session: a step of it draws as any other does and keeps nothing, so that a server can warm up. It is
# what `begin` answers to this seed. A first call takes seconds, and many first calls at once that many times as long.
REHEARSAL, REHEARSAL_SEED = -1, -2
# The low bits of an id name its slot; below 2^53 an id is exact in JavaScript and in JSON.
_SLOT_BITS = 12
MAX_SLOTS = 2**_SLOT_BITS
_NONCE_BITS = 53 - _SLOT_BITS
_BEGUN, _RECLAIMED = 0, 1
_MAX_WAITING = 100_000


class _Scratch(tf.saved_model.experimental.TrackableResource):
    """A variable of zeros that is made when a version is loaded and is no part of the saved weights."""

    def __init__(self, shape: Sequence[int | None], dtype: tf.DType, name: str):
        super().__init__()
        self._shape, self._dtype, self._shared_name = [int(size or 0) for size in shape], dtype, name
        self.handle = self.resource_handle  # made now: on first use it would belong to the function that uses it

    def _create_resource(self) -> tf.Tensor:
        return tf.raw_ops.VarHandleOp(dtype=self._dtype, shape=self._shape, shared_name=self._shared_name)

    def _initialize(self) -> None:
        tf.raw_ops.AssignVariableOp(resource=self.resource_handle, value=tf.zeros(self._shape, self._dtype))

    def read(self) -> tf.Tensor:
        value = tf.raw_ops.ReadVariableOp(resource=self.handle, dtype=self._dtype)
        return tf.ensure_shape(value, self._shape)

    def rows(self, indices: tf.Tensor) -> tf.Tensor:
        value = tf.raw_ops.ResourceGather(resource=self.handle, indices=indices, dtype=self._dtype)
        return tf.ensure_shape(value, [None, *self._shape[1:]])

    def write(self, indices: tf.Tensor, values: tf.Tensor) -> tf.Operation:
        return tf.raw_ops.ResourceScatterUpdate(resource=self.handle, indices=indices, updates=values)

    def add(self, index: int, value: tf.Tensor) -> tf.Operation:
        return tf.raw_ops.ResourceScatterAdd(resource=self.handle, indices=[index], updates=value[None])


def _alone(body: Callable[[], Tensors]) -> Tensors:
    """`body()` with all other calls of this function kept out: one thread runs them one after the other."""
    names: list[str] = []

    def section(ticket: tf.Tensor) -> list[tf.Tensor]:
        del ticket
        outputs = body()
        names[:] = outputs
        # A batch function returns the entries of its batch, of which there is one.
        return [x[None] for x in outputs.values()]

    function = tf.function(section, autograph=False).get_concrete_function(tf.TensorSpec([1], tf.int32))
    outputs = tf.raw_ops.BatchFunction(
        in_tensors=[tf.zeros([1], tf.int32)],
        captured_tensors=function.captured_inputs,
        f=function,
        Tout=[x.dtype for x in function.outputs],
        num_batch_threads=1,
        max_batch_size=1,
        batch_timeout_micros=0,
        max_enqueued_batches=_MAX_WAITING,
        # Calls of one name share the thread; every version that is loaded has its own.
        shared_name="sessions/alone",
    )
    shaped = [tf.ensure_shape(x, made.shape)[0] for x, made in zip(outputs, function.outputs, strict=True)]
    return dict(zip(names, shaped, strict=True))


class SessionStore(tf.Module):
    """Slots for the states of a sampler's examples.

    Args:
        sampler: draws the examples.
        slots: sessions at a time.
        ttl: seconds without a step after which a session is given up.
    """

    def __init__(self, sampler: Sampler, slots: int, ttl: float):
        super().__init__()
        self.sampler, self.slots, self.ttl = sampler, slots, ttl
        self._ids = _Scratch([slots], tf.int64, "sessions/ids")
        # Step counters; the last bit says which of the two copies of an example's state is the valid one.
        self._counters = _Scratch([slots], tf.int64, "sessions/counters")
        self._expiry = _Scratch([slots], tf.float64, "sessions/expiry")
        self._events = _Scratch([2], tf.int64, "sessions/events")
        self._copies = _Scratch([2 * slots, states.row_bytes(sampler.spec)], tf.uint8, "sessions/rows")

    @property
    def bytes(self) -> int:
        """Memory of the slots."""
        return 2 * self.slots * states.row_bytes(self.sampler.spec)

    def begin(self, rows: Tensors) -> tf.Tensor:
        """Opens a session for every example, or refuses all; where all seeds are `REHEARSAL_SEED`, opens none.

        Returns:
            Ids, int64 [B].
        """
        batch = tf.shape(rows["seed"])[0]
        nonce = tf.raw_ops.NonDeterministicInts(shape=batch[None], dtype=tf.int64)
        nonce = 1 + tf.math.floormod(nonce, tf.constant(2**_NONCE_BITS - 1, tf.int64))

        def commit() -> Tensors:
            now = tf.timestamp()
            ids = self._ids.read()
            free = tf.where(tf.equal(ids, 0) | (self._expiry.read() <= now))[:, 0]
            fits = tf.size(free) >= batch

            def open_slots() -> tf.Tensor:
                slots = free[:batch]
                given = nonce * 2**_SLOT_BITS + slots
                writes = [
                    self._copies.write(2 * slots, packed),
                    self._counters.write(slots, tf.zeros_like(slots)),
                    self._expiry.write(slots, tf.fill([batch], now + self.ttl)),
                    self._events.add(_BEGUN, tf.cast(batch, tf.int64)),
                    self._events.add(_RECLAIMED, tf.math.count_nonzero(tf.gather(ids, slots))),
                ]
                with tf.control_dependencies(writes):
                    published = self._ids.write(slots, given)
                with tf.control_dependencies([published]):
                    return tf.identity(given)

            return {"fits": fits, "ids": tf.cond(fits, open_slots, lambda: tf.zeros([batch], tf.int64))}

        packed = states.to_bytes(rows, self.sampler.spec)
        rehearsal = tf.reduce_all(tf.equal(rows["seed"], REHEARSAL_SEED))
        nothing = {"fits": tf.constant(True), "ids": tf.fill([batch], tf.constant(REHEARSAL, tf.int64))}
        with tf.control_dependencies([packed, nonce]):
            opened = tf.cond(rehearsal, lambda: nothing, lambda: _alone(commit))
        with tf.control_dependencies([require(opened["fits"], FULL, self.slots, batch)]):
            return tf.identity(opened["ids"])

    def step(self, ids: tf.Tensor, n: tf.Tensor) -> Chunk:
        """Draws the next n units of every session, and stores the new states; for `REHEARSAL` alone, stores nothing."""
        rehearsal = tf.reduce_all(tf.equal(ids, REHEARSAL))
        slots = tf.bitwise.bitwise_and(ids, tf.constant(MAX_SLOTS - 1, tf.int64))
        _, _, times = tf.unique_with_counts(slots)
        with tf.control_dependencies([require(tf.reduce_all(tf.equal(times, 1)), REPEATED, ids)]):
            slots = tf.identity(slots)

        def fetch() -> Tensors:
            found, inside = self._found(ids, slots)
            counters = self._counters.rows(inside)
            place = 2 * inside + tf.bitwise.bitwise_and(counters, tf.constant(1, tf.int64))
            return {"found": found, "counters": counters, "rows": self._copies.rows(place)}

        fetched = _alone(fetch)
        found, counters = fetched["found"], fetched["counters"]
        rows = states.from_bytes(fetched["rows"], self.sampler.spec)
        with tf.control_dependencies([require_none(~found & ~rehearsal, ids, UNKNOWN)]):
            rows = tf.cond(rehearsal, lambda: self._rehearsed(rows), lambda: rows)
        rows, chunk = self.sampler.step(rows, n, "session_step")

        def commit() -> Tensors:
            # A session that was alive when the step began stays so: no other session has taken its slot.
            found, inside = self._found(ids, slots, expired=True)
            current = tf.equal(self._counters.rows(inside), counters)

            def write() -> tf.Tensor:
                place = 2 * slots + tf.bitwise.bitwise_and(counters + 1, tf.constant(1, tf.int64))
                expiry = tf.fill(tf.shape(slots), tf.timestamp() + self.ttl)
                writes = [self._copies.write(place, packed), self._expiry.write(slots, expiry)]
                with tf.control_dependencies(writes):
                    published = self._counters.write(slots, counters + 1)
                with tf.control_dependencies([published]):
                    return tf.constant(True)

            done = tf.cond(tf.reduce_all(found & current), write, lambda: tf.constant(False))
            return {"found": found, "current": current, "done": done}

        # This must not even begin before all that is to be written is there.
        packed = states.to_bytes(rows, self.sampler.spec)
        with tf.control_dependencies([packed, *chunk.outputs.values()]):
            nothing = {"found": tf.ones_like(found), "current": tf.ones_like(found), "done": rehearsal}
            kept = tf.cond(rehearsal, lambda: nothing, lambda: _alone(commit))
        checks = [require_none(~kept["found"], ids, UNKNOWN), require_none(~kept["current"], ids, OVERTAKEN)]
        with tf.control_dependencies([*checks, kept["done"]]):
            return Chunk(*(None if x is None else tf.identity(x) for x in chunk))

    @staticmethod
    def _rehearsed(rows: Tensors) -> Tensors:
        """Replaces states of slots that belong to other sessions by states at the beginning."""
        return {name: tf.ones_like(x) if name == "temperature" else tf.zeros_like(x) for name, x in rows.items()}

    def end(self, ids: tf.Tensor) -> tf.Tensor:
        """Gives slots back; int32 [B], 0 where a session is unknown, so that a call may be repeated."""
        slots = tf.bitwise.bitwise_and(ids, tf.constant(MAX_SLOTS - 1, tf.int64))

        def commit() -> Tensors:
            found, inside = self._found(ids, slots, expired=True)
            mine = tf.boolean_mask(inside, found)
            with tf.control_dependencies([self._ids.write(mine, tf.zeros_like(mine))]):
                return {"ended": tf.cast(found, tf.int32)}

        return _alone(commit)["ended"]

    def stats(self) -> Tensors:
        """Counts of slots and sessions."""

        def count() -> Tensors:
            living = tf.not_equal(self._ids.read(), 0) & (self._expiry.read() > tf.timestamp())
            events = self._events.read()
            return {
                "active": tf.math.count_nonzero(living),
                "begun": events[_BEGUN],
                "reclaimed": events[_RECLAIMED],
            }

        constants = {"slots": tf.constant(self.slots, tf.int64), "ttl_seconds": tf.constant(self.ttl, tf.float32)}
        return {**constants, **_alone(count)}

    def _found(self, ids: tf.Tensor, slots: tf.Tensor, expired: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns which ids are those of sessions, living ones unless `expired`, and their slots; called alone."""
        inside = slots < self.slots
        slots = tf.where(inside, slots, tf.zeros_like(slots))
        found = inside & (ids > 0) & tf.equal(self._ids.rows(slots), ids)
        return found if expired else found & (self._expiry.rows(slots) > tf.timestamp()), slots


def session_input() -> Input:
    """`session_id`: what `session_begin` returned."""
    return Input(
        "session_id",
        tf.TensorSpec([None], tf.int64),
        f"what session_begin returned; {REHEARSAL} alone draws from zeros and keeps nothing, to warm up",
    )


def units_input(sampler: Sampler) -> Input:
    """`n`: units of a step."""
    names = {"row": "rows of the image", "value": "values of the sequence", "cell": "cells, in the order of drawing,"}
    return count_input("n", f"{names[sampler.unit]} to draw; fewer at the end of the event", MAX_LENGTH, default=1)
