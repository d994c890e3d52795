"""The sampler of orders with equal ranks: all cells of a rank at once, with one pass of the network for each rank.

Cells of one rank are independent given the cells before, so one pass draws them together. Where all ranks are equal the
whole event is drawn by one pass for every ordered colour.
"""

from __future__ import annotations

import tensorflow as tf

from tfar.core.request import Request
from tfar.core.stage import Stage
from tfar.sampling.inputs import SampleInputs
from tfar.sampling.spans import Span, even_spans


def num_units(stage: Stage, num_cells: int | tf.Tensor) -> int:
    """Number of units of a complete sample: the different ranks."""
    del num_cells
    return stage.orderings[0].num_ranks


def known(stage: Stage, length: int, units: int) -> int:
    """How many of the first `length` units, which are known, are left out: none."""
    del stage, length, units
    return 0


def spans(stage: Stage, first: int, units: int, chunks: int) -> list[Span]:
    """Cuts ranks first, ..., units - 1 into about `chunks` spans."""
    del stage
    return even_spans(first, units, chunks)


def start(stage: Stage, inputs: SampleInputs, context: Request) -> tf.Tensor:
    """Returns the canvas to begin with, [B, *grid, C] as stored."""
    del stage, context
    return inputs.canvas


def advance(
    stage: Stage,
    canvas: tf.Tensor,
    inputs: SampleInputs,
    context: Request,
    start: int | tf.Tensor,
    stop: int | tf.Tensor,
) -> tf.Tensor:
    """Draws the cells of ranks start, ..., stop - 1."""
    event = stage.event
    ranks = tf.constant(stage.orderings[0].ranks)[None, ..., None]

    def body(rank: tf.Tensor, canvas: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        for group in range(event.groups):
            outputs = stage.parallel(canvas, context)
            drawn = inputs.draw_all(event, outputs, group)
            own = tf.equal(ranks, rank)
            if event.groups > 1:
                own &= tf.equal(tf.range(event.channels), group)
            canvas = tf.where(own, drawn, canvas)
        return rank + 1, canvas

    return tf.while_loop(lambda t, _: t < stop, body, (tf.convert_to_tensor(start), canvas), parallel_iterations=1)[1]


def values(stage: Stage, canvas: tf.Tensor, context: Request) -> tf.Tensor:
    """Returns the canvas, [B, *grid, C]."""
    del stage, context
    return canvas
