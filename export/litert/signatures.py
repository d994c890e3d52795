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

from export.writer.errors import ExportError
from export.writer.inputs import Input, Tensors, condition_inputs, condition_of, function_of
from tfar.core.carry import Carry
from tfar.core.request import Request
from tfar.models import AutoregressiveModel
from tfar.sampling import SampleInputs, incremental


@dataclasses.dataclass(frozen=True)
class Carried:
    """A tensor of the carry.

    Attributes:
        spec: shape and type, with the name of the tensor.
        path: where it belongs: an entry of the network's state, a part of the context, or "last", the unit before.
        changes: whether `step` gives it back; the others are told once, by `start`.
    """

    spec: tf.TensorSpec
    path: str
    changes: bool = True


class LiteRTSignatures:
    """The signatures of a model in LiteRT.

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
        self.model, (self.stage,), self.batch_size = model, model.stages, batch_size
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise ExportError(f"batch_size must be a positive integer, got {batch_size!r}")
        if self.stage.network.compute_dtype != "float32":
            raise ExportError(
                f"a LiteRT model computes in float32, this one in {self.stage.network.compute_dtype}; load it with "
                "keras.config.set_dtype_policy('float32')"
            )
        self.event_shape = _event_shape(model, length)
        event = model.event
        self.num_positions = event.count_positions(self.event_shape)
        self.num_members = model.num_members
        self.conditions = condition_inputs(model, self.event_shape, batch_size)
        self._context = self._trace_context()
        self.num_units = (event.num_cells if None not in event.grid else self.event_shape[0]) // self._cells
        self.noise_shape = [batch_size, self._cells * event.groups, event.head.noise_size]
        self.carried = self._carried()

    def functions(self) -> dict[str, Any]:
        """Returns a `tf.function` by the name of every signature."""
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

    def _trace_context(self) -> Request:
        """Returns shapes and types of the context of B examples; also sets the unit and cells of a step."""
        specs = [item.spec for item in self.start_inputs]
        names = [item.name for item in self.start_inputs]
        found: list[Request] = []

        def trace(*values: tf.Tensor) -> tf.Tensor:
            context = self._told(dict(zip(names, values, strict=True)))
            self.unit, self._cells = self.stage.output_unit(context)
            # Only the structure: outputs of a function are flat tensors.
            found.append(context.map(lambda x: tf.TensorSpec(x.shape, x.dtype)))
            return tf.zeros([])

        tf.function(trace, autograph=False).get_concrete_function(*specs)
        return found[0]

    def _told(self, inputs: Tensors) -> Request:
        """Returns the context, from the inputs of `start`."""
        return self.model.context(Request(condition_of(self.model, inputs), member=inputs.get("member")))

    def _carried(self) -> list[Carried]:
        """Lists the tensors that one step passes to the next: last unit, network state, context; not the position."""
        batch, found = self.batch_size, []
        spec = self.stage.spec(self._context)
        found.append(Carried(tf.TensorSpec([batch, *spec.last.shape[1:]], spec.last.dtype, "last"), "last"))
        for index, (path, item) in enumerate(sorted(spec.state.items())):
            shape = [batch if size is None else size for size in item.shape]
            found.append(Carried(tf.TensorSpec(shape, item.dtype, f"state_{index}"), path))
        for index, item in enumerate(self._context.tensors):
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
        score = model.score_graph(x, Request(condition))
        return {"log_prob": tf.reduce_sum(tf.reshape(score, [self.batch_size, -1]), -1), "score": score}

    def _start(self, inputs: Tensors) -> Tensors:
        told = iter(self._told(inputs).tensors)
        carry = {
            item.spec.name: tf.zeros(item.spec.shape, item.spec.dtype) if item.changes else next(told)
            for item in self.carried
        }
        return {"position": tf.zeros([1], tf.int32), **carry}

    def _step(self, inputs: Tensors) -> Tensors:
        stage, event, batch = self.stage, self.model.event, self.batch_size
        by_path = {item.path: inputs[item.spec.name] for item in self.carried if item.changes}
        context = self._context.with_tensors(inputs[item.spec.name] for item in self.carried if not item.changes)
        steps = self._cells // stage.width
        first = inputs["position"][0] * steps
        carry = Carry({path: by_path[path] for path in by_path if path != "last"}, by_path["last"], first)
        # The noise comes in the order of drawing, whatever cells these are.
        inside = SampleInputs(inputs["noise"], inputs["temperature"])
        choose = inside.chooser(event, origin=first * stage.width)
        if steps == 1:
            drawn, carry, _ = stage.draw(carry, choose, (), context)
        else:
            canvas = tf.zeros([steps, batch, event.channels], event.head.dtype)
            begun = incremental.Drawn(carry, canvas)
            carry, canvas = incremental.draw_units(stage, begun, choose, context, steps, first)
            drawn = tf.transpose(canvas, [1, 0, 2])
        shape = {"row": self.event_shape[1:], "cell": [event.channels], "value": []}[self.unit]
        out = {"last": carry.last, **carry.state}
        outputs = {
            "chunk": tf.reshape(drawn, [batch, *shape]),
            "position": inputs["position"] + 1,
            **{item.spec.name: out[item.path] for item in self.carried if item.changes},
        }
        if self.unit == "cell":
            cells = tf.convert_to_tensor(stage.order(context)[0], tf.int32)
            cell = tf.gather(cells, first, axis=cells.shape.rank - 1)
            outputs["cells"] = tf.fill([batch], cell) if cells.shape.rank == 1 else cell
        return {name: tf.identity(value) for name, value in outputs.items()}


def _event_shape(model: AutoregressiveModel, length: Any) -> tuple[int, ...]:
    """Returns the event shape with `length` in place of what is open."""
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


def _input(name: str, shape: list[int], dtype: tf.DType = tf.float32) -> Input:
    return Input(name, tf.TensorSpec(shape, dtype, name), name)
