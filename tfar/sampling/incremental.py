"""The incremental sampler: every activation is computed once, at nearly the cost of one parallel pass.

    for each row i:                  stage.open_row           the vertical stack at row i, from row i - 1
        for each pixel j:            stage.predict            everything else at (i, j), from the pixel before
            for each ordered channel: the same again with one more channel known

    for each step t of a sequence:   stage.predict            everything at t, from the element before

The network is called whole in every phase; what a phase does not need is pruned by the graph compiler.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from tfar.core.carry import Carry, Choose
from tfar.core.invariants import invariants
from tfar.core.request import Request
from tfar.core.sizes import batch_size
from tfar.core.slicing import put, take
from tfar.core.stage import Stage
from tfar.sampling.inputs import SampleInputs, batch_first, cells_first
from tfar.sampling.spans import Span, even_spans

# Of the blocks in which known units are read, the largest first.
BLOCK_SIZES = tuple(2**power for power in range(9, -1, -1))


class Drawn(NamedTuple):
    """A batch that is being drawn.

    Attributes:
        carry: of the stage.
        canvas: raw values in the order of drawing, cells first: [U, B, C], or rows [U, W, B, C].
    """

    carry: Carry
    canvas: tf.Tensor


def num_units(stage: Stage, num_cells: int | tf.Tensor) -> int | tf.Tensor:
    """Number of units of a complete sample of `num_cells` cells: rows of an image, steps of a sequence."""
    return num_cells // stage.width


def known(stage: Stage, length: int, units: int) -> int:
    """How many of the first `length` units, which are known, are read in blocks: all."""
    del stage, units
    return length


def spans(stage: Stage, first: int, units: int, chunks: int) -> list[Span]:
    """Cuts units first, ..., units - 1 into about `chunks` spans."""
    del stage
    return even_spans(first, units, chunks)


def start(stage: Stage, inputs: SampleInputs, context: Request) -> Drawn:
    """Returns the state before the first unit; known values lie on the canvas."""
    order = stage.order(context)
    cells = cells_first(inputs.canvas, None if order is None else order[0])
    batch = batch_size(inputs.canvas)
    canvas = tf.reshape(cells, [-1, stage.width, batch, cells.shape[-1]]) if stage.is_image else cells
    return Drawn(stage.begin(batch, context), canvas)


def read(stage: Stage, length: int, drawn: Drawn, context: Request) -> Drawn:
    """Takes the next `length` units from the canvas in one parallel block."""
    units = take(drawn.canvas, 0, drawn.carry.position, length)
    cells = tf.transpose(units, [2, 0, 1, 3] if stage.is_image else [1, 0, 2])
    carry = drawn.carry
    if stage.period > 1:  # the one block is the beginning, see `blocks`; the position has to be known in a trace
        carry = carry._replace(position=tf.constant(0))
    return Drawn(stage.read(carry, cells, context)[1], drawn.canvas)


def blocks(stage: Stage, length: int) -> list[int]:
    """Sizes of the blocks in which the first `length` known units are read: few programs serve every length."""
    if stage.period > 1:
        return [length]  # where resolutions change, a block has to begin at a known row
    found = []
    for size in BLOCK_SIZES:
        found += [size] * (length // size)
        length %= size
    return found


def advance(
    stage: Stage, drawn: Drawn, inputs: SampleInputs, context: Request, start: int | tf.Tensor, stop: int | tf.Tensor
) -> Drawn:
    """Draws units start, ..., stop - 1; the carry stands at `start`."""
    del start
    order = stage.order(context)
    choose = inputs.chooser(stage.event, None if order is None else order[0])
    return draw_units(stage, drawn, choose, context, stop)


def draw_units(
    stage: Stage, drawn: Drawn, choose: Choose, context: Request, stop: int | tf.Tensor, origin: Any = 0
) -> Drawn:
    """Draws units with `choose` until `stop` of them lie on the canvas.

    Args:
        stage: the model.
        drawn: the carry, and the canvas.
        choose: see `Stage.draw`.
        context: of the examples.
        stop: units of the canvas behind the last one that is drawn.
        origin: position of the first unit of the canvas; [B] where every example has a position of its own.
    """

    def place(carry: Any) -> tf.Tensor:
        # One counter for position and canvas: in a plain graph a variable of a loop costs as much as an operation.
        return carry.position - origin if not carry.position.shape.rank else (carry.position - origin)[0]

    def body(carry: Any, canvas: tf.Tensor) -> tuple[Any, tf.Tensor]:
        values, after, _ = stage.draw(carry, choose, (), context)
        values = tf.transpose(values, [1, 0, 2]) if stage.is_image else values
        return after, put(canvas, place(carry), values)

    carry = drawn.carry if stage.is_image else stage.open_steps(drawn.carry)
    begin = place(carry)
    with invariants():
        loop = (carry, drawn.canvas)
        carry, canvas = tf.while_loop(lambda carry, _: place(carry) < stop, body, loop, parallel_iterations=1)
    if stage.is_image:
        return Drawn(carry, canvas)
    last = tf.gather(canvas, tf.maximum(place(carry) - 1, 0))
    last = tf.where(place(carry) > begin, last, drawn.carry.last)
    return Drawn(stage.close_steps(carry, last), canvas)


def values(stage: Stage, drawn: Drawn, context: Request) -> tf.Tensor:
    """Returns the canvas as it is stored, [B, *grid, C]."""
    order, cells = stage.order(context), drawn.canvas
    if stage.is_image:
        cells = tf.reshape(cells, [stage.event.num_cells, batch_size(drawn.carry.last), stage.event.channels])
    return batch_first(cells, stage.event, None if order is None else order[1])
