"""Asserts that samples are functions of noise alone, the same for every sampler."""

from __future__ import annotations

import contextlib
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfar.core import noise as noises
from tfar.models.autoregressive import AutoregressiveModel
from tfar.models.density import Density
from tfar.sampling.fixed_point import block_size
from tfar.testing.eagerly import eagerly
from tfar.testing.inputs import full_choice, full_condition

TIE = 1e-5


class Agreement(NamedTuple):
    """How two samplers compare: values compared, and draws that differed because of rounding at a boundary."""

    draws: int
    ties: int


def assert_samples_agree(
    model: Density,
    num: int = 4,
    condition: Any = None,
    seed: int = 0,
    temperature: float = 1.0,
    *,
    jit_compile: bool = False,
    tie: float = TIE,
) -> Agreement:
    """Asserts that the naive and the incremental sampler draw the same events from the same noise.

    The two compute the same parameters up to rounding, so a draw whose noise lies within rounding of a boundary of
    its distribution function may tip. The first draw that differs in an event is allowed only there; the event is
    then completed from the naive one's prefix, so that everything after it is compared as well.

    Args:
        model: the model, with weights that are not zero: see `randomize_weights`.
        num: number of events.
        condition: values of the condition, one or [num, ...]; random by default.
        seed: of the noise.
        temperature: of the draws.
        jit_compile: whether the incremental sampler is compiled with XLA.
        tie: distance to a boundary, in units of probability, within which a draw may tip.

    Returns:
        The number of values compared and of ties.

    Raises:
        AssertionError: naming the first position that differs.
    """
    condition, choice = full_condition(model, condition, num), full_choice(model, num)
    noise = noises.uniform(noises.seed_rows(seed, num), *model.noise_shape())
    common = {"noise": noise, "temperature": temperature, **choice}
    # The naive sampler runs the network once for a position; to trace that takes as long as some twenty runs.
    with eagerly() if model.noise_shape()[0] <= 24 else contextlib.nullcontext():
        naive = model.sample(num, condition, method="naive", jit_compile=False, **common).numpy()
    other = model.sample(num, condition, jit_compile=jit_compile, **common).numpy()
    context = model.context(model.request(condition, num, **choice))
    # The flat value of every place in the order, and the place of every flat value, [num, values].
    order = model.value_order(context, num)
    places, count = np.argsort(order, 1), order.shape[1]
    distance = model.boundary_distances(naive, noise, context, temperature)
    together = model.event.channels if model.head.event_ndims else 1  # values that are drawn with one another
    settled = np.zeros(num, int)  # values of each event that have been compared
    ties = 0
    while True:
        wrong = np.take_along_axis(_differ(naive, other).reshape(num, count), order, 1)
        wrong &= np.arange(count) >= settled[:, None]
        if not wrong.any():
            return Agreement(naive.size, ties)
        for row in np.flatnonzero(wrong.any(1)):
            step = int(np.argmax(wrong[row]))
            flat = order[row, step]
            if not distance[row, flat] < tie:
                place = tuple(int(i) for i in np.unravel_index(flat, naive.shape[1:]))
                raise AssertionError(
                    f"event {row} differs at position {place} (rank {step} of {count}): naive draws "
                    f"{naive.reshape(num, count)[row, flat]}, incremental {other.reshape(num, count)[row, flat]}, from "
                    f"noise that is {distance[row, flat]:.3g} away from a boundary; up to {tie:g} it would be rounding"
                )
            ties += 1
            settled[row] = (step // together + 1) * together
        observed = (places < settled[:, None]).reshape(naive.shape)
        other = model.complete(naive, observed, condition, jit_compile=jit_compile, **common).numpy()


def assert_fixed_point(
    model: AutoregressiveModel,
    num: int = 3,
    condition: Any = None,
    seed: int = 0,
    *,
    block: int | None = None,
    jit_compile: bool = False,
    tie: float = TIE,
) -> Agreement:
    """Asserts that fixed-point iteration draws the sample of the other samplers, in no more passes than sites.

    Every value is compared with the draw from its conditional distribution given the values before it, computed by one
    parallel pass. By induction the sample that satisfies this is the one that is drawn position by position.

    Args:
        model: a model with a discrete head, with weights that are not zero: see `randomize_weights`.
        num: number of events.
        condition: values of the condition, one or [num, ...]; random by default.
        seed: of the noise.
        block: units of a block, see `sample`.
        jit_compile: whether the sampler is compiled with XLA.
        tie: as for `assert_samples_agree`.

    Returns:
        The number of values compared and of ties.

    Raises:
        AssertionError: naming the first position that differs, or the block that took too many passes.
    """
    condition, choice = full_condition(model, condition, num), full_choice(model, num)
    event, head, (stage,) = model.event, model.head, model.stages
    length = 8 if None in event.grid else None
    positions = length or event.num_positions
    noise = noises.uniform(noises.seed_rows(seed, num), positions, head.noise_size)
    options: dict[str, Any] = {"method": "fixed_point", "block": block, "return_passes": True, **choice}
    x, passes = model.sample(num, condition, noise=noise, length=length, jit_compile=jit_compile, **options)
    units = positions // (stage.width * event.groups)
    limit = block_size(stage, units, block) * stage.width * event.groups
    if passes.per_block.max() > limit:
        raise AssertionError(f"a block of {limit} sites took {passes.per_block.max()} passes")
    context = model.context(model.request(condition, num, x.shape[1:], **choice))
    params = model.decode(model.encode(x), context)
    shape = (positions,) if length else event.positions
    by_position = tf.reshape(noise, [num, *shape, -1])
    expected = tf.reshape(head.sample(params, by_position), x.shape).numpy()
    wrong = (expected != x.numpy()).reshape(num, positions, -1).any(-1)
    distance = np.asarray(head.boundary_distance(params, by_position)).reshape(num, positions)
    for row, position in np.argwhere(wrong & (distance >= tie)):
        place = tuple(int(index) for index in np.unravel_index(position, shape))
        raise AssertionError(
            f"event {row} is no fixed point at position {place}: {x.numpy().reshape(num, positions, -1)[row, position]}"
            f" is there, {expected.reshape(num, positions, -1)[row, position]} is drawn given what comes before, from "
            f"noise that is {distance[row, position]:.3g} away from a boundary; up to {tie:g} it would be rounding"
        )
    return Agreement(x.numpy().size, int(wrong.sum()))


def assert_sample_independent_of_batch(
    model: Density,
    num: int = 3,
    condition: Any = None,
    seed: int = 0,
    *,
    jit_compile: bool = False,
    alone: bool = True,
    chunked: bool = True,
) -> None:
    """Asserts that an event depends on its own seed alone.

    An event equals the same example of a batch whose other examples have other seeds and places, and the event drawn
    alone; and a job that is cut into chunks (`progress=`) equals one that is not.

    Args:
        model: the model.
        num: number of events, at least 2.
        condition: values of the condition, one or [num, ...]; random by default.
        seed: example r has the seed [seed + r, 7 r].
        jit_compile: whether the sampler is compiled with XLA.
        alone: whether to draw events alone, too; it costs a compilation for another batch size.
        chunked: whether to draw in chunks, too; it costs another compilation.

    Raises:
        AssertionError: naming the event.
    """
    condition, choice = full_condition(model, condition, num), full_choice(model, num)
    rows = np.arange(num, dtype=np.int64)
    seeds = np.stack([seed + rows, 7 * rows], 1)

    def draw(rows: np.ndarray, seeds: np.ndarray, **kwargs: Any) -> np.ndarray:
        own = tf.nest.map_structure(lambda part: None if part is None else tf.gather(part, rows), condition)
        chosen = {name: value[rows] for name, value in choice.items()}
        return model.sample(len(rows), own, seeds, jit_compile=jit_compile, **chosen, **kwargs).numpy()

    batch = draw(rows, seeds)
    reports: list[tuple[int, int]] = []
    if chunked:
        pieces = draw(rows, seeds, progress=lambda done, total: reports.append((done, total)))
        if not reports or reports[-1][0] != reports[-1][1]:
            raise AssertionError(f"progress must end with all units done, it was called with {reports}")
        for row in np.flatnonzero(_differ(batch, pieces).reshape(num, -1).any(1)):
            raise AssertionError(f"event {row} changes when the job is cut into {len(reports)} chunks")

    def compare(row: int, other: np.ndarray, how: str) -> None:
        wrong = _differ(batch[row], other)
        if wrong.any():
            place = tuple(int(i) for i in np.argwhere(wrong)[0])
            raise AssertionError(
                f"event {row} {how} differs from event {row} of a batch of {num}: at {place} it is {other[place]}, "
                f"in the batch {batch[row][place]}"
            )

    # Event 0 moves to the end, and the events before it get seeds of their own.
    others = np.concatenate([seeds[1:] + 1000, seeds[:1]])
    compare(0, draw(np.roll(rows, -1), others)[-1], "in other company")
    for row in rows if alone else ():
        compare(int(row), draw(rows[row : row + 1], seeds[row : row + 1])[0], "drawn alone")


def _differ(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Where two samples differ: discrete values at all, continuous ones by more than rounding."""
    if a.dtype.kind != "f":
        return a != b
    return ~np.isclose(a, b, rtol=1e-3, atol=1e-3)
