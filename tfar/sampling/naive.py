"""The naive sampler: runs the whole network for every position. Slow, obvious, and the oracle for the others."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tfar.core.event import Stage
from tfar.sampling.draw import Draw, batch_first, cells_first, reorder, write

Carry = dict[str, Any]


def num_units(stage: Stage, num_cells: int) -> int:
    """Number of units of a complete sample of `num_cells` cells: one per position."""
    return num_cells * stage.event.groups


def start(stage: Stage, values: tf.Tensor, context: Any) -> Carry:
    """The carry before the first position; `values` [B, *grid, C] is the canvas to begin with."""
    del stage, context
    return {"canvas": cells_first(values)}


def advance(stage: Stage, carry: Carry, draw: Draw, context: Any, start: tf.Tensor, stop: tf.Tensor) -> Carry:
    """Draws positions start, ..., stop - 1 of the ordering."""
    event, order = stage.event, stage.order(context)
    draw = draw.by_cell(event)
    stored = in_order = lambda cells: cells
    if order is not None:
        stored, in_order = (lambda cells: reorder(cells, order[1])), (lambda cells: reorder(cells, order[0]))
        draw = draw.in_order(order[0])

    def body(t: tf.Tensor, canvas: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        rank = t // event.groups
        outputs = stage.run(stage.encode(batch_first(stored(canvas), event)), context)
        params = in_order(cells_first(outputs))[rank]
        params = tf.reshape(params, [-1, event.groups, event.head.params_size])
        if event.groups == 1:
            value = draw.pixel(event, params[:, 0], rank)
        else:
            # The channel is a tensor here, so every channel is drawn and one is kept.
            drawn = tf.stack([draw.channel(event, params[:, c], rank, c) for c in range(event.groups)], 1)
            value = tf.where(tf.range(event.groups) == t % event.groups, drawn, canvas[rank])
        return t + 1, write(canvas, rank, value)

    canvas = in_order(carry["canvas"])
    _, canvas = tf.while_loop(lambda t, _: t < stop, body, (tf.convert_to_tensor(start), canvas), parallel_iterations=1)
    return {"canvas": stored(canvas)}


def values(stage: Stage, carry: Carry) -> tf.Tensor:
    """The canvas, [B, *grid, C]."""
    return batch_first(carry["canvas"], stage.event)
