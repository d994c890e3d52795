"""Any number of events from one compiled loop: padded batches, and chunks with progress in between."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfar.core.compiled import CompiledFunctions
from tfar.core.request import Request
from tfar.core.stage import Stage
from tfar.sampling import by_rank, incremental, naive
from tfar.sampling.inputs import SampleInputs
from tfar.sampling.observed import observed_units

SAMPLERS: dict[str, Any] = {"incremental": incremental, "naive": naive}

# With progress, the loop of a batch is cut in about so many chunks.
_CHUNKS = 16


def draw_whole(stage: Stage, inputs: SampleInputs, context: Request, method: str = "incremental") -> tf.Tensor:
    """Draws whole events as one piece of graph.

    Args:
        stage: the model.
        inputs: noise, temperature, values and observed flags; `values` is never None.
        context: of the events.
        method: a key of `SAMPLERS`.

    Returns:
        Values [B, *grid, C].
    """
    sampler = sampler_of(stage, method)
    cells = tf.shape(inputs.values)[1] if None in stage.event.grid else stage.event.num_cells
    state = sampler.start(stage, inputs, context)
    state = sampler.advance(stage, state, inputs, context, 0, sampler.num_units(stage, cells))
    return sampler.values(stage, state, context)


def sampler_of(stage: Stage, method: str) -> Any:
    """Returns the module that draws by this method; orders with equal ranks have one of their own."""
    return by_rank if any(ordering.has_ties for ordering in stage.orderings) else SAMPLERS[method]


def draw_in_batches(
    stage: Stage,
    compiled: CompiledFunctions,
    inputs: SampleInputs,
    context: Request,
    *,
    method: str,
    batch_size: int,
    jit_compile: bool,
    progress: Callable[[int, int], None] | None,
) -> tf.Tensor:
    """Draws the events that `inputs` describes.

    Args:
        stage: the model.
        compiled: the model's compiled functions.
        inputs: noise, temperature, values and observed flags of all events; `values` is never None.
        context: of all events.
        method: a key of `SAMPLERS`.
        batch_size: events drawn together; the last batch is padded, so that one shape is compiled.
        jit_compile: compile the loop with XLA.
        progress: called with (units done, units in all).

    Returns:
        Values [num, *grid, C].
    """
    num = int(inputs.noise.shape[0])
    chunks = 1 if progress is None else _CHUNKS
    starts = range(0, num, batch_size)
    parts = []
    for index, start in enumerate(starts):
        rows = np.minimum(np.arange(start, start + batch_size), num - 1)

        def take(x: Any, rows: np.ndarray = rows) -> Any:
            return x if x is None or len(rows) == num or not x.shape.rank else tf.gather(x, rows)

        def report(done: int, total: int, index: int = index) -> None:
            if progress is not None:
                progress(index * total + done, len(starts) * total)

        batch = SampleInputs(take(inputs.noise), take(inputs.temperature), take(inputs.values), take(inputs.observed))
        parts.append(_draw_batch(stage, compiled, batch, context.map(take), method, jit_compile, chunks, report))
    return parts[0] if len(parts) == 1 else tf.concat(parts, 0)[:num]


def _draw_batch(
    stage: Stage,
    compiled: CompiledFunctions,
    inputs: SampleInputs,
    context: Request,
    method: str,
    jit_compile: bool,
    chunks: int,
    report: Callable[[int, int], None],
) -> tf.Tensor:
    """Start, blocks of known units, and the chunks of the loop."""
    sampler = sampler_of(stage, method)
    units = sampler.num_units(stage, int(np.prod(inputs.values.shape[1:-1])))
    length = 0
    if inputs.observed is not None and sampler is incremental:
        length = observed_units(stage, inputs.observed, context)
    given = (inputs.noise, inputs.temperature, inputs.values, inputs.observed)

    def run(name: Any, function: Any, *arguments: Any, jit_compile: bool = False) -> Any:
        return compiled.run((name, sampler.__name__, stage.key), function, *arguments, jit_compile=jit_compile)

    def start(given, context):
        return sampler.start(stage, SampleInputs(*given), context)

    def advance(state, given, context, begin, end):
        return sampler.advance(stage, state, SampleInputs(*given), context, begin, end)

    def finish(state, context):
        return sampler.values(stage, state, context)

    if chunks == 1 and not length:
        # One call: for small networks calls cost as much as the loop.
        whole = lambda given, context: draw_whole(stage, SampleInputs(*given), context, method)  # noqa: E731
        return run("whole", whole, given, context, jit_compile=jit_compile)
    state = run("start", start, given, context)
    for size in sampler.blocks(stage, length) if length else ():
        state = run(("read", size), functools.partial(sampler.read, stage, size), state, context)
    step = -(-units // chunks)
    for begin in range(length, units, step):
        end = min(begin + step, units)
        span = (tf.constant(begin), tf.constant(end))
        state = run("advance", advance, state, given, context, *span, jit_compile=jit_compile)
        report(end, units)
    return run("values", finish, state, context)
