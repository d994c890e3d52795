"""Sampling cut into steps: the state of a row as tensors with the row first, at a position of its own.

    rows = sampler.begin(seed, temperature, condition, prefix)       # every tensor [B, ...]
    rows, chunk = sampler.step(rows, n)                              # row r draws its next n[r] units

Rows of one call may stand at different positions: those at the same position with the same n are drawn together, the
groups one after the other. What a row draws depends on its own seed alone, so that neither the chunks nor the company
changes it. Client-held states and server-side sessions are these rows in two kinds of luggage.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from export.batched import batched
from export.inputs import Tensors, condition_inputs, condition_of
from tfar.core import noise as noises
from tfar.models import AutoregressiveModel
from tfar.sampling import Draw, incremental
from tfar.sampling.draw import cells_first

_STATE = "state/"


class Chunk(NamedTuple):
    """What a step has drawn.

    Attributes:
        values: [B, n, ...] for the largest count of all rows: rows of an image, values of a sequence, or cells.
        count: int32 [B], how many units of a row are drawn; those beyond are 0.
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


class RowSampler:
    """Draws events of a model step by step.

    Args:
        model: a model. One without an own length goes on for ever.
        batch_calls: draw the rows of steps that are under way together as one batch, see `export.batched`.

    Attributes:
        unit: what a step draws: "row" of an image, "value" of a sequence, or "cell".
        units: units of an event; None where it has no length of its own.

    Raises:
        ValueError: the state of a row has no fixed size.
    """

    def __init__(self, model: AutoregressiveModel, batch_calls: bool = False):
        self.model, self.stage, event = model, model.stage, model.event
        self._batch_calls = batch_calls
        self._endless = None in model.event_shape
        self._conditions = condition_inputs(model)
        for item in self._conditions:
            if None in item.spec.shape[1:].as_list():
                raise ValueError(f"{item.name} of any length cannot be part of a state: {model.condition!r}")
        noise = tf.zeros([1, 1 if self._endless else event.num_positions, event.head.noise_size])
        examples = {item.name: tf.zeros([1, *item.spec.shape[1:]], item.spec.dtype) for item in self._conditions}
        context, _ = model.prepare_draws(condition_of(model, examples), noise)
        self._ordered = self.stage.order(context) is not None
        self._carry = incremental.carry_spec(self.stage, context)
        # Images in raster order are drawn in rows, whether or not the network treats them as a sequence of cells.
        self._width = 1
        self.unit = "cell" if self._ordered or len(model.event_shape) == 3 else "value"
        if len(model.event_shape) == 3 and not self._ordered:
            self.unit, self._width = "row", int(np.prod(event.grid)) // model.event_shape[0]
        self.units = None if self._endless else event.num_cells // self._width
        self.spec = self._spec()
        # While values are drawn, rows without a length of their own have a canvas too, of one chunk.
        self._inside = {"canvas": tf.TensorSpec([None, None, 1], self._dtype), **self.spec}
        scalar = tf.TensorSpec([], tf.int32)
        self._group = tf.function(
            lambda rows, first, count: self._draw_group(rows, first, count),
            autograph=False,
            input_signature=[self._inside, scalar, scalar],
            # As part of the loop over groups it takes TensorFlow twice as long to optimize before the first call.
            experimental_attributes={"_noinline": True},
        )

    def _spec(self) -> dict[str, tf.TensorSpec]:
        """Shape of every tensor of a row; the first dimension is the rows."""
        spec = {
            "position": tf.TensorSpec([None], tf.int32),
            "known": tf.TensorSpec([None], tf.int32),
            "seed": tf.TensorSpec([None, 2], tf.int64),
            "temperature": tf.TensorSpec([None], tf.float32),
            "previous": self._carry["previous"],
            **{item.name: item.spec for item in self._conditions},
        }
        if not self._endless:
            spec["canvas"] = tf.TensorSpec([None, self.model.event.num_cells, self.model.event.channels], self._dtype)
        for key, item in self._carry["state"].items():
            spec[_STATE + key] = tf.TensorSpec([None, *(size for size in item.shape if size is not None)], item.dtype)
        return spec

    @property
    def _dtype(self) -> tf.DType:
        return self.model.head.dtype

    def begin(self, seed: tf.Tensor, temperature: tf.Tensor, condition: Tensors, prefix: tf.Tensor | None) -> Tensors:
        """Rows at the position after the prefix.

        Args:
            seed: int64 [B, 2].
            temperature: float32 [B].
            condition: by the names of the inputs.
            prefix: [B, P], the first values in the order of drawing; None for nothing.

        Returns:
            Tensors of `spec`.
        """
        batch = tf.shape(seed)[0]
        rows = {name: tf.zeros([batch, *item.shape[1:]], item.dtype) for name, item in self.spec.items()} | {
            "seed": seed,
            "temperature": temperature,
            **condition,
        }
        if prefix is None:
            return rows
        size = tf.shape(prefix)[1]
        if self._endless:
            return tf.cond(size > 0, lambda: self._read(rows, prefix), lambda: rows)
        # They wait on the canvas until the first step, which is the first to run the network.
        return {**rows, "canvas": self._place(prefix), "known": tf.fill([batch], size)}

    def position(self, rows: Tensors) -> tf.Tensor:
        """Units drawn so far, int32 [B], those that the prefix holds whole included."""
        if self._endless:
            return rows["position"]
        return tf.maximum(rows["position"], rows["known"] // (self._width * self.model.event.channels))

    def _read(self, rows: Tensors, prefix: tf.Tensor) -> Tensors:
        """Rows without a length of their own after they took in the prefix."""
        batch, size = tf.shape(prefix)[0], tf.shape(prefix)[1]
        rows = {**rows, "canvas": prefix[..., None], "known": tf.fill([batch], size)}
        rows = self._advance(rows, tf.fill([batch], size))
        return {name: tf.zeros_like(rows[name]) if name == "known" else rows[name] for name in self.spec}

    def _place(self, prefix: tf.Tensor) -> tf.Tensor:
        """[B, P] -> canvas [B, N, C] that begins with these values in the order of drawing."""
        event = self.model.event
        missing = event.num_dimensions - tf.shape(prefix)[1]
        values = tf.reshape(tf.pad(prefix, [[0, 0], [0, missing]]), [-1, event.num_cells, event.channels])
        order = self.stage.order()
        return values if order is None else tf.gather(values, order[1], axis=1)

    def step(self, rows: Tensors, n: tf.Tensor, name: str = "step") -> tuple[Tensors, Chunk]:
        """Draws the next n units of every row, fewer at the end of the event.

        Args:
            rows: tensors of `spec`.
            n: int32 [B], at least 1.
            name: of the signature, whose calls may be drawn together.

        Returns:
            The rows at their new positions, and what was drawn.
        """
        if not self._batch_calls:
            return self._step(rows, n)

        def compute(together: Tensors) -> Tensors:
            kept, chunk = self._step({name: together[name] for name in self.spec}, together["n"])
            return {**kept, **chunk.outputs, "position": kept["position"]}

        drawn = batched(name, compute, {**rows, "n": n})
        most = tf.reduce_max(drawn["count"])
        cells = drawn["cells"][:, :most] if "cells" in drawn else None
        chunk = Chunk(drawn["chunk"][:, :most], drawn["count"], drawn["position"], drawn["done"], cells)
        return {name: drawn[name] for name in self.spec}, chunk

    def _step(self, rows: Tensors, n: tf.Tensor) -> tuple[Tensors, Chunk]:
        """`step` of these rows alone."""
        first = self.position(rows)
        count = n if self.units is None else tf.minimum(n, self.units - first)
        batch, most = tf.shape(n)[0], tf.reduce_max(count)
        if self._endless:
            rows = {**rows, "canvas": tf.zeros([batch, most, 1], self._dtype)}
        # The first step after a prefix goes over it as well.
        rows = self._advance(rows, first + count - rows["position"])
        place = tf.range(most)[None] + (tf.zeros_like(first) if self._endless else first)[:, None]
        drawn = tf.range(most)[None] < count[:, None]
        chunk, cells = self._read_units(rows, place, drawn)
        done = tf.zeros_like(first) if self.units is None else tf.cast(rows["position"] >= self.units, tf.int32)
        kept = {name: rows[name] for name in self.spec}
        return kept, Chunk(chunk, count, rows["position"], done, cells)

    def _read_units(self, rows: Tensors, place: tf.Tensor, drawn: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Units `place` [B, n] of the canvas, 0 where they are not drawn, and their cells where an order says so."""
        canvas, event = rows["canvas"], self.model.event
        place = tf.where(drawn, place, 0)
        cells = None
        if self._ordered:
            order = tf.convert_to_tensor(self.stage.order(self._context(rows)[0])[0], tf.int32)
            order = order if order.shape.rank == 2 else tf.broadcast_to(order, [tf.shape(place)[0], event.num_cells])
            place = tf.gather(order, place, axis=1, batch_dims=1)
            cells = tf.where(drawn, place, 0)
        if self.unit == "row":
            canvas = tf.reshape(canvas, [-1, *self.model.event_shape])
        units = tf.gather(canvas, place, axis=1, batch_dims=1)
        mask = tf.reshape(drawn, [*tf.unstack(tf.shape(drawn)), *[1] * (units.shape.rank - 2)])
        units = tf.where(mask, units, tf.zeros_like(units))
        return (tf.squeeze(units, -1) if len(self.model.event_shape) == 1 else units), cells

    def _context(self, rows: Tensors) -> tuple[Any, tf.Tensor]:
        """What the network is given besides the event, and the noise of all positions."""
        event = self.model.event
        noise = noises.uniform(rows["seed"], event.num_positions, event.head.noise_size)
        return self.model.prepare_draws(condition_of(self.model, rows), noise)

    def _advance(self, rows: Tensors, count: tf.Tensor) -> Tensors:
        """Draws count[r] units of every row r onto its canvas, group by group."""
        first = rows["position"]
        keys = tf.cast(first, tf.int64) * 2**31 + tf.cast(count, tf.int64)
        groups = tf.unique(keys).y

        def draw(index: tf.Tensor, rows: Tensors) -> tuple[tf.Tensor, Tensors]:
            members = tf.where(tf.equal(keys, groups[index]))
            group = {name: tf.gather_nd(x, members) for name, x in rows.items()}
            group = self._group(group, group["position"][0], tf.gather_nd(count, members)[0])
            merged = {name: tf.tensor_scatter_nd_update(x, members, group[name]) for name, x in rows.items()}
            return index + 1, {name: tf.ensure_shape(x, rows[name].shape) for name, x in merged.items()}

        rows = {name: tf.ensure_shape(x, self._inside[name].shape) for name, x in rows.items()}
        more = lambda index, _: index < tf.size(groups)  # noqa: E731
        return tf.while_loop(more, draw, (0, rows), parallel_iterations=1)[1]

    def _draw_group(self, rows: Tensors, first: tf.Tensor, count: tf.Tensor) -> Tensors:
        """Draws `count` units of rows that all stand at `first`."""
        stage, event, canvas = self.stage, self.model.event, rows["canvas"]
        if self._endless:
            noise = noises.uniform(rows["seed"], count, event.head.noise_size, first)
            context, noise = self.model.prepare_draws(condition_of(self.model, rows), noise)
            ranks, start, stop, origin = tf.range(tf.shape(canvas)[1])[:, None], first, first + count, first
        else:
            context, noise = self._context(rows)
            ranks, origin = self._ranks(), 0
            scale = self._width if len(event.grid) == 1 else 1
            start, stop = first * scale, (first + count) * scale
        grid = [-1 if size is None else size for size in event.grid]
        values = tf.reshape(canvas, [tf.shape(canvas)[0], *grid, event.channels])
        observed = ranks[None] < rows["known"][:, None, None]
        observed = tf.reshape(tf.broadcast_to(observed, tf.shape(canvas)), tf.shape(values))
        state = {key[len(_STATE) :]: self._batch_back(key, x) for key, x in rows.items() if key.startswith(_STATE)}
        carry = {"canvas": cells_first(values), "state": state, "previous": rows["previous"]}
        draw = Draw(noise, rows["temperature"], values, observed)
        carry = incremental.advance(stage, carry, draw, context, start, stop, origin)
        drawn = {
            **{_STATE + key: self._batch_first(_STATE + key, x) for key, x in carry["state"].items()},
            "canvas": tf.reshape(incremental.values(stage, carry), tf.shape(canvas)),
            "previous": carry["previous"],
            "position": rows["position"] + count,
        }
        return {name: tf.ensure_shape(drawn.get(name, x), x.shape) for name, x in rows.items()}

    def _ranks(self) -> tf.Tensor:
        """Place of every value in the order of drawing, int32 [N, C]."""
        event = self.model.event
        ranks = tf.reshape(tf.constant(self.stage.ordering.ranks, tf.int32), [-1, 1])
        return ranks * event.channels + tf.range(event.channels)

    def _batch_first(self, name: str, x: tf.Tensor) -> tf.Tensor:
        """A tensor of the state with the rows first."""
        axis = list(self._carry["state"][name[len(_STATE) :]].shape).index(None)
        return tf.transpose(x, [axis, *(other for other in range(x.shape.rank) if other != axis)]) if axis else x

    def _batch_back(self, name: str, x: tf.Tensor) -> tf.Tensor:
        """The same with the rows where the layer has them."""
        axis = list(self._carry["state"][name[len(_STATE) :]].shape).index(None)
        order = [*range(1, axis + 1), 0, *range(axis + 1, x.shape.rank)]
        return tf.transpose(x, order) if axis else x
