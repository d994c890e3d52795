"""The sampler by fixed-point iteration: all sites of a block at once, again and again, until nothing changes.

    x <- F(x; noise)            F_i(x; noise) = draw from p(x_i | x_<i) by the noise of site i

F_i depends on the sites before i alone, so F has one fixed point: the sample that the incremental sampler draws from
the same noise. After k passes the first k sites are right, usually many more, and a pass that changes none but the last
site proves it: there are never more passes than sites. Values have to be whole numbers; real ones would change by
rounding in every pass.

A block is one or several units (rows of an image, steps of a sequence). Passes over a block read the state of the
units before it, which are finished; where one block is the whole event they are parallel passes of the network. A block
is left when nothing in it changes for any example.

References:
    Song, Meng, Liao, Ermon, Accelerating Feedforward Computation via Parallel Nonlinear Equation Solving, 2021.
    Wiggers, Hoogeboom, Predictive Sampling with Forecasting Autoregressive Models, 2020.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfar.core import compat
from tfar.core.invariants import invariants
from tfar.core.protocols import Head
from tfar.core.request import Request
from tfar.core.sizes import batch_size
from tfar.core.slicing import take
from tfar.core.stage import Stage
from tfar.sampling import incremental
from tfar.sampling.inputs import SampleInputs, batch_first, cells_first
from tfar.sampling.iteration import Forecasts, Iterated, Iteration, to_units
from tfar.sampling.spans import Span

# Steps of a sequence in a block, where none are given.
_STEPS = 16


class Passes(NamedTuple):
    """How many passes events took.

    Attributes:
        per_block: int32 [num, blocks], passes over each block; equal for examples that are drawn together.
        settled: int32 [num, *positions], the pass over its block that changed a position last; 0 where the first guess
            was right.
    """

    per_block: np.ndarray
    settled: np.ndarray

    @property
    def total(self) -> np.ndarray:
        """Passes over all blocks, int [num]."""
        return self.per_block.sum(1)


def check_head(head: Head) -> None:
    """Raises ValueError unless the head's values are whole numbers."""
    if head.levels is None:
        raise ValueError(
            f"method='fixed_point' takes heads whose values are whole numbers, got {head!r}: real values never come to "
            "rest, as every pass rounds them in another way; use method='incremental'"
        )


def block_size(stage: Stage, units: int, block: int | None = None) -> int:
    """Returns the units of a block.

    Args:
        stage: the model.
        units: of the event.
        block: as it is asked for; None chooses the whole event where that costs little (weights of every position's
            own, equal ranks), a row of an image or the fewest that a change of resolution allows, 16 steps of a
            sequence.

    Raises:
        ValueError: the network changes resolution at rows between two blocks.
    """
    if any(ordering.has_ties for ordering in stage.orderings):
        return units
    if block is not None:
        if block < units and block % stage.period:
            raise ValueError(f"block must be a multiple of {stage.period} {stage.unit}s for this network, got {block}")
        return min(block, units)
    if any(not getattr(layer, "positions_share_weights", True) for layer in compat.all_layers(stage.network)):
        return units
    return min(stage.period if stage.is_image else _STEPS, units)


@dataclasses.dataclass(frozen=True)
class FixedPoint:
    """The sampler, see `tfar.sampling`.

    Attributes:
        block: units of a block; None chooses, see `block_size`.
        forecaster: guesses the first values of every block.
    """

    block: int | None = None
    forecaster: Forecasts | None = None

    def num_units(self, stage: Stage, num_cells: int) -> int:
        """Number of units of a complete sample of `num_cells` cells: rows of an image, steps of a sequence."""
        return num_cells // stage.width

    def spans(self, stage: Stage, first: int, units: int, chunks: int) -> list[Span]:
        """Cuts units first, ..., units - 1 into about `chunks` spans of whole blocks, and a block of what is left."""
        size = block_size(stage, units, self.block)
        whole = (units - first) // size
        step, end = size * max(1, -(-whole // chunks)), first + whole * size
        found = [Span(begin, min(begin + step, end), {"size": size}) for begin in range(first, end, step)]
        return [*found, Span(end, units, {"size": units - end})] if end < units else found

    def start(self, stage: Stage, inputs: SampleInputs, context: Request) -> Iterated:
        """Returns the state before the first block; known values are among the cells."""
        order, batch = stage.order(context), batch_size(inputs.canvas)
        cells = cells_first(inputs.canvas, None if order is None else order[0])
        units = self.num_units(stage, cells.shape[0])
        ahead: Any = ()
        if self.forecaster is not None:
            ahead = self.forecaster.stage(stage).begin(batch, self.forecaster.context(context))
        return Iterated(
            stage.begin(batch, context),
            cells,
            tf.zeros([cells.shape[0], batch, stage.event.groups], tf.int32),
            tf.zeros([units], tf.int32),
            tf.constant(0),
            ahead,
        )

    def known(self, stage: Stage, length: int, units: int) -> int:
        """How many of the first `length` units, which are known, are read; passes go over the others too."""
        if block_size(stage, units, self.block) == units:
            return 0  # the one block is the whole event
        return length - length % stage.period

    def blocks(self, stage: Stage, length: int) -> list[int]:
        """Sizes of the blocks in which known units are read."""
        return incremental.blocks(stage, length)

    def read(self, stage: Stage, length: int, drawn: Iterated, context: Request) -> Iterated:
        """Takes the next `length` units from the known cells in one parallel block."""
        carry, ahead = drawn.carry, drawn.ahead
        units = to_units(stage, take(drawn.cells, 0, carry.position * stage.width, length * stage.width))
        if stage.period > 1:  # as in `incremental.read`
            carry = carry._replace(position=tf.constant(0))
        if self.forecaster is not None:
            ahead = self.forecaster.stage(stage).read(ahead, units, self.forecaster.context(context))[1]
        return drawn._replace(carry=stage.read(carry, units, context)[1], ahead=ahead)

    def advance(
        self,
        stage: Stage,
        drawn: Iterated,
        inputs: SampleInputs,
        context: Request,
        start: int | tf.Tensor,
        stop: int | tf.Tensor,
        size: int,
    ) -> Iterated:
        """Draws units start, ..., stop - 1 in blocks of `size` units, which divides their number."""
        del start
        iteration = Iteration.of(stage, inputs, context, self.forecaster)
        with invariants():
            if size == drawn.per_block.shape[0]:
                return iteration.draw_event(drawn)
            (drawn,) = tf.while_loop(
                lambda drawn: drawn.carry.position < stop,
                lambda drawn: (iteration.draw_block(drawn, size),),
                (drawn,),
                parallel_iterations=1,
            )
        return drawn

    def values(self, stage: Stage, drawn: Iterated, context: Request) -> tf.Tensor:
        """Returns the values as they are stored, [B, *grid, C]."""
        order = stage.order(context)
        return batch_first(drawn.cells, stage.event, None if order is None else order[1])

    def passes(self, stage: Stage, drawn: Iterated, context: Request) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns passes over the blocks [B, units], 0 behind the last, and `Passes.settled` by cells [B, *grid, G]."""
        order, batch = stage.order(context), batch_size(drawn.carry.last)
        settled = batch_first(drawn.settled, stage.event, None if order is None else order[1])
        return tf.repeat(drawn.per_block[None], batch, 0), settled
