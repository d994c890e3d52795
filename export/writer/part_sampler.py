"""Draws events of a model of several parts in steps.

    examples = sampler.begin(seed, temperature, condition, prefix)       # every tensor [B, ...]
    examples, chunk = sampler.step(examples, n)                          # example b hands out its next n[b] cells

The network works in rows of a part that is drawn pixel by pixel, and in whole parts whose pixels are drawn at once; a
step draws as many of these as its cells need, and the rest waits in the state. A cell is handed out when all of its
values are drawn, cells of auxiliary parts never.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import tensorflow as tf

from export.writer.inputs import Tensors, condition_inputs, condition_of
from export.writer.step_sampler import Chunk, StepSampler
from tfar.core import noise as noises
from tfar.core.carry import Carry
from tfar.core.request import Request
from tfar.core.stage import batch_axis
from tfar.models.chain import Chain
from tfar.models.density import Density
from tfar.sampling import SampleInputs, by_rank, incremental

_STATE, _TOLD, _FEATURES, _VALUES, _LAST = "state/", "told/", "features/", "values/", "last/"


class PartSampler:
    """Draws events of a chain step by step, with the interface of `StepSampler`.

    Args:
        model: the chain.

    Attributes:
        unit: "cell".
        units: cells of an event.
        spec: shape of every tensor of an example; the first dimension is the examples.
    """

    unit = "cell"

    def __init__(self, model: Any):
        self.model, event = model, model.event
        self.units = event.num_cells
        self._conditions = condition_inputs(model)
        self._parts = [_PartState(model, index) for index in range(len(model.parts))]
        self._order, complete = _cell_order(model)
        # Units (rows, or whole parts) in front of every part, and units that the first n cells need.
        self._starts = np.cumsum([0, *(part.units for part in self._parts)])
        self._needed = np.array([0, *(self._starts[index] + unit + 1 for index, unit in complete)], np.int32)
        self._needed = np.maximum.accumulate(self._needed)
        self._features = self._trace_features()
        self.spec = self._spec()
        self._group = tf.function(
            lambda examples, first, stop: self._draw(examples, first, stop),
            autograph=False,
            input_signature=[self.spec, tf.TensorSpec([], tf.int32), tf.TensorSpec([], tf.int32)],
            experimental_attributes={"_noinline": True},
        )

    # Shapes.

    def _trace_features(self) -> Request:
        """Returns shapes and types of the chain's context; also those of every part."""
        found: list[Request] = []

        def trace(given: Tensors) -> tf.Tensor:
            context = self.model.context(Request(condition_of(self.model, given)))
            found.append(context.map(_spec))
            drawn: list[tf.Tensor] = []
            batch = tf.shape(context.tensors[0])[0] if context.tensors else 1
            for part in self._parts:
                part.told = part.context(drawn, context).map(_spec)
                drawn.append(tf.zeros([batch, *part.event_shape], part.dtype))
            return tf.zeros([])

        given = {item.name: item.spec for item in self._conditions}
        tf.function(trace, autograph=False).get_concrete_function(given)
        for part in self._parts:
            part.describe()
        return found[0]

    def _spec(self) -> dict[str, tf.TensorSpec]:
        spec = {
            "position": tf.TensorSpec([None], tf.int32),
            "drawn": tf.TensorSpec([None], tf.int32),
            "known": tf.TensorSpec([None], tf.int32),
            "seed": tf.TensorSpec([None, 2], tf.int64),
            "temperature": tf.TensorSpec([None], tf.float32),
        }
        spec |= {f"{_FEATURES}{index}": item for index, item in enumerate(self._features.tensors)}
        for part in self._parts:
            spec |= part.spec
        return spec

    # The interface.

    def begin(self, seed: tf.Tensor, temperature: tf.Tensor, condition: Tensors, prefix: tf.Tensor | None) -> Tensors:
        """Examples at the position after the prefix; see `StepSampler.begin`."""
        batch = tf.shape(seed)[0]
        context = self.model.context(Request(condition_of(self.model, condition)))
        examples = {name: tf.zeros([batch, *item.shape[1:]], item.dtype) for name, item in self.spec.items()}
        examples |= {"seed": seed, "temperature": temperature}
        examples |= {f"{_FEATURES}{index}": x for index, x in enumerate(context.tensors)}
        if prefix is None:
            return examples
        size, model = tf.shape(prefix)[1], self.model
        values = tf.pad(prefix, [[0, 0], [0, model.event.num_dimensions - size]])
        x = tf.gather(values, np.argsort(model.value_order()[0]), axis=1)
        known = model.split(tf.reshape(x, [-1, *model.event_shape]))
        examples |= {part.name: y for part, y in zip(self._parts, known, strict=True)}
        return {**examples, "known": tf.fill([batch], size)}

    def position(self, examples: Tensors) -> tf.Tensor:
        """Cells handed out so far, int32 [B], those that the prefix holds whole included."""
        return tf.maximum(examples["position"], examples["known"] // self.model.event.channels)

    def step(self, examples: Tensors, n: tf.Tensor, name: str = "step") -> tuple[Tensors, Chunk]:
        """Hands out the next n cells of every example, fewer at the end of the event; see `StepSampler.step`."""
        del name
        first = self.position(examples)
        count = tf.minimum(n, self.units - first)
        after = first + count
        examples = self._advance(examples, tf.gather(self._needed, after))
        x = self.model.merge([examples[part.name] for part in self._parts])
        cells = tf.reshape(x, [-1, self.units, self.model.event.channels])
        most = tf.reduce_max(count)
        place, inside = tf.range(most)[None], tf.range(most)[None] < count[:, None]
        cell = tf.gather(self._order, tf.where(inside, first[:, None] + place, 0))
        values = tf.gather(cells, cell, axis=1, batch_dims=1)
        values = tf.where(inside[..., None], values, tf.zeros_like(values))
        done = tf.cast(after >= self.units, tf.int32)
        return {**examples, "position": after}, Chunk(values, count, after, done, tf.where(inside, cell, 0))

    # Draws.

    def _advance(self, examples: Tensors, stop: tf.Tensor) -> Tensors:
        """Draws units up to stop[b] of every example b; those that stand alike and stop alike go together."""
        keys = tf.cast(examples["drawn"], tf.int64) * 2**31 + tf.cast(stop, tf.int64)
        groups = tf.unique(tf.boolean_mask(keys, stop > examples["drawn"])).y

        def draw(index: tf.Tensor, examples: Tensors) -> tuple[tf.Tensor, Tensors]:
            members = tf.where(tf.equal(keys, groups[index]))
            group = {name: tf.gather_nd(x, members) for name, x in examples.items()}
            group = self._group(group, group["drawn"][0], tf.cast(groups[index] % 2**31, tf.int32))
            changed = {
                name: tf.ensure_shape(tf.tensor_scatter_nd_update(examples[name], members, group[name]), item.shape)
                for name, item in self.spec.items()
            }
            return index + 1, changed

        examples = {name: tf.ensure_shape(examples[name], item.shape) for name, item in self.spec.items()}
        more = lambda index, *_: index < tf.size(groups)  # noqa: E731
        return tf.while_loop(more, draw, (0, examples), parallel_iterations=1)[1]

    def _draw(self, examples: Tensors, first: tf.Tensor, stop: tf.Tensor) -> Tensors:
        """Draws units first, ..., stop - 1 of the chain."""
        features = self._features.with_tensors(
            examples[f"{_FEATURES}{index}"] for index in range(len(self._features.tensors))
        )
        ranks = np.argsort(self.model.value_order()[0]).reshape(1, *self.model.event_shape)
        for part, start in zip(self._parts, self._starts[:-1], strict=True):
            begin, end = (tf.clip_by_value(unit - int(start), 0, part.units) for unit in (first, stop))
            if part.view.auxiliary:
                known = tf.zeros([tf.shape(examples["known"])[0], *part.event_shape], tf.bool)
            else:
                known = part.view.flags(ranks).reshape(1, -1) < examples["known"][:, None]
                known = tf.reshape(known, [-1, *part.event_shape])
            earlier = [examples[each.name] for each in self._parts[: part.index]]
            draw = functools.partial(part.draw, examples, earlier, features, known, begin, end)
            keep: Any = functools.partial(dict, {name: examples[name] for name in part.spec})
            examples = {**examples, **tf.cond(end > begin, draw, keep)}
        return {**examples, "drawn": tf.fill(tf.shape(examples["drawn"]), stop)}


Sampler = StepSampler | PartSampler


def sampler_of(model: Density, batch_calls: bool = False) -> Sampler:
    """Returns the sampler of steps of a model; see `StepSampler`."""
    return PartSampler(model) if model.parts else StepSampler(model, batch_calls)


class _PartState:
    """A part of a chain, and what of it the state of an example holds."""

    def __init__(self, model: Chain, index: int):
        self.model, self.index, self.part = model, index, model.parts[index]
        self.view, self.stage = self.part.view, self.part.stage
        self.event_shape, self.dtype = self.part.model.event_shape, self.part.model.head.dtype
        self.name = f"{_VALUES}{index}"
        self.together = self.part.model.ordering.has_ties
        self.units = 1 if self.together else self.part.model.event.num_cells // self.stage.width
        self.told = Request()
        self.spec: dict[str, tf.TensorSpec] = {}
        self._carry: Carry | None = None

    def context(self, earlier: list[tf.Tensor], features: Request) -> Request:
        """Returns the context of the part's stage."""
        return self.model.part_context(self.index, earlier, features)

    def describe(self) -> None:
        """Fills in `spec`, from the traced context."""
        self.spec = {self.name: tf.TensorSpec([None, *self.event_shape], self.dtype)}
        if self.together:
            return
        example = self.told.map(lambda item: tf.zeros([1, *item.shape[1:]], item.dtype))
        self._carry = self.stage.spec(example)
        self.spec[self._key(_LAST)] = self._carry.last
        self.spec |= {self._key(_TOLD, index): item for index, item in enumerate(self.told.tensors)}
        for key, item in self._carry.state.items():
            shape = [None, *(size for size in item.shape if size is not None)]
            self.spec[self._key(_STATE, key)] = tf.TensorSpec(shape, item.dtype)

    def draw(
        self,
        examples: Tensors,
        earlier: list[tf.Tensor],
        features: Request,
        known: tf.Tensor,
        begin: tf.Tensor,
        end: tf.Tensor,
    ) -> Tensors:
        """Draws units begin, ..., end - 1 of the part; returns its tensors."""
        event, head = self.part.model.event, self.part.model.head
        positions, numbers = self.model.noise_slices()[self.index]
        count, size = positions.stop - positions.start, self.model.noise_shape()[1]
        noise = noises.uniform(examples["seed"], count, size, positions.start)[..., numbers]
        grid = event.to_grid(examples[self.name])
        inputs = SampleInputs(noise, examples["temperature"], grid, event.to_grid(known))
        if self.together:
            told = self.context(earlier, features)
            canvas = by_rank.advance(self.stage, grid, inputs, told, 0, by_rank.num_units(self.stage, event.num_cells))
            return {self.name: tf.cast(tf.reshape(canvas, [-1, *self.event_shape]), head.dtype)}
        kept = self.told.with_tensors(examples[self._key(_TOLD, i)] for i in range(len(self.told.tensors)))
        # What the part is told of those before it is computed with its first unit.
        fresh = lambda: self.context(earlier, features).tensors  # noqa: E731
        told = self.told.with_tensors(tf.cond(begin > 0, lambda: kept.tensors, fresh)) if kept.tensors else kept
        state = {key: self._batch_back(key, examples[self._key(_STATE, key)]) for key in self._carry.state}
        drawn = incremental.start(self.stage, inputs, told)
        drawn = incremental.Drawn(Carry(state, examples[self._key(_LAST)], begin), drawn.canvas)
        drawn = incremental.advance(self.stage, drawn, inputs, told, begin, end)
        found = {self.name: tf.reshape(incremental.values(self.stage, drawn, told), [-1, *self.event_shape])}
        found[self._key(_LAST)] = drawn.carry.last
        found |= {self._key(_TOLD, index): x for index, x in enumerate(told.tensors)}
        found |= {self._key(_STATE, key): self._batch_first(key, x) for key, x in drawn.carry.state.items()}
        return {name: tf.ensure_shape(found[name], item.shape) for name, item in self.spec.items()}

    def _key(self, kind: str, name: Any = "") -> str:
        """Name of a tensor of the state; only one part is under way at a time, but each keeps its own."""
        return f"{kind}{self.index}/{name}"

    def _batch_first(self, key: str, x: tf.Tensor) -> tf.Tensor:
        axis = batch_axis(self._carry.state[key])
        return tf.transpose(x, [axis, *(other for other in range(x.shape.rank) if other != axis)]) if axis else x

    def _batch_back(self, key: str, x: tf.Tensor) -> tf.Tensor:
        axis = batch_axis(self._carry.state[key])
        if not axis:
            return x
        others = list(range(1, x.shape.rank))
        return tf.transpose(x, [*others[:axis], 0, *others[axis:]])


def _spec(x: tf.Tensor) -> tf.TensorSpec:
    return tf.TensorSpec([None, *x.shape[1:]], x.dtype)


def _cell_order(model: Chain) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Cells in the order in which they are complete, and for each the part and its unit that completes it."""
    channels, event = model.event.channels, model.event
    places = np.arange(event.num_dimensions).reshape(1, *event.event_shape)
    complete: dict[int, tuple[int, int]] = {}
    for index, part in enumerate(model.parts):
        if part.view.auxiliary:
            continue
        own, order = part.view.flags(places).reshape(-1), part.model.value_order()[0]
        width = part.stage.width * part.model.event.channels
        for place, value in enumerate(order):
            unit = 0 if part.model.ordering.has_ties else place // width
            complete[int(own[value]) // channels] = (index, unit)
    # A cell stands where its last value is drawn.
    cells = list(dict.fromkeys(reversed((model.value_order()[0] // channels).tolist())))[::-1]
    return np.array(cells, np.int32), [complete[cell] for cell in cells]
