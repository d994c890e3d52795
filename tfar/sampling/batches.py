"""Any number of events from one compiled loop: padded batches, parts of them side by side, chunks with progress."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfar.core.compiled import CompiledFunctions
from tfar.core.request import Request
from tfar.core.stage import Stage
from tfar.sampling import by_rank, incremental, naive, side_by_side
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
    cells = tf.shape(inputs.canvas)[1] if None in stage.event.grid else stage.event.num_cells
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
        batch_size: events drawn together, rounded up to equal parts, see `tfar.sampling.side_by_side`; the last batch
            is padded, so that one shape is compiled.
        jit_compile: compile the loop with XLA.
        progress: called with (units done, units in all).

    Returns:
        Values [num, *grid, C].
    """
    num, sampler = int(inputs.noise.shape[0]), sampler_of(stage, method)
    # Other samplers fill all processors; in a plain graph every operation has its overhead in every part.
    cut = jit_compile and sampler is incremental
    together = side_by_side.num_parts(stage.network, batch_size) if cut else 1
    size = -(-batch_size // together)
    starts = range(0, num, together * size)
    drawn = []
    for index, start in enumerate(starts):

        def report(done: int, total: int, index: int = index) -> None:
            if progress is not None:
                progress(index * total + done, len(starts) * total)

        parts = [_part(inputs, context, start + place * size, size, num) for place in range(together)]
        chunks = 1 if progress is None else _CHUNKS
        drawn += _draw_parts(stage, compiled, parts, method, jit_compile, chunks, report)
    return drawn[0] if len(drawn) == 1 else tf.concat(drawn, 0)[:num]


class _Part(NamedTuple):
    """Examples that one loop draws.

    Attributes:
        given: what `SampleInputs` is made of.
        context: of the examples.
    """

    given: tuple[tf.Tensor | None, ...]
    context: Request


def _part(inputs: SampleInputs, context: Request, start: int, size: int, num: int) -> _Part:
    """Examples start, ..., start + size - 1 of `num`; the last one stands for those that are not there."""
    rows = np.minimum(np.arange(start, start + size), num - 1)

    def take(x: Any) -> Any:
        return x if x is None or size == num or not x.shape.rank else tf.gather(x, rows)

    given = (inputs.noise, inputs.temperature, inputs.values, inputs.observed)
    return _Part(tuple(take(x) for x in given), context.map(take))


def _draw_parts(
    stage: Stage,
    compiled: CompiledFunctions,
    parts: list[_Part],
    method: str,
    jit_compile: bool,
    chunks: int,
    report: Callable[[int, int], None],
) -> list[tf.Tensor]:
    """Start, blocks of known units, and the chunks of the loop, all parts at the same time."""
    sampler, first = sampler_of(stage, method), SampleInputs(*parts[0].given)
    units = sampler.num_units(stage, int(np.prod(first.canvas.shape[1:-1])))
    length = 0
    if first.observed is not None and sampler is incremental:
        length = min(observed_units(stage, part.given[3], part.context) for part in parts)

    def run(
        name: Hashable, function: Callable[..., Any], *arguments: list[Any], jit_compile: bool = False
    ) -> list[Any]:
        """Calls `function` for every part; it is traced here, and runs on other threads."""
        key = (name, sampler.__name__, stage.key)
        calls = [compiled.prepare(key, function, *of, jit_compile=jit_compile) for of in zip(*arguments, strict=True)]
        return side_by_side.run_side_by_side(calls)

    def start(given: Any, context: Request) -> Any:
        return sampler.start(stage, SampleInputs(*given), context)

    def advance(state: Any, given: Any, context: Request, begin: tf.Tensor, end: tf.Tensor) -> Any:
        return sampler.advance(stage, state, SampleInputs(*given), context, begin, end)

    def finish(state: Any, context: Request) -> tf.Tensor:
        return sampler.values(stage, state, context)

    given, contexts = [part.given for part in parts], [part.context for part in parts]
    if chunks == 1 and not length:
        # One call: for small networks calls cost as much as the loop.
        whole = lambda given, context: draw_whole(stage, SampleInputs(*given), context, method)  # noqa: E731
        return run("whole", whole, given, contexts, jit_compile=jit_compile)
    states = run("start", start, given, contexts)
    for size in sampler.blocks(stage, length) if length else ():
        states = run(("read", size), functools.partial(sampler.read, stage, size), states, contexts)
    step = -(-units // chunks)
    for begin in range(length, units, step):
        end = min(begin + step, units)
        span = ([tf.constant(begin)] * len(parts), [tf.constant(end)] * len(parts))
        states = run("advance", advance, states, given, contexts, *span, jit_compile=jit_compile)
        report(end, units)
    return run("values", finish, states, contexts)
