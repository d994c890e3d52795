"""The incremental sampler: every activation is computed once, at nearly the cost of one parallel pass.

Images (networks of two stacks or of masked convolutions, in raster order):

    for each row i:                   with Incremental(state, at=i, phase="row"):         network(row i - 1)
        for each pixel j:             with Incremental(state, at=(i, j), phase="pixel"):  network(pixel before)
            for each ordered channel c: the same pixel phase again with one more channel known; the last is kept

Sequences:

    for each step t:                  with Incremental(state, at=t):                      network(element before)

The network is called whole in every phase; what a phase does not need is pruned by the graph compiler.
"""

from __future__ import annotations

import functools
from typing import Any

import tensorflow as tf

from tfar.core.event import Stage
from tfar.core.invariants import invariants
from tfar.core.scope import Incremental, State, initial_state, state_spec
from tfar.core.sizes import batch_size
from tfar.core.slicing import take
from tfar.sampling.draw import Draw, batch_first, cells_first, reorder, write

Carry = dict[str, Any]


def num_units(stage: Stage, num_cells: int) -> int:
    """Number of units of a complete sample of `num_cells` cells: rows of an image, steps of a sequence."""
    return stage.event.grid[0] if len(stage.event.grid) == 2 else num_cells


def start(stage: Stage, values: tf.Tensor, context: Any) -> Carry:
    """The carry before the first unit; `values` [B, *grid, C] is the canvas to begin with."""
    canvas, batch = cells_first(values), batch_size(values)
    inputs, dtype = _inputs(stage, canvas)
    previous = tf.zeros([batch, *list(inputs.values())[-1]], dtype)
    state = initial_state(stage.network, batch * stage.copies, inputs, context)
    return {"canvas": canvas, "state": state, "previous": previous}


def carry_spec(stage: Stage, context: Any) -> dict[str, Any]:
    """What `start` returns besides the canvas: tensors whose shapes have None in place of the rows of the batch.

    Args:
        stage: the model.
        context: second argument of the network, an example of any number of rows.
    """
    inputs, dtype = _inputs(stage, tf.zeros([1, 1, stage.event.channels], stage.event.head.dtype))
    previous = tf.TensorSpec([None, *list(inputs.values())[-1]], dtype)
    return {"state": dict(state_spec(stage.network, inputs, context)), "previous": previous}


def _inputs(stage: Stage, canvas: tf.Tensor) -> tuple[dict[str, tuple[int, ...]], tf.DType]:
    """Shapes by phase of what the network is given, without the batch, and their type."""
    encoded = stage.encode(canvas[:1])
    features = encoded.shape[-1]
    if len(stage.event.grid) == 2:
        return {"row": (1, stage.event.grid[1], features), "pixel": (1, 1, features)}, encoded.dtype
    return {"step": (1, features)}, encoded.dtype


def prefill(stage: Stage, carry: Carry, context: Any, length: int) -> Carry:
    """Takes the first `length` units from the canvas in one parallel block: the state of `length` single steps."""
    event, canvas = stage.event, carry["canvas"]
    encoded = stage.encode(batch_first(canvas, event))
    if len(event.grid) == 1:
        order = stage.order(context)
        if order is not None:
            cells_in_order = tf.convert_to_tensor(order[0])
            encoded = tf.gather(encoded, cells_in_order, axis=1, batch_dims=cells_in_order.shape.rank - 1)
        cells = encoded[:, :length]
        block = tf.concat([carry["previous"], cells[:, :-1]], 1)
        with Incremental(carry["state"], at=0, length=length) as scope:
            stage.run(block, context)
        return {"canvas": canvas, "state": scope.state, "previous": cells[:, -1:]}
    rows = encoded[:, :length]
    above = tf.pad(rows[:, :-1], [[0, 0], [1, 0], [0, 0], [0, 0]])
    pixels = tf.reshape(rows, [batch_size(rows), -1, 1, rows.shape[-1]])
    before = tf.reshape(tf.concat([carry["previous"], pixels[:, :-1]], 1), tf.shape(rows))
    with Incremental(carry["state"], at=0, length=length, phase="row") as scope:
        stage.run(above, context)
    with Incremental(scope.state, at=0, length=length, phase="pixel", now=stage.copy(rows)) as scope:
        stage.run(before, context)
    return {"canvas": canvas, "state": scope.state, "previous": rows[:, -1:, -1:]}


def advance(
    stage: Stage, carry: Carry, draw: Draw, context: Any, start: tf.Tensor, stop: tf.Tensor, origin: Any = 0
) -> Carry:
    """Draws units start, ..., stop - 1.

    Args:
        stage: the model.
        carry: what was drawn, and the state of the network.
        draw: noise, temperature and what is known.
        context: second argument of the network.
        start: first unit.
        stop: the unit after the last.
        origin: the step that the first cell of the canvas and of the draw belongs to: a stream of any length is drawn
            on a canvas of one chunk.
    """
    body = _row if len(stage.event.grid) == 2 else functools.partial(_step, origin=origin)
    draw = draw.by_cell(stage.event)
    order = stage.order(context)
    if order is not None:
        # The loop counts ranks, so that it need not look cells up, nor know whether rows have orders of their own.
        draw, carry = draw.in_order(order[0]), {**carry, "canvas": reorder(carry["canvas"], order[0])}
    with invariants():
        _, carry = tf.while_loop(
            lambda t, _: t < stop,
            lambda t, carry: (t + 1, body(stage, carry, draw, context, t)),
            (tf.convert_to_tensor(start), carry),
            parallel_iterations=1,
        )
    return carry if order is None else {**carry, "canvas": reorder(carry["canvas"], order[1])}


def values(stage: Stage, carry: Carry) -> tf.Tensor:
    """The canvas, [B, *grid, C]."""
    return batch_first(carry["canvas"], stage.event)


def _step(stage: Stage, carry: Carry, draw: Draw, context: Any, t: tf.Tensor, origin: Any) -> Carry:
    with Incremental(carry["state"], at=t) as scope:
        params = stage.run(carry["previous"], context)[:, 0]
    value = draw.pixel(stage.event, params, t - origin)
    return {
        "canvas": write(carry["canvas"], t - origin, value),
        "state": scope.state,
        "previous": stage.encode(value)[:, None],
    }


def _row(stage: Stage, carry: Carry, draw: Draw, context: Any, i: tf.Tensor) -> Carry:
    event = stage.event
    width, channels = event.grid[1], event.channels
    first = tf.maximum(i - 1, 0) * width
    above = stage.encode(tf.transpose(take(carry["canvas"], 0, first, width), [1, 0, 2])[:, None])
    above *= tf.cast(i > 0, above.dtype)
    with Incremental(carry["state"], at=i, phase="row") as scope:
        stage.run(above, context)

    def pixel(j: tf.Tensor, previous: tf.Tensor, canvas: tf.Tensor, state: State):
        cell = i * width + j
        if event.groups == 1:
            with Incremental(state, at=(i, j), phase="pixel") as scope:
                params = tf.squeeze(stage.run(previous, context), [1, 2])
            value = draw.pixel(event, params, cell)
        else:
            drawn: list[tf.Tensor] = []
            for channel in range(event.groups):
                # The same state once per channel; only the pass that knows all channels before the last is kept.
                padded = tf.stack(drawn + [tf.zeros_like(canvas[0, :, 0])] * (channels - channel), -1)
                now = stage.encode_drawn(padded, channel)[:, None, None]
                with Incremental(state, at=(i, j), phase="pixel", now=stage.copy(now)) as scope:
                    params = tf.squeeze(stage.run(previous, context), [1, 2])
                params = tf.reshape(params, [-1, event.groups, event.head.params_size])[:, channel]
                drawn.append(draw.channel(event, params, cell, channel))
            value = tf.stack(drawn, -1)
        return j + 1, stage.encode(value)[:, None, None], write(canvas, cell, value), scope.state

    _, previous, canvas, state = tf.while_loop(
        lambda j, *_: j < width,
        pixel,
        (0, carry["previous"], carry["canvas"], scope.state),
        parallel_iterations=1,
    )
    return {"canvas": canvas, "state": state, "previous": previous}
