"""Any number of events from one compiled loop: padded batches, parts of them side by side, chunks with progress."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfar.core.checks import checked_integer
from tfar.core.compiled import CompiledFunctions
from tfar.core.request import Request
from tfar.core.stage import Stage
from tfar.sampling import by_rank, incremental, naive, side_by_side
from tfar.sampling.fixed_point import FixedPoint, Passes, check_head
from tfar.sampling.inputs import SampleInputs
from tfar.sampling.observed import observed_units
from tfar.sampling.spans import Span

SAMPLERS: dict[str, Any] = {"incremental": incremental, "naive": naive}
METHODS = ("fixed_point", *SAMPLERS)

# With progress, the loop of a batch is cut in about so many chunks.
_CHUNKS = 16


@dataclasses.dataclass(frozen=True)
class Method:
    """The way in which events are drawn.

    Attributes:
        name: of `METHODS`.
        block: of "fixed_point", units of a block; None chooses.
        forecaster: of "fixed_point", guesses the first values of every block.
    """

    name: str = "incremental"
    block: int | None = None
    forecaster: Any = None

    @classmethod
    def checked(
        cls,
        name: Any,
        stages: Sequence[Stage],
        block: Any = None,
        forecaster: Any = None,
        return_passes: Any = False,
    ) -> Method:
        """Checks how events are to be drawn from a model of these stages.

        Raises:
            ValueError: unknown method, options of another method, or a model that the method cannot draw from.
        """
        if name not in METHODS:
            raise ValueError(f"method must be one of {sorted(METHODS)}, got {name!r}")
        given = {"block": block, "forecaster": forecaster, "return_passes": return_passes or None}
        if name != "fixed_point":
            for option, value in given.items():
                if value is not None:
                    raise ValueError(f"{option} is for method='fixed_point', got {option}={value!r} with {name!r}")
            return cls(name)
        for stage in stages:
            check_head(stage.event.head)
        for option in ("forecaster", "return_passes"):
            if len(stages) > 1 and given[option] is not None:
                raise ValueError(f"{option} is for models of one part, got {given[option]!r} with {len(stages)} parts")
        if forecaster is not None:
            if not hasattr(forecaster, "forecast"):
                raise ValueError(f"forecaster must be a tfar.models.forecaster.Forecaster, got {forecaster!r}")
            forecaster.check(stages[0])
        return cls(name, None if block is None else checked_integer("block", block, low=1), forecaster)

    @property
    def key(self) -> Any:
        """Tells apart methods whose graphs differ."""
        return self.name, self.block, None if self.forecaster is None else self.forecaster.serial

    def sampler(self, stage: Stage) -> Any:
        """The sampler; orders with equal ranks have one of their own."""
        if self.name == "fixed_point":
            return FixedPoint(self.block, self.forecaster)
        return by_rank if any(ordering.has_ties for ordering in stage.orderings) else SAMPLERS[self.name]


INCREMENTAL = Method()


def draw_whole(stage: Stage, inputs: SampleInputs, context: Request, method: Method = INCREMENTAL) -> tf.Tensor:
    """Draws whole events as one piece of graph.

    Args:
        stage: the model.
        inputs: noise, temperature, values and observed flags; `values` is never None.
        context: of the events.
        method: how; by fixed points it needs events of known length.

    Returns:
        Values [B, *grid, C].
    """
    sampler = method.sampler(stage)
    return sampler.values(stage, _drawn(sampler, stage, inputs, context), context)


def _drawn(sampler: Any, stage: Stage, inputs: SampleInputs, context: Request) -> Any:
    """Returns the sampler's state behind the last unit."""
    cells = tf.shape(inputs.canvas)[1] if None in inputs.canvas.shape[1:-1] else _num_cells(inputs)
    state, units = sampler.start(stage, inputs, context), sampler.num_units(stage, cells)
    spans = sampler.spans(stage, 0, units, 1) if isinstance(units, int) else [Span(0, units)]
    for span in spans:
        state = sampler.advance(stage, state, inputs, context, span.begin, span.end, **span.options)
    return state


def _num_cells(inputs: SampleInputs) -> int:
    return int(np.prod(inputs.canvas.shape[1:-1]))


def draw_in_batches(
    stage: Stage,
    compiled: CompiledFunctions,
    inputs: SampleInputs,
    context: Request,
    *,
    method: Method,
    batch_size: int,
    jit_compile: bool,
    progress: Callable[[int, int], None] | None,
    return_passes: bool = False,
) -> tuple[tf.Tensor, Passes | None]:
    """Draws the events that `inputs` describes.

    Args:
        stage: the model.
        compiled: the model's compiled functions.
        inputs: noise, temperature, values and observed flags of all events; `values` is never None.
        context: of all events.
        method: how.
        batch_size: events drawn together, rounded up to equal parts, see `tfar.sampling.side_by_side`; the last batch
            is padded, so that one shape is compiled.
        jit_compile: compile the loop with XLA.
        progress: called with (units done, units in all).
        return_passes: whether to return the passes of a sampler that counts them.

    Returns:
        Values [num, *grid, C], and passes, positions as cells [num, *grid, G].
    """
    num, sampler = int(inputs.noise.shape[0]), method.sampler(stage)
    # Other samplers fill all processors; in a plain graph every operation has its overhead in every part.
    cut = jit_compile and sampler is incremental
    together = side_by_side.num_parts(stage.network, batch_size) if cut else 1
    size = -(-batch_size // together)
    starts = range(0, num, together * size)
    calls = _Calls(stage, compiled, sampler, method, jit_compile, return_passes)
    drawn: list[Any] = []
    for index, start in enumerate(starts):

        def report(done: int, total: int, index: int = index) -> None:
            if progress is not None:
                progress(index * total + done, len(starts) * total)

        parts = [_part(inputs, context, start + place * size, size, num) for place in range(together)]
        drawn += calls.draw(parts, 1 if progress is None else _CHUNKS, report)
    # Parts have one size; the last one is padded.
    values, *counts = (tf.concat(of, 0)[:num] if len(of) > 1 else of[0] for of in zip(*drawn, strict=True))
    return values, _passes(*counts) if counts else None


def _passes(per_block: tf.Tensor, settled: tf.Tensor) -> Passes:
    """Passes over the blocks that there are; there is room for blocks of one unit."""
    counts = per_block.numpy()
    return Passes(counts[:, : int((counts > 0).any(0).sum())], settled.numpy())


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


@dataclasses.dataclass(frozen=True)
class _Calls:
    """The compiled calls that draw parts of a batch.

    Attributes:
        stage: the model.
        compiled: its compiled functions.
        sampler: of the method.
        method: how events are drawn.
        jit_compile: compile loops with XLA.
        return_passes: whether the passes are results, too.
    """

    stage: Stage
    compiled: CompiledFunctions
    sampler: Any
    method: Method
    jit_compile: bool
    return_passes: bool

    def draw(self, parts: list[_Part], chunks: int, report: Callable[[int, int], None]) -> list[tuple[tf.Tensor, ...]]:
        """Start, blocks of known units, and the chunks of the loop, all parts at the same time."""
        stage, sampler, first = self.stage, self.sampler, SampleInputs(*parts[0].given)
        units, length = sampler.num_units(stage, _num_cells(first)), 0
        if first.observed is not None:
            length = min(observed_units(stage, part.given[3], part.context) for part in parts)
            length = sampler.known(stage, length, units)
        given, contexts = [part.given for part in parts], [part.context for part in parts]
        if chunks == 1 and not length:
            # One call: for small networks calls cost as much as the loop.
            return self._run("whole", self._whole, given, contexts, jit_compile=self.jit_compile)
        states = self._run("start", self._start, given, contexts)
        for size in sampler.blocks(stage, length) if length else ():
            states = self._run(("read", size), functools.partial(sampler.read, stage, size), states, contexts)
        for span in sampler.spans(stage, length, units, chunks):
            ends = ([tf.constant(span.begin)] * len(parts), [tf.constant(span.end)] * len(parts))
            name = ("advance", *span.options.values())
            advance = functools.partial(self._advance, **span.options)
            states = self._run(name, advance, states, given, contexts, *ends, jit_compile=self.jit_compile)
            report(span.end, units)
        return self._run("values", self._results, states, contexts)

    def _run(
        self, name: Hashable, function: Callable[..., Any], *arguments: list[Any], jit_compile: bool = False
    ) -> list[Any]:
        """Calls `function` for every part; it is traced here, and runs on other threads."""
        key = (name, self.method.key, self.return_passes, self.stage.key)
        run = functools.partial(self.compiled.prepare, key, function, jit_compile=jit_compile)
        return side_by_side.run_side_by_side([run(*of) for of in zip(*arguments, strict=True)])

    def _whole(self, given: Any, context: Request) -> tuple[tf.Tensor, ...]:
        return self._results(_drawn(self.sampler, self.stage, SampleInputs(*given), context), context)

    def _start(self, given: Any, context: Request) -> Any:
        return self.sampler.start(self.stage, SampleInputs(*given), context)

    def _advance(
        self, state: Any, given: Any, context: Request, begin: tf.Tensor, end: tf.Tensor, **options: Any
    ) -> Any:
        return self.sampler.advance(self.stage, state, SampleInputs(*given), context, begin, end, **options)

    def _results(self, state: Any, context: Request) -> tuple[tf.Tensor, ...]:
        """Values, and passes where they are asked for."""
        counts = self.sampler.passes(self.stage, state, context) if self.return_passes else ()
        return self.sampler.values(self.stage, state, context), *counts
