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
    starts = range(0, num, batch_size)
    parts = []
    for index, start in enumerate(starts):
        rows = np.minimum(np.arange(start, start + batch_size), num - 1)

        def take(x: Any, rows: np.ndarray = rows) -> Any:
            return None if x is None else tf.gather(x, rows)

        def report(done: int, total: int, index: int = index) -> None:
            if progress is not None:
                progress(index * total + done, len(starts) * total)

        batch = Draw(take(draw.noise), take(draw.temperature), take(draw.values), take(draw.observed))
        batch_context = tf.nest.map_structure(take, context)
        chunks = 1 if progress is None else _CHUNKS
        parts.append(_draw_batch(stage, compiled, batch, batch_context, method, jit_compile, chunks, report))
    return tf.concat(parts, 0)[:num]


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
    carry = compiled.run(("start", method), lambda v, c: sampler.start(stage, v, c), draw.values, context)
    known, length = draw.values, 0
    if draw.observed is None:
        known = None
    elif method == "incremental":
        length = observed_units(stage, draw.observed, context)
    if length:
        prefill = lambda carry, c: sampler.prefill(stage, carry, c, length)  # noqa: E731
        carry = compiled.run(("prefill", length), prefill, carry, context)

    def advance(carry, noise, temperature, values, observed, context, begin, end):
        return sampler.advance(stage, carry, Draw(noise, temperature, values, observed), context, begin, end)

    units = sampler.num_units(stage, int(np.prod(draw.values.shape[1:-1])))
    step = -(-units // chunks)
    for begin in range(length, units, step):
        end = min(begin + step, units)
        arguments = (carry, draw.noise, draw.temperature, known, draw.observed, context)
        span = (tf.constant(begin), tf.constant(end))
        carry = compiled.run(("advance", method), advance, *arguments, *span, jit_compile=jit_compile)
        report(end, units)
    return sampler.values(stage, carry)
