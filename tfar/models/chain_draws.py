"""Draws the parts of a chain, one after the other, and checks what of them may be known."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfar.core.compiled import CompiledFunctions
from tfar.core.request import NOTHING, Request
from tfar.models.part import Part
from tfar.sampling.batches import INCREMENTAL, draw_in_batches
from tfar.sampling.inputs import SampleInputs
from tfar.sampling.observed import check_prefix


class KnownValues(NamedTuple):
    """Known values of the parts of a batch.

    Attributes:
        values: of every part, [B, *event_shape of the part].
        flags: which of them are known, bool of these shapes; None where everything is drawn.
    """

    values: list[tf.Tensor]
    flags: list[np.ndarray] | None

    def take(self, rows: np.ndarray) -> KnownValues:
        """Selects examples."""
        flags = None if self.flags is None else [each[rows] for each in self.flags]
        return KnownValues([tf.gather(y, rows) for y in self.values], flags)


class Draws(NamedTuple):
    """What a batch is drawn from.

    Attributes:
        known: values of the parts.
        noise: [B, *`noise_shape()`] of the chain.
        temperature: [B].
        context: of the chain.
    """

    known: KnownValues
    noise: tf.Tensor
    temperature: tf.Tensor
    context: Request

    def take(self, rows: np.ndarray) -> Draws:
        """Selects examples."""
        take = lambda x: tf.gather(x, rows)  # noqa: E731
        return Draws(self.known.take(rows), take(self.noise), take(self.temperature), self.context.map(take))


def draw_parts(
    chain: Any,
    compiled: CompiledFunctions,
    given: Draws,
    guidance_scale: float,
    *,
    batch_size: int,
    progress: Callable[[int, int], None] | None,
    **options: Any,
) -> list[tf.Tensor]:
    """Draws the values of all parts, batch by batch.

    Args:
        chain: the `Chain`.
        compiled: its compiled functions; those of a part's sampler are its model's.
        given: of all examples.
        guidance_scale: see `tfar.core.Stage`.
        batch_size: examples drawn together; the last batch is padded, so that one shape is compiled.
        progress: called with (passes done, passes in all).
        **options: `method` and `jit_compile`, see `draw_in_batches`.

    Returns:
        Values of every part, [num, *event_shape of the part].
    """
    num = int(given.noise.shape[0])
    starts, found = range(0, num, batch_size), []
    options = {**options, "batch_size": batch_size}
    for count, start in enumerate(starts):
        batch = given.take(np.minimum(np.arange(start, start + batch_size), num - 1))
        done, total = count * chain.num_passes, len(starts) * chain.num_passes
        drawn: list[tf.Tensor] = []
        for index, part in enumerate(chain.parts):
            report = None if progress is None else functools.partial(_report, progress, done, part.num_passes, total)
            drawn.append(_draw_part(chain, compiled, index, drawn, batch, guidance_scale, report, options))
            done += part.num_passes
            if progress is not None:
                progress(done, total)
        found.append(drawn)
    return [tf.concat(each, 0)[:num] for each in zip(*found, strict=True)]


def _report(progress: Callable[[int, int], None], before: int, passes: int, total: int, done: int, units: int) -> None:
    """Reports units of a part as passes of the chain; the last of them is reported once the part is drawn."""
    if done < units:
        progress(before + done * passes // units, total)


def _draw_part(
    chain: Any,
    compiled: CompiledFunctions,
    index: int,
    earlier: list[tf.Tensor],
    batch: Draws,
    guidance_scale: float,
    report: Callable[[int, int], None] | None,
    options: dict[str, Any],
) -> tf.Tensor:
    """Values [B, *event_shape] of a part."""
    part, values, observed = chain.parts[index], batch.known.values[index], None
    if batch.known.flags is not None and batch.known.flags[index].any():
        flags = batch.known.flags[index]
        if flags.all():
            return values
        observed = part.model.event.to_grid(tf.constant(flags))
    guided = guidance_scale != 1.0

    def context(earlier: list[tf.Tensor], told: Request) -> Request:
        return chain.part_context(index, earlier, told, guided)

    if part.link is None:
        told = context(earlier, batch.context)
    else:
        told = compiled.run(("context", index, guided), context, earlier, batch.context)
    positions, numbers = chain.noise_slices()[index]
    grid = part.model.event.to_grid(values)
    inputs = SampleInputs(batch.noise[:, positions, numbers], batch.temperature, grid, observed)
    if part.model.ordering.has_ties:  # a few passes, which pay for no compilation
        options = {**options, "jit_compile": False, "method": INCREMENTAL}
    stage, own = part.guided_stage(guidance_scale), part.model.compiled_functions
    drawn, _ = draw_in_batches(stage, own, inputs, told, progress=report, **options)
    return tf.reshape(drawn, values.shape)


def check_parts_prefix(parts: Sequence[Part], flags: Sequence[np.ndarray], observed: np.ndarray) -> None:
    """Raises ValueError unless what is known is a number of whole parts and a prefix of the next one, in each example.

    Args:
        parts: in the order of drawing.
        flags: which values of each are known, bool [B, *event_shape of the part].
        observed: the same of the event.
    """
    num, names = len(observed), [part.name for part in parts]
    order = f"a prefix holds whole parts in the order {', '.join(names)}, and the first values of the next one"
    known = [each.reshape(num, -1) for each in flags]
    for row in range(num):
        first = next((index for index, each in enumerate(known) if not each[row].all()), len(parts))
        for index in range(first + 1, len(parts)):
            if known[index][row].any():
                place = np.zeros(observed.shape[1:], np.int64)
                place.reshape(-1)[:] = np.arange(place.size)
                gap = int(parts[first].view.flags(place[None])[0][~flags[first][row]][0])
                late = int(parts[index].view.flags(place[None])[0][flags[index][row]][0])
                at = [tuple(int(i) for i in np.unravel_index(flat, place.shape)) for flat in (gap, late)]
                raise ValueError(
                    f"observed is not a prefix of the ordering: in example {row} position {at[0]} is missing although "
                    f"{at[1]}, which is drawn later, is observed; {order}"
                )
    for part, each in zip(parts, flags, strict=True):
        try:
            check_prefix(part.stage, part.model.event.to_grid(tf.constant(each)).numpy(), NOTHING, each.shape[1:])
        except ValueError as error:
            raise ValueError(f"{error} (positions of part {part.name!r}); {order}") from None
