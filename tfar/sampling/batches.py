"""Any number of events from one compiled loop: padded batches, and chunks with progress in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfar.core.compiled import CompiledFunctions
from tfar.core.event import Stage
from tfar.sampling import incremental, naive
from tfar.sampling.draw import Draw
from tfar.sampling.observed import observed_units

SAMPLERS: dict[str, Any] = {"incremental": incremental, "naive": naive}

# With progress, the loop of a batch is cut in about so many chunks.
_CHUNKS = 16


def draw_in_batches(
    stage: Stage,
    compiled: CompiledFunctions,
    draw: Draw,
    context: Any,
    *,
    method: str,
    batch_size: int,
    jit_compile: bool,
    progress: Callable[[int, int], None] | None,
) -> tf.Tensor:
    """Draws the events that `draw` describes.

    Args:
        stage: the model.
        compiled: where the loops of this model are kept.
        draw: noise, temperature, values and observed flags of all events; `values` is never None.
        context: second argument of the network, for all events.
        method: a key of `SAMPLERS`.
        batch_size: events drawn together; the last batch is padded, so that one shape is compiled.
        jit_compile: compile the loop with XLA.
        progress: called with (units done, units in all).

    Returns:
        Values [num, *grid, C].
    """
    num = int(draw.noise.shape[0])
    chunks = 1 if progress is None else _CHUNKS
    starts = range(0, num, batch_size)
    parts = []
    for index, start in enumerate(starts):
        rows = np.minimum(np.arange(start, start + batch_size), num - 1)

        def take(x: Any, rows: np.ndarray = rows) -> Any:
            return x if x is None or len(rows) == num else tf.gather(x, rows)

        def report(done: int, total: int, index: int = index) -> None:
            if progress is not None:
                progress(index * total + done, len(starts) * total)

        batch = Draw(take(draw.noise), take(draw.temperature), take(draw.values), take(draw.observed))
        batch_context = tf.nest.map_structure(take, context)
        parts.append(_draw_batch(stage, compiled, batch, batch_context, method, jit_compile, chunks, report))
    return parts[0] if len(parts) == 1 else tf.concat(parts, 0)[:num]


def _draw_batch(
    stage: Stage,
    compiled: CompiledFunctions,
    draw: Draw,
    context: Any,
    method: str,
    jit_compile: bool,
    chunks: int,
    report: Callable[[int, int], None],
) -> tf.Tensor:
    """Start, block of known units, and the chunks of the loop."""
    sampler = SAMPLERS[method]
    units = sampler.num_units(stage, int(np.prod(draw.values.shape[1:-1])))
    length = 0
    if draw.observed is not None and method == "incremental":
        length = observed_units(stage, draw.observed, context)

    def start(values, context):
        return sampler.start(stage, values, context)

    def prefill(carry, context):
        return sampler.prefill(stage, carry, context, length)

    def advance(carry, draw, context, begin, end):
        return sampler.advance(stage, carry, Draw(*draw), context, begin, end)

    def finish(carry):
        return sampler.values(stage, carry)

    def whole(draw, context):
        return finish(advance(start(draw[2], context), draw, context, 0, units))

    given = (draw.noise, draw.temperature, draw.values, draw.observed)
    if chunks == 1 and not length:
        # One call: for small networks calls cost as much as the loop.
        return compiled.run(("whole", method, stage.key), whole, given, context, jit_compile=jit_compile)
    carry = compiled.run(("start", method, stage.key), start, draw.values, context)
    if length:
        carry = compiled.run(("prefill", length, stage.key), prefill, carry, context)
    step = -(-units // chunks)
    for begin in range(length, units, step):
        end = min(begin + step, units)
        span = (tf.constant(begin), tf.constant(end))
        carry = compiled.run(
            ("advance", method, stage.key), advance, carry, given, context, *span, jit_compile=jit_compile
        )
        report(end, units)
    return compiled.run("values", finish, carry)
