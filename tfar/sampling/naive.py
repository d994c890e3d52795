"""The naive sampler: runs the whole network for every position. Slow, obvious, and the oracle for the others."""

from __future__ import annotations

import tensorflow as tf

from tfar.core.carry import Site
from tfar.core.request import Request
from tfar.core.slicing import put
from tfar.core.stage import Stage
from tfar.sampling.inputs import SampleInputs, batch_first, cells_first
from tfar.sampling.spans import Span, even_spans


def num_units(stage: Stage, num_cells: int | tf.Tensor) -> int | tf.Tensor:
    """Number of units of a complete sample of `num_cells` cells: one for each."""
    del stage
    return num_cells


def known(stage: Stage, length: int, units: int) -> int:
    """How many of the first `length` units, which are known, are left out: none."""
    del stage, length, units
    return 0


def spans(stage: Stage, first: int, units: int, chunks: int) -> list[Span]:
    """Cuts units first, ..., units - 1 into about `chunks` spans."""
    del stage
    return even_spans(first, units, chunks)


def start(stage: Stage, inputs: SampleInputs, context: Request) -> tf.Tensor:
    """Returns the canvas to begin with, [N, B, C] in the order of drawing."""
    order = stage.order(context)
    return cells_first(inputs.canvas, None if order is None else order[0])


def advance(
    stage: Stage,
    canvas: tf.Tensor,
    inputs: SampleInputs,
    context: Request,
    start: int | tf.Tensor,
    stop: int | tf.Tensor,
) -> tf.Tensor:
    """Draws cells start, ..., stop - 1 of the order, with one pass of the network for each colour of each."""
    event, order = stage.event, stage.order(context)
    cells = None if order is None else order[0]
    choose = inputs.chooser(event, cells)

    def body(t: tf.Tensor, canvas: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        for group in range(event.groups):
            outputs = stage.parallel(values(stage, canvas, context), context)
            params = cells_first(outputs, cells)[t]
            params = tf.reshape(params, [-1, event.groups, event.head.params_size])[:, group]
            value, _ = choose(params, Site(t, t, group), ())
            if event.groups > 1:
                value = tf.concat([canvas[t][:, :group], value, canvas[t][:, group + 1 :]], 1)
            canvas = put(canvas, t, value)
        return t + 1, canvas

    return tf.while_loop(lambda t, _: t < stop, body, (tf.convert_to_tensor(start), canvas), parallel_iterations=1)[1]


def values(stage: Stage, canvas: tf.Tensor, context: Request) -> tf.Tensor:
    """Returns the canvas as it is stored, [B, *grid, C]."""
    order = stage.order(context)
    return batch_first(canvas, stage.event, None if order is None else order[1])
