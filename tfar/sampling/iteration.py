"""Passes over blocks of a batch, for the sampler by fixed-point iteration."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, cast

import tensorflow as tf

from tfar.core.carry import Carry
from tfar.core.event import Event
from tfar.core.request import Request
from tfar.core.sizes import batch_size
from tfar.core.slicing import put, put_block, take
from tfar.core.stage import Stage
from tfar.sampling.inputs import SampleInputs, batch_first, cells_first

State = dict[str, tf.Tensor]


class Forecasts(Protocol):
    """Guesses of what is drawn further ahead, from features of what is drawn; `tfar.models.forecaster.Forecaster`."""

    @property
    def serial(self) -> int:
        """Tells forecasters of one process apart."""

    @property
    def reach(self) -> int:
        """Cells that are forecast."""

    def check(self, stage: Stage) -> None:
        """Raises ValueError unless it belongs to a model of this kind."""

    def stage(self, stage: Stage) -> Stage:
        """The driver of the features, beside the model's stage."""

    def context(self, context: Request) -> Request:
        """The part of the model's context that it takes."""

    def forecast(self, features: tf.Tensor) -> tf.Tensor:
        """Features [B, F] of a cell -> outputs [B, reach, G * P] as the model's, from this cell on."""


class Iterated(NamedTuple):
    """A batch that is being drawn, in the order of drawing.

    Attributes:
        carry: of the stage in front of the next block; not used where one block is the whole event.
        cells: values [N, B, C].
        settled: int32 [N, B, G], see `Passes`.
        per_block: int32 [units], passes over the finished blocks; there is room for blocks of one unit.
        block: int32 [], how many blocks are finished.
        ahead: carry of the forecaster in front of the next block; empty without one.
    """

    carry: Carry
    cells: tf.Tensor
    settled: tf.Tensor
    per_block: tf.Tensor
    block: tf.Tensor
    ahead: Any


@dataclasses.dataclass(frozen=True)
class Iteration:
    """Passes over the blocks of one batch.

    Attributes:
        stage: the model.
        context: of the examples.
        temperature: [B].
        noise: in the order of drawing, [N, B, G * k].
        known: values and observed flags in the order of drawing, [N, B, C] each, or None.
        forecaster: guesses the first values of every block, or None.
    """

    stage: Stage
    context: Request
    temperature: tf.Tensor
    noise: tf.Tensor
    known: tuple[tf.Tensor, tf.Tensor] | None
    forecaster: Forecasts | None

    @classmethod
    def of(cls, stage: Stage, inputs: SampleInputs, context: Request, forecaster: Forecasts | None) -> Iteration:
        """Arranges the inputs of a batch in the order of drawing."""
        event, order = stage.event, stage.order(context)
        cells = None if order is None else order[0]
        noise = tf.reshape(inputs.noise, [tf.shape(inputs.noise)[0], -1, event.groups * event.head.noise_size])
        known = None
        if inputs.observed is not None:
            known = cells_first(inputs.canvas, cells), cells_first(inputs.observed, cells)
        return cls(stage, context, inputs.temperature, cells_first(noise, cells), known, forecaster)

    def draw_block(self, drawn: Iterated, size: int) -> Iterated:
        """Draws the next block of `size` units."""
        stage, carry = self.stage, drawn.carry
        place, count = carry.position * stage.width, size * stage.width
        known, ahead, above = take(drawn.cells, 0, place, count), drawn.ahead, None
        first = known
        if stage.is_image:
            # Rows begin as copies of the row before them.
            first = self._with_known(tf.tile(tf.transpose(carry.last, [1, 0, 2]), [size, 1, 1]), place, known)
        if self.forecaster is not None:
            features, _ = self._read_ahead(ahead, first)
            first = self._with_known(self._forecast(features[:, 0], first, place), place, known)
        if stage.is_image and size == 1:
            above = stage.read_above(carry, to_units(stage, first), self.context)

        def evaluate(cells: tf.Tensor) -> tuple[tf.Tensor, State]:
            outputs, after = stage.read(carry, to_units(stage, cells), self.context, above=above)
            return outputs, after.state

        cells, settled, passes, state = self._iterate(evaluate, first, place, carry.state)
        last = cells[-stage.width :]
        last = tf.transpose(last, [1, 0, 2]) if stage.is_image else last[0]
        if self.forecaster is not None:
            _, ahead = self._read_ahead(ahead, cells)
        return Iterated(
            Carry(state, last, carry.position + size),
            put_block(drawn.cells, place, cells),
            put_block(drawn.settled, place, settled),
            put(drawn.per_block, drawn.block, passes),
            drawn.block + 1,
            ahead,
        )

    def draw_event(self, drawn: Iterated) -> Iterated:
        """Draws the whole event as one block."""
        stage, event, order = self.stage, self.stage.event, self.stage.order(self.context)
        cell_of, rank_of = (None, None) if order is None else order

        def evaluate(cells: tf.Tensor) -> tuple[tf.Tensor, State]:
            outputs = stage.parallel(batch_first(cells, event, rank_of), self.context)
            return tf.transpose(cells_first(outputs, cell_of), [1, 0, 2]), {}

        first = drawn.cells
        if self.forecaster is not None:
            features, _ = self._read_ahead(drawn.ahead, first[: stage.width])
            first = self._with_known(self._forecast(features[:, 0], first, 0), 0, first)
        cells, settled, passes, _ = self._iterate(evaluate, first, 0, {})
        return drawn._replace(
            cells=cells, settled=settled, per_block=put(drawn.per_block, 0, passes), block=tf.constant(1)
        )

    def _iterate(
        self, evaluate: Callable[[tf.Tensor], tuple[tf.Tensor, State]], cells: tf.Tensor, place: Any, state: State
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, State]:
        """Repeats passes over a block until nothing changes.

        Args:
            evaluate: cells [n, B, C] -> outputs [B, n (in units of any shape), G * P], and a state behind the block.
            cells: the first guess, [n, B, C].
            place: rank of the first cell.
            state: of the shapes of those that `evaluate` returns.

        Returns:
            The cells; the pass that changed each last, int32 [n, B, G]; the number of passes; the state.
        """
        event: Event = self.stage.event
        count, groups = cells.shape[0], event.groups
        inputs = self._inputs(place, count)

        def one_pass(
            cells: tf.Tensor, changed: tf.Tensor, settled: tf.Tensor, passes: tf.Tensor, state: State
        ) -> tuple[Any, ...]:
            del changed
            outputs, state = evaluate(cells)
            outputs = tf.reshape(outputs, [-1, count, outputs.shape[-1]])
            found = tf.concat([inputs.draw_all(event, outputs, group) for group in range(groups)], -1)
            found = tf.transpose(found, [1, 0, 2])
            differs = found != cells
            if groups == 1:
                differs = tf.reduce_any(differs, -1, keepdims=True)
            settled = tf.where(differs, passes + 1, settled)
            # Nothing in the block depends on its last site.
            sites = tf.reshape(tf.transpose(differs, [1, 0, 2]), [-1, count * groups])
            return found, tf.reduce_any(sites[:, :-1]), settled, passes + 1, state

        settled = tf.zeros([count, tf.shape(cells)[1], groups], tf.int32)
        loop = (cells, tf.constant(True), settled, tf.constant(0), state)
        cells, _, settled, passes, state = tf.while_loop(
            lambda cells, changed, settled, passes, state: changed,
            one_pass,
            loop,
            parallel_iterations=1,
            maximum_iterations=count * groups,
        )
        return cells, settled, passes, state

    def _read_ahead(self, ahead: Carry, cells: tf.Tensor) -> tuple[tf.Tensor, Carry]:
        """Returns features [B, n, F] of a block's cells [n, B, C] for the forecaster, and its carry behind them."""
        forecaster: Any = self.forecaster
        stage = forecaster.stage(self.stage)
        features, ahead = stage.read(ahead, to_units(stage, cells), forecaster.context(self.context))
        return tf.reshape(features, [-1, cells.shape[0], features.shape[-1]]), ahead

    def _forecast(self, features: tf.Tensor, cells: tf.Tensor, place: Any) -> tf.Tensor:
        """Replaces the first cells of a guess [n, B, C] by draws from the forecasts at its first cell, [B, F]."""
        event, forecaster = self.stage.event, cast(Any, self.forecaster)
        reach = min(forecaster.reach, cells.shape[0])
        outputs = forecaster.forecast(features)[:, :reach]
        inputs = dataclasses.replace(self._inputs(place, reach), values=None, observed=None)
        found = tf.concat([inputs.draw_all(event, outputs, group) for group in range(event.groups)], -1)
        return tf.concat([tf.transpose(found, [1, 0, 2]), cells[reach:]], 0)

    def _inputs(self, place: Any, count: int) -> SampleInputs:
        """Returns the inputs of `count` cells from rank `place` on, [B, count, ...] each."""

        def block(x: tf.Tensor) -> tf.Tensor:
            return tf.transpose(x if count == x.shape[0] else take(x, 0, place, count), [1, 0, 2])

        known = (None, None) if self.known is None else tuple(block(x) for x in self.known)
        return SampleInputs(block(self.noise), self.temperature, *known)

    def _with_known(self, guess: tf.Tensor, place: Any, cells: tf.Tensor) -> tf.Tensor:
        """Replaces a guess [n, B, C] by `cells` where they are known."""
        return guess if self.known is None else tf.where(take(self.known[1], 0, place, guess.shape[0]), cells, guess)


def to_units(stage: Stage, cells: tf.Tensor) -> tf.Tensor:
    """Cells [n * W, B, C] -> [B, n, C] of a sequence, or rows [B, n, W, C]."""
    cells = tf.transpose(cells, [1, 0, 2])
    return tf.reshape(cells, [batch_size(cells), -1, stage.width, cells.shape[-1]]) if stage.is_image else cells
