"""Draws events in steps: the state of each example is a set of tensors, and each has its own position.

    examples = sampler.begin(seed, temperature, condition, prefix)       # every tensor [B, ...]
    examples, chunk = sampler.step(examples, n)                          # example b draws its next n[b] units

Examples at different positions advance together (`Stage.period` says which do where resolutions change); those of one
call that draw different numbers of units do it one group after the other. What an example draws depends on its own seed
alone, so that neither the chunks nor the company changes it. The state is stored by the client or by the server.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from export.writer.batched import batched
from export.writer.inputs import Tensors, condition_inputs, condition_of
from tfar.core import noise as noises
from tfar.core.carry import Carry
from tfar.core.request import NOTHING, Request
from tfar.core.sizes import batch_axis
from tfar.models import AutoregressiveModel
from tfar.sampling import SampleInputs, incremental

_STATE, _CONTEXT = "state/", "context/"


class Chunk(NamedTuple):
    """The result of a step.

    Attributes:
        values: [B, n, ...] for the largest count of all examples: rows of an image, values of a sequence, or cells.
        count: int32 [B], how many units of an example are drawn; those beyond are 0.
        position: int32 [B], units drawn so far.
        done: int32 [B], 1 where the event is complete.
        cells: int32 [B, n], the cell that each unit belongs to, flat and in raster order; None where units follow
            one another in the event.
    """

    values: tf.Tensor
    count: tf.Tensor
    position: tf.Tensor
    done: tf.Tensor
    cells: tf.Tensor | None

    @property
    def outputs(self) -> Tensors:
        """By the names of the signatures."""
        named = {"chunk": self.values, "count": self.count, "position": self.position, "done": self.done}
        return named if self.cells is None else {**named, "cells": self.cells}


def has_steps(model: AutoregressiveModel) -> bool:
    """Returns whether the state of an example has a fixed size: frames of any length beside any sequence have none."""
    return all(None not in item.spec.shape[1:].as_list() for item in condition_inputs(model))


class StepSampler:
    """Draws events of a model step by step.

    Args:
        model: a model that `has_steps`. One without an own length goes on for ever.
        batch_calls: draw the examples of steps that are under way together as one batch, see `export.writer.batched`.

    Attributes:
        unit: what a step draws: "row" of an image, "value" of a sequence, or "cell".
        units: units of an event; None where it has no length of its own.
        spec: shape of every tensor of an example; the first dimension is the examples.
    """

    def __init__(self, model: AutoregressiveModel, batch_calls: bool = False):
        self.model, event = model, model.event
        (self.stage,) = model.stages
        self._batch_calls = batch_calls
        self._endless = None in model.event_shape
        self._conditions = condition_inputs(model)
        self._context_spec = self._trace_context()
        self._scale = self._cells // self.stage.width  # units of the stage in one of the export
        self.units = None if self._endless else event.num_cells // self._cells
        example = self._context_spec.map(lambda item: tf.zeros([1, *item.shape[1:]], item.dtype))
        self._carry = self.stage.spec(example, per_example=True)
        self.spec = self._spec()
        # As part of the loop over groups it takes TensorFlow twice as long to optimize before the first call.
        self._group = tf.function(
            lambda examples, count: self._draw_group(examples, count),
            autograph=False,
            input_signature=[{**self.spec, "prefix": self._prefix_spec}, tf.TensorSpec([], tf.int32)],
            experimental_attributes={"_noinline": True},
        )

    @property
    def _dtype(self) -> tf.DType:
        return self.model.head.dtype

    @property
    def _prefix_spec(self) -> tf.TensorSpec:
        cells = None if self._endless else self.model.event.num_cells
        return tf.TensorSpec([None, cells, self.model.event.channels], self._dtype)

    def _trace_context(self) -> Request:
        """Returns shapes and types of the context; also notes whether cells have an order, and the units."""
        found: list[Request] = []

        def trace(given: Tensors, first: tf.Tensor) -> tf.Tensor:
            context, _ = self._context(given, first)
            self._ordered = self.stage.order(context) is not None
            self.unit, self._cells = self.stage.output_unit(context)
            found.append(context.map(lambda x: tf.TensorSpec([None, *x.shape[1:]], x.dtype)))
            return tf.zeros([])

        given = {item.name: item.spec for item in self._conditions}
        first = tf.TensorSpec([None, self.model.head.noise_size])
        tf.function(trace, autograph=False).get_concrete_function(given, first)
        return found[0]

    def _context(self, given: Tensors, first: tf.Tensor) -> tuple[Request, tf.Tensor]:
        """Returns the context of examples, and what is left of the noise of their first positions."""
        request, first = self.model.prepare_draws(Request(condition_of(self.model, given)), first)
        return self.model.context(request), first

    def _spec(self) -> dict[str, tf.TensorSpec]:
        spec = {
            "position": self._carry.position,
            "known": tf.TensorSpec([None], tf.int32),
            "seed": tf.TensorSpec([None, 2], tf.int64),
            "temperature": tf.TensorSpec([None], tf.float32),
            "last": self._carry.last,
        }
        spec |= {f"{_CONTEXT}{index}": item for index, item in enumerate(self._context_spec.tensors)}
        if not self._endless:
            spec["prefix"] = self._prefix_spec
        for key, item in self._carry.state.items():
            spec[_STATE + key] = tf.TensorSpec([None, *(size for size in item.shape if size is not None)], item.dtype)
        return spec

    def begin(self, seed: tf.Tensor, temperature: tf.Tensor, condition: Tensors, prefix: tf.Tensor | None) -> Tensors:
        """Examples at the position after the prefix.

        Args:
            seed: int64 [B, 2].
            temperature: float32 [B].
            condition: by the names of the inputs.
            prefix: [B, P], the first values in the order of drawing; None for nothing.

        Returns:
            Tensors of `spec`.
        """
        batch = tf.shape(seed)[0]
        context, _ = self._context(condition, noises.uniform(seed, 1, self.model.head.noise_size)[:, 0])
        told = {f"{_CONTEXT}{index}": x for index, x in enumerate(context.tensors)}
        examples = {name: tf.zeros([batch, *item.shape[1:]], item.dtype) for name, item in self.spec.items()}
        examples |= {"seed": seed, "temperature": temperature, **told}
        if prefix is None:
            return examples
        size, channels = tf.shape(prefix)[1], self.model.event.channels
        if self._endless:
            return tf.cond(size > 0, lambda: self._read(examples, prefix), lambda: examples)
        # It waits until the first step, which is the first to run the network.
        missing = self.model.event.num_dimensions - size
        cells = tf.reshape(tf.pad(prefix, [[0, 0], [0, missing]]), [-1, self.model.event.num_cells, channels])
        return {**examples, "prefix": cells, "known": tf.fill([batch], size)}

    def position(self, examples: Tensors) -> tf.Tensor:
        """Units drawn so far, int32 [B], those that the prefix holds whole included."""
        if self._endless:
            return examples["position"]
        return tf.maximum(examples["position"], examples["known"] // (self._cells * self.model.event.channels))

    def _read(self, examples: Tensors, prefix: tf.Tensor) -> Tensors:
        """Examples without a length of their own after they took in the prefix."""
        batch, size = tf.shape(prefix)[0], tf.shape(prefix)[1]
        examples = {**examples, "prefix": prefix[..., None], "known": tf.fill([batch], size)}
        examples, _ = self._advance(examples, tf.fill([batch], size))
        return {name: tf.zeros_like(examples[name]) if name == "known" else examples[name] for name in self.spec}

    def step(self, examples: Tensors, n: tf.Tensor, name: str = "step") -> tuple[Tensors, Chunk]:
        """Draws the next n units of every example, fewer at the end of the event.

        Args:
            examples: tensors of `spec`.
            n: int32 [B], at least 1.
            name: of the signature, whose calls may be drawn together.

        Returns:
            The examples at their new positions, and what was drawn.
        """
        if not self._batch_calls:
            return self._step(examples, n)

        def compute(together: Tensors) -> Tensors:
            kept, chunk = self._step({name: together[name] for name in self.spec}, together["n"])
            return {**kept, **chunk.outputs, "position": kept["position"]}

        drawn = batched(name, compute, {**examples, "n": n})
        most = tf.reduce_max(drawn["count"])
        cells = drawn["cells"][:, :most] if "cells" in drawn else None
        chunk = Chunk(drawn["chunk"][:, :most], drawn["count"], drawn["position"], drawn["done"], cells)
        return {name: drawn[name] for name in self.spec}, chunk

    def _step(self, examples: Tensors, n: tf.Tensor) -> tuple[Tensors, Chunk]:
        """`step` of these examples alone."""
        first, before = self.position(examples), examples["position"]
        count = n if self.units is None else tf.minimum(n, self.units - first)
        batch, most = tf.shape(n)[0], tf.reduce_max(count)
        if self._endless:
            examples = {**examples, "prefix": tf.zeros([batch, 1, 1], self._dtype)}  # nothing of it is known
        # The first step after a prefix goes over it as well.
        examples, drawn = self._advance(examples, first + count - before)
        unit, inside = tf.range(most)[None], tf.range(most)[None] < count[:, None]
        values = tf.gather(drawn, tf.where(inside, (first - before)[:, None] + unit, 0), axis=1, batch_dims=1)
        mask = tf.reshape(inside, [batch, most, *[1] * (values.shape.rank - 2)])
        values = tf.where(mask, values, tf.zeros_like(values))
        cells = None
        if self._ordered:
            order = tf.convert_to_tensor(self.stage.order(self._context_of(examples))[0], tf.int32)
            order = tf.broadcast_to(order, [batch, self.model.event.num_cells])
            cells = tf.gather(order, tf.where(inside, first[:, None] + unit, 0), axis=1, batch_dims=1)
            cells = tf.where(inside, cells, 0)
        done = tf.zeros_like(first) if self.units is None else tf.cast(examples["position"] >= self.units, tf.int32)
        kept = {name: examples[name] for name in self.spec}
        return kept, Chunk(values, count, examples["position"], done, cells)

    def _context_of(self, examples: Tensors) -> Request:
        """Returns the context that examples hold."""
        count = len(self._context_spec.tensors)
        return self._context_spec.with_tensors(examples[f"{_CONTEXT}{index}"] for index in range(count))

    @property
    def _unit_shape(self) -> list[int]:
        if self.unit == "row":
            return list(self.model.event_shape[1:])
        return [] if len(self.model.event_shape) == 1 else [self.model.event.channels]

    def _advance(self, examples: Tensors, count: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        """Draws count[b] units of every example b, group by group: the examples, and the units [B, n, ...]."""
        phase = examples["position"] * self._scale % self.stage.period
        keys = tf.cast(phase, tf.int64) * 2**31 + tf.cast(count, tf.int64)
        groups = tf.unique(tf.boolean_mask(keys, count > 0)).y
        shape = [None, None, *self._unit_shape]
        # TensorFlow scatters into nothing that is empty.
        most = tf.maximum(tf.reduce_max(count), 1)
        units = tf.zeros([tf.shape(count)[0], most, *self._unit_shape], self._dtype)

        def draw(index: tf.Tensor, examples: Tensors, units: tf.Tensor) -> tuple[tf.Tensor, Tensors, tf.Tensor]:
            members = tf.where(tf.equal(keys, groups[index]))
            group = {name: tf.gather_nd(x, members) for name, x in examples.items()}
            group, drawn = self._group(group, tf.gather_nd(count, members)[0])
            changed = {
                name: tf.ensure_shape(tf.tensor_scatter_nd_update(examples[name], members, group[name]), item.shape)
                for name, item in self.spec.items()
            }
            rest = [[0, 0], [0, tf.shape(units)[1] - tf.shape(drawn)[1]], *[[0, 0]] * len(self._unit_shape)]
            units = tf.tensor_scatter_nd_update(units, members, tf.pad(drawn, rest))
            return index + 1, {**examples, **changed}, tf.ensure_shape(units, shape)

        specs = {**self.spec, "prefix": self._prefix_spec}
        examples = {name: tf.ensure_shape(x, specs[name].shape) for name, x in examples.items()}
        more = lambda index, *_: index < tf.size(groups)  # noqa: E731
        loop = (0, examples, tf.ensure_shape(units, shape))
        return tf.while_loop(more, draw, loop, parallel_iterations=1)[1:]

    def _draw_group(self, examples: Tensors, count: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        """Draws `count` units of every example: the examples, and the units [B, count, ...]."""
        stage, event, batch = self.stage, self.model.event, tf.shape(examples["position"])[0]
        context, steps = self._context_of(examples), count * self._scale
        first = examples["position"] * self._scale
        cell, cells = first * stage.width, steps * stage.width
        state = {key: self._batch_back(key, examples[_STATE + key]) for key in self._carry.state}
        canvas = tf.zeros([steps, *([stage.width] if stage.is_image else []), batch, event.channels], self._dtype)
        drawn = incremental.Drawn(Carry(state, examples["last"], first), canvas)
        # All examples are as many cells behind their first one.
        choose = self._inputs(examples, context, cell, cells).chooser(event, origin=cell)
        carry, canvas = incremental.draw_units(stage, drawn, choose, context, steps, first)
        values = tf.transpose(tf.reshape(canvas, [cells, batch, event.channels]), [1, 0, 2])
        after = {
            **{_STATE + key: self._batch_first(key, x) for key, x in carry.state.items()},
            "last": carry.last,
            "position": examples["position"] + count,
        }
        after = {name: tf.ensure_shape(after.get(name, x), x.shape) for name, x in examples.items()}
        return after, tf.reshape(values, [batch, count, *self._unit_shape])

    def _inputs(self, examples: Tensors, context: Request, cell: tf.Tensor, cells: tf.Tensor) -> SampleInputs:
        """Noise, temperature and known values of the next cells.

        Args:
            examples: tensors of `spec`.
            context: of the examples.
            cell: int32 [B], the first cell of every example in the order of drawing.
            cells: int32 [], number of cells.
        """
        event, model = self.model.event, self.model
        size, groups, place = event.head.noise_size, event.groups, cell[:, None] + tf.range(cells)
        order = None if self._endless else self.stage.order(context)
        if order is None:
            noise = noises.uniform(examples["seed"], cells * groups, size, cell * groups)
        else:  # noise belongs to the place of a cell, whatever its rank is
            noise = noises.uniform(examples["seed"], event.num_positions, size)
        if model.num_members > 1:
            _, rest = model.prepare_draws(NOTHING, noise[:, 0])
            at_beginning = tf.ones_like(cell, tf.bool) if order is not None else tf.equal(cell, 0)
            first = tf.where(at_beginning[:, None], rest, noise[:, 0])
            noise = tf.concat([first[:, None], noise[:, 1:]], 1)
        if order is not None:
            own = tf.gather(
                tf.broadcast_to(order[0], [tf.shape(cell)[0], event.num_cells]), place, batch_dims=1, axis=1
            )
            noise = tf.reshape(noise, [-1, event.num_cells, groups, size])
            noise = tf.reshape(tf.gather(noise, own, axis=1, batch_dims=1), [-1, cells * groups, size])
        # Cells beyond the prefix are not known, whatever is read there.
        prefix = tf.pad(examples["prefix"], [[0, 0], [0, 1], [0, 0]])
        values = tf.gather(prefix, tf.minimum(place, tf.shape(prefix)[1] - 1), axis=1, batch_dims=1)
        rank = place[..., None] * event.channels + tf.range(event.channels)
        return SampleInputs(noise, examples["temperature"], values, rank < examples["known"][:, None, None])

    def _batch_first(self, key: str, x: tf.Tensor) -> tf.Tensor:
        """Returns an entry of the state with the examples first."""
        axis = batch_axis(self._carry.state[key])
        return tf.transpose(x, [axis, *(other for other in range(x.shape.rank) if other != axis)]) if axis else x

    def _batch_back(self, key: str, x: tf.Tensor) -> tf.Tensor:
        """Returns the same with the examples where the layer has them."""
        axis = batch_axis(self._carry.state[key])
        if not axis:
            return x
        others = list(range(1, x.shape.rank))
        return tf.transpose(x, [*others[:axis], 0, *others[axis:]])
