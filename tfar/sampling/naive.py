"""The naive sampler: runs the whole network for every position. Slow, obvious, and the oracle for the others."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tfar.core.event import Stage
from tfar.sampling.draw import Draw, batch_first, cells_first, write

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
    event = stage.event
    draw = draw.by_cell(event)
    permutation = tf.constant(stage.ordering.permutation)

    def body(t: tf.Tensor, carry: Carry) -> tuple[tf.Tensor, Carry]:
        canvas = carry["canvas"]
        cell = permutation[t // event.groups]
        outputs = stage.run(stage.encode(batch_first(canvas, event)), context)
        batch = tf.shape(outputs)[0]
        params = tf.reshape(outputs, [batch, -1, event.groups, event.head.params_size])[:, cell]
        if event.groups == 1:
            value = draw.pixel(event, params[:, 0], cell)
        else:
            channel = t % event.groups
            # The channel is a tensor here, so every channel is drawn and one is kept.
            drawn = tf.stack([draw.channel(event, params[:, c], cell, c) for c in range(event.groups)], 1)
            value = tf.where(tf.range(event.groups) == channel, drawn, canvas[cell])
        return t + 1, {"canvas": write(canvas, cell, value)}

    _, carry = tf.while_loop(lambda t, _: t < stop, body, (tf.convert_to_tensor(start), carry), parallel_iterations=1)
    return carry


def values(stage: Stage, carry: Carry) -> tf.Tensor:
    """The canvas, [B, *grid, C]."""
    return batch_first(carry["canvas"], stage.event)
