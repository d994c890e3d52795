"""Speculative decoding: a small draft model proposes symbols, the model checks several of them in one pass.

    propose    the draft continues what is known by k symbols, one after the other, from the noise of these symbols
    check      one pass of the model over all k (`Stage.read`) chooses a symbol at every place, from the same noise
    accept     symbols up to and with the first that differs are the model's own; the draft goes on behind them

Both models invert their distributions at the same noise, so where they agree roughly they choose the same symbol, and
the text is the one that the model alone decodes from this noise, not only one of the same distribution. Examples of a
batch stand at one position: the smallest number of accepted symbols counts for all; what others have beyond is kept.

Networks whose state can be taken back (`tfar.core.rewinding`: attention with a cache) go on behind the last accepted
symbol. Others check the same k symbols again until all of them are right, as fixed-point iteration does.

References:
    Leviathan, Kalman, Matias, Fast Inference from Transformers via Speculative Decoding, 2023 (accepts by chance, exact
    in distribution).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from tfar.core.carry import Carry
from tfar.core.protocols import Head
from tfar.core.request import Request
from tfar.core.slicing import put, put_block, take
from tfar.core.stage import Stage


@dataclasses.dataclass(frozen=True)
class Speculation:
    """What the proposals of a draft were worth.

    Attributes:
        steps: symbols that a pass of the model checks, k.
        passes: such passes; the last symbols of a text, less than k, are decoded one by one.
        accepted: proposals behind a right beginning that the model chose, too, over all sequences.
        rejected: proposals behind a right beginning that it did not choose.
    """

    steps: int
    passes: int
    accepted: int
    rejected: int

    @property
    def acceptance(self) -> float:
        """Share of the proposals behind a right beginning that were accepted."""
        return self.accepted / max(1, self.accepted + self.rejected)


class Speculated(NamedTuple):
    """A batch that is being decoded.

    Attributes:
        carry: of the model, at the beginning of the window of k symbols.
        draft: carry of the draft, at `position`.
        x: int32 [length, B]; symbols of a sequence from `right` on are guesses.
        right: int32 [B], symbols of a sequence that are known to be right.
        position: int32 [], the least of `right`.
        lengths: int32 [B], symbols up to and with the stop symbol, as far as `position`.
        log_prob: float32 [B], nats of these symbols.
        done: bool [B], whether a stop symbol is among them.
        counts: int32 [3], passes, accepted and rejected proposals.
    """

    carry: Carry
    draft: Carry
    x: tf.Tensor
    right: tf.Tensor
    position: tf.Tensor
    lengths: tf.Tensor
    log_prob: tf.Tensor
    done: tf.Tensor
    counts: tf.Tensor


# (head, params [..., B, P], places [...]) -> symbols int32 [..., B]
Rule = Callable[[Head, tf.Tensor, tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Speculative:
    """A model, its draft, and the rule by which both choose symbols.

    Attributes:
        stage: the model.
        context: of the sequences.
        draft: the draft model.
        draft_context: of the sequences.
        rule: chooses symbols by parameters and noise.
        steps: symbols of a window, k.
        stop: the symbol behind which a sequence ends, or -1.
        rewinds: whether the model's state can be taken back.
    """

    stage: Stage
    context: Request
    draft: Stage
    draft_context: Request
    rule: Rule
    steps: int
    stop: int
    rewinds: bool

    def run(self, state: Speculated, length: int | tf.Tensor) -> Speculated:
        """Decodes as long as a whole window lies in front of `length`."""

        def goes_on(state: Speculated) -> tf.Tensor:
            return (state.carry.position + self.steps <= length) & ~tf.reduce_all(state.done)

        (state,) = tf.while_loop(goes_on, lambda state: (self._step(state),), (state,), parallel_iterations=1)
        return state

    def _step(self, state: Speculated) -> Speculated:
        """Proposes, checks and accepts."""
        first, k, head = state.carry.position, self.steps, self.stage.event.head
        guesses = take(self._propose(state), 0, first, k)
        outputs, after = self.stage.read(
            state.carry, tf.cast(tf.transpose(guesses), head.dtype)[..., None], self.context
        )
        outputs, places = tf.transpose(outputs, [1, 0, 2]), first + tf.range(k)
        chosen = self.rule(head, outputs, places)
        # Symbols in front of `position` are counted already, and a sequence with a stop symbol there is done.
        ends = (chosen == self.stop) & (places >= state.position)[:, None]
        ended = state.done | (tf.cumsum(tf.cast(ends, tf.int32), 0, exclusive=True) > 0)
        if self.stop >= 0:
            chosen = tf.where(ended, self.stop, chosen)
        known = places[:, None] < state.right
        agree = known | (chosen == guesses)
        leading = first + tf.reduce_sum(tf.math.cumprod(tf.cast(agree, tf.int32), 0), 0)
        right = tf.minimum(leading + 1, first + k)
        position = tf.reduce_min(right)
        x = put_block(state.x, first, tf.where(known | (places[:, None] >= right), guesses, chosen))
        fresh = ((places >= state.position) & (places < position))[:, None] & ~ended
        nats = tf.gather(tf.nn.log_softmax(head.logits(outputs)), chosen, axis=2, batch_dims=2)
        accepted, rejected = (leading - state.right), tf.cast(leading < first + k, tf.int32)
        worth = tf.stack([tf.where(state.done, 0, accepted), tf.where(state.done, 0, rejected)])
        return Speculated(
            self._move(state.carry, after, x, position),
            self._follow(state, x, position),
            x,
            right,
            position,
            state.lengths + tf.reduce_sum(tf.cast(fresh, tf.int32), 0),
            state.log_prob + tf.cast(tf.reduce_sum(tf.where(fresh, nats, 0.0), 0), tf.float32),
            state.done | tf.reduce_any(fresh & (chosen == self.stop), 0),
            state.counts + tf.concat([[1], tf.reduce_sum(worth, 1)], 0),
        )

    def _propose(self, state: Speculated) -> tf.Tensor:
        """Returns `x` with guesses of the draft up to the end of the window, behind what is right."""
        end = state.carry.position + self.steps

        def step(carry: Carry, x: tf.Tensor, done: tf.Tensor) -> tuple[Carry, tf.Tensor, tf.Tensor]:
            place = carry.position
            params, pending = self.draft.predict(carry, self.draft_context)
            value = self.rule(self.draft.event.head, params, place)
            if self.stop >= 0:
                value = tf.where(done, self.stop, value)
            value = tf.where(place < state.right, x[place], value)
            cell = tf.cast(value, self.draft.event.head.dtype)[:, None]
            return self.draft.accept(pending, cell), put(x, place, value), done | (value == self.stop)

        loop = (state.draft, state.x, state.done)
        return tf.while_loop(lambda carry, *_: carry.position < end, step, loop, parallel_iterations=1)[1]

    def _follow(self, state: Speculated, x: tf.Tensor, position: tf.Tensor) -> Carry:
        """Returns the draft's carry at `position`, behind symbols that are right in all sequences."""

        def step(carry: Carry) -> tuple[Carry]:
            _, pending = self.draft.predict(carry, self.draft_context)
            return (self.draft.accept(pending, tf.cast(x[carry.position], self.draft.event.head.dtype)[:, None]),)

        (carry,) = tf.while_loop(lambda carry: carry.position < position, step, (state.draft,), parallel_iterations=1)
        return carry

    def _move(self, before: Carry, after: Carry, x: tf.Tensor, position: tf.Tensor) -> Carry:
        """Returns the model's carry in front of the next window."""
        last = tf.cast(x[position - 1], before.last.dtype)[:, None]
        if self.rewinds:
            return Carry(after.state, last, position)
        whole = position == before.position + self.steps
        return tf.nest.map_structure(
            lambda new, old: tf.where(whole, new, old), Carry(after.state, last, position), before
        )
