"""The signatures of a LiteRT model: functions of noise and of an explicit state, of fixed shapes.

    sample    (noise [B, positions, k], temperature [B], condition?)     -> samples [B, *event_shape]
    log_prob  (x [B, *event_shape], condition?)                          -> log_prob [B], score [B, *positions]
    start     (condition?)                                               -> carry
    step      (noise of one unit, temperature [B], carry)                -> chunk, cells?, carry

The carry is a dictionary of named tensors: `position` (units drawn so far), what the network keeps, and what it is
told. `step` gives back what it changes under the same names, so that drawing is

    carry = start(condition)
    for unit in range(units):
        out = step(noise=..., temperature=..., **carry)
        chunk = out.pop("chunk")
        carry.update(out)

A unit is a row of an image drawn in raster order, a value of a sequence, and a cell of events in another order.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from export.errors import ExportError
from export.inputs import Input, Tensors, condition_inputs, condition_of, function_of
from tfar.core.conditions import Local
from tfar.core.event import Stage
from tfar.core.slicing import put
from tfar.models import AutoregressiveModel
from tfar.models.ensemble import Ensemble
from tfar.sampling import Draw, incremental
from tfar.sampling.draw import cells_first


@dataclasses.dataclass(frozen=True)
class Carried:
    """A tensor of the carry.

    Attributes:
        spec: shape and type, with the name of the tensor.
        path: where it belongs: an entry of the network's state, a part of the context, "previous" or "canvas".
        changes: whether `step` gives it back; the others are told once, by `start`.
    """

    spec: tf.TensorSpec
    path: str
    changes: bool = True


class LiteRTSignatures:
    """What a model can do in LiteRT.

    Args:
        model: the model.
        batch_size: rows B of every call.
        length: of the events of a model of any length; None for the others.

    Attributes:
        event_shape: shape of one event.
        num_positions: factors of an event.
        num_members: members of an ensemble, of which the noise of `sample` chooses one and `start` is told one; else 1.
        conditions: the inputs that are the condition.
        unit: what a step draws: "row", "value" or "cell".
        num_units: units of an event.
        noise_shape: of one step, [B, positions of a unit, k].
        carried: tensors of the carry besides `position`.

    Raises:
        ExportError: `batch_size` or `length` does not fit the model, or it computes in another type than float32.
    """

    def __init__(self, model: AutoregressiveModel, batch_size: int = 1, length: int | None = None):
        self.model, self.stage, self.batch_size = model, model.stage, batch_size
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise ExportError(f"batch_size must be a positive integer, got {batch_size!r}")
        if model.stage.network.compute_dtype != "float32":
            raise ExportError(
                f"a LiteRT model computes in float32, this one in {model.stage.network.compute_dtype}; load it with "
                "keras.config.set_dtype_policy('float32')"
            )
        self.event_shape = _event_shape(model, length)
        event = model.event
        self.num_positions = event.count_positions(self.event_shape)
        self.num_members = model.num_members if isinstance(model, Ensemble) else 1
        self.conditions = [self._static(item) for item in condition_inputs(model)]
        self.unit, self._cells = self._unit()
        self.num_units = (event.num_cells if None not in event.grid else self.event_shape[0]) // self._cells
        self.noise_shape = [batch_size, self._cells * event.groups, event.head.noise_size]
        self._context = self._example_context()
        self.carried = self._carried()

    def functions(self) -> dict[str, Any]:
        """A `tf.function` by the name of every signature."""
        batch, size = self.batch_size, self.model.head.noise_size
        noise = _input("noise", [batch, self.num_positions, size])
        temperature = _input("temperature", [batch])
        x = _input("x", [batch, *self.event_shape], self.model.head.dtype)
        position = _input("position", [1], tf.int32)
        carried = [Input(item.spec.name, item.spec, item.path) for item in self.carried]
        step = [_input("noise", self.noise_shape), temperature, position, *carried]
        return {
            "sample": function_of([noise, temperature, *self.conditions], self._sample),
            "log_prob": function_of([x, *self.conditions], self._log_prob),
            "start": function_of(self.start_inputs, self._start),
            "step": function_of(step, self._step),
        }

    @property
    def has_factors(self) -> bool:
        """Whether there is a score: an ensemble has one factorisation per member."""
        return self.num_members == 1

    @property
    def start_inputs(self) -> list[Input]:
        """Inputs of `start`: the condition, and the member of an ensemble."""
        member = [_input("member", [self.batch_size], tf.int32)] if self.num_members > 1 else []
        return [*self.conditions, *member]

    # Shapes.

    def _static(self, item: Input) -> Input:
        """A condition for B rows, as long as the events need."""
        part = self.model.condition.parts[int(item.name.rpartition("_")[2]) if "_" in item.name else 0]
        shape = list(item.spec.shape[1:])
        if isinstance(part, Local):
            shape[0] = part.num_frames(self.event_shape[0])
        return dataclasses.replace(item, spec=tf.TensorSpec([self.batch_size, *shape], item.spec.dtype, item.name))

    def _unit(self) -> tuple[str, int]:
        """What a step draws, and how many cells that is."""
        event = self.model.event
        if len(event.grid) == 2:
            return "row", event.grid[1]
        if isinstance(self.model, Ensemble) and self.num_members > 1 or self._fixed_order() is not None:
            return "cell", 1
        return ("row", event.num_cells // self.event_shape[0]) if len(self.event_shape) == 3 else ("value", 1)

    def _fixed_order(self) -> Any:
        ordering = self.stage.ordering
        return None if ordering is None or ordering.is_raster else ordering

    def _example_context(self) -> Any:
        """What the network is told, as specs of B rows."""
        specs = [item.spec for item in self.start_inputs]
        names = [item.name for item in self.start_inputs]
        found: list[Any] = []

        def trace(*values: tf.Tensor) -> tf.Tensor:
            context = self._told(dict(zip(names, values, strict=True)))
            # Only the structure: outputs of a function are flat tensors.
            found.append(None if context is None else tf.nest.map_structure(_spec, context))
            return tf.zeros([])

        tf.function(trace, autograph=False).get_concrete_function(*specs)
        return found[0]

    def _told(self, inputs: Tensors) -> Any:
        """The context, from the inputs of `start`."""
        condition = condition_of(self.model, inputs)
        if self.num_members > 1:
            condition = {"member": inputs["member"]} | ({} if condition is None else {"condition": condition})
        return self.model.context(condition)

    def _carried(self) -> list[Carried]:
        """What goes from step to step, besides the position."""
        batch, event, found = self.batch_size, self.model.event, []
        specs = [] if self._context is None else tf.nest.flatten(self._context)
        zeros = [tf.zeros(item.shape, item.dtype) for item in specs]
        example = None if self._context is None else tf.nest.pack_sequence_as(self._context, zeros)
        spec = incremental.carry_spec(self.stage, example)
        previous = spec["previous"]
        found.append(Carried(tf.TensorSpec([batch, *previous.shape[1:]], previous.dtype, "previous"), "previous"))
        if len(event.grid) == 2:
            shape = [event.num_cells, batch, event.channels]
            found.append(Carried(tf.TensorSpec(shape, event.head.dtype, "canvas"), "canvas"))
        for index, (path, item) in enumerate(sorted(spec["state"].items())):
            shape = [batch if size is None else size for size in item.shape]
            found.append(Carried(tf.TensorSpec(shape, item.dtype, f"state_{index}"), path))
        for index, item in enumerate(specs):
            told = tf.TensorSpec(item.shape, item.dtype, f"context_{index}")
            found.append(Carried(told, f"context {index}", changes=False))
        return found

    # What the signatures compute.

    def _sample(self, inputs: Tensors) -> Tensors:
        condition = condition_of(self.model, inputs)
        return {"samples": self.model.sample_from_noise(inputs["noise"], condition, inputs["temperature"])}

    def _log_prob(self, inputs: Tensors) -> Tensors:
        model, x, condition = self.model, inputs["x"], condition_of(self.model, inputs)
        if not self.has_factors:
            return {"log_prob": model.log_prob(x, condition)}
        score = model.head.log_prob(model(x, condition, training=False), model.event.to_head(x))
        return {"log_prob": tf.reduce_sum(tf.reshape(score, [self.batch_size, -1]), -1), "score": score}

    def _start(self, inputs: Tensors) -> Tensors:
        told = iter([] if self._context is None else tf.nest.flatten(self._told(inputs)))
        carry = {
            item.spec.name: tf.zeros(item.spec.shape, item.spec.dtype) if item.changes else next(told)
            for item in self.carried
        }
        return {"position": tf.zeros([1], tf.int32), **carry}

    def _step(self, inputs: Tensors) -> Tensors:
        stage, event, batch = self.stage, self.model.event, self.batch_size
        unit, noise = inputs["position"][0], inputs["noise"]
        by_path = {item.path: inputs[item.spec.name] for item in self.carried if item.changes}
        told = [inputs[item.spec.name] for item in self.carried if not item.changes]
        context = None if self._context is None else tf.nest.pack_sequence_as(self._context, told)
        state = {path: value for path, value in by_path.items() if path not in ("previous", "canvas")}
        carry = {"state": state, "previous": by_path["previous"]}
        if "canvas" in by_path:
            carry["canvas"] = by_path["canvas"]
            rows = put(tf.zeros([self.num_units, *noise.shape]), unit, noise)
            noise = tf.reshape(tf.transpose(rows, [1, 0, 2, 3]), [batch, -1, noise.shape[2]])
            first, origin = unit, 0
        else:
            # A canvas of one unit; the noise comes in the order of drawing, whatever cells these are.
            carry["canvas"] = cells_first(tf.zeros([batch, self._cells, event.channels], event.head.dtype))
            stage, first = Stage(stage.network, event, None, stage.encode), unit * self._cells
            origin = first
        last = first + (1 if len(event.grid) == 2 else self._cells)
        draw = Draw(noise, inputs["temperature"])
        carry = incremental.advance(stage, carry, draw, context, first, last, origin)
        out = {"previous": carry["previous"], **carry["state"]}
        drawn = carry["canvas"]
        if len(event.grid) == 2:
            out["canvas"] = drawn
            drawn = tf.slice(drawn, tf.stack([unit * self._cells, 0, 0]), [self._cells, batch, event.channels])
        drawn = tf.transpose(drawn, [1, 0, 2])
        shape = {"row": self.event_shape[1:], "cell": [event.channels], "value": []}[self.unit]
        outputs = {
            "chunk": tf.reshape(drawn, [batch, *shape]),
            "position": inputs["position"] + 1,
            **{item.spec.name: out[item.path] for item in self.carried if item.changes},
        }
        if self.unit == "cell":
            outputs["cells"] = self._cell(context, unit)
        return {name: tf.identity(value) for name, value in outputs.items()}

    def _cell(self, context: Any, unit: tf.Tensor) -> tf.Tensor:
        """Flat index [B] of the cell that is drawn at a step."""
        order = self.stage.order(context)
        if order is None:  # members that all draw as values are stored
            return tf.fill([self.batch_size], unit)
        cells = tf.convert_to_tensor(order[0], tf.int32)
        cell = tf.gather(cells, unit, axis=cells.shape.rank - 1)
        return tf.fill([self.batch_size], cell) if cells.shape.rank == 1 else cell


def _event_shape(model: AutoregressiveModel, length: Any) -> tuple[int, ...]:
    """The event shape with `length` in place of what is open."""
    if None not in model.event_shape:
        if length is not None and model.event_shape != (length,):
            raise ExportError(f"length is for models of any length; events are {model.event_shape}, got {length!r}")
        return tuple(model.event_shape)
    if length is None:
        raise ExportError(
            f"length must be given: this {type(model).__name__} models events of any length, and a LiteRT model scores "
            "and samples events of one"
        )
    if isinstance(length, bool) or not isinstance(length, int | np.integer) or length < 1:
        raise ExportError(f"length must be a positive integer, got {length!r}")
    return (int(length),)


def _spec(x: tf.Tensor) -> tf.TensorSpec:
    return tf.TensorSpec(x.shape, x.dtype)


def _input(name: str, shape: list[int], dtype: tf.DType = tf.float32) -> Input:
    return Input(name, tf.TensorSpec(shape, dtype, name), name)
