"""Steps of a LiteRT model: the signatures that draw an event, or a part of one, unit by unit from an explicit carry."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from export.writer.inputs import Input, Tensors, function_of
from tfar.core.carry import Carry
from tfar.core.request import Request
from tfar.core.stage import Stage
from tfar.sampling import SampleInputs, by_rank, incremental


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


class Steps:
    """The signatures `start` and `step` of one stage.

    Args:
        stage: what is drawn.
        inputs: of `start`.
        told: the context of the stage, from the inputs of `start`.
        event_shape: of what is drawn, without a length that is open.
        batch_size: rows B of every call.
        name: of the part of a chain; "" of a model of one stage.

    Attributes:
        unit: what a step draws: "row", "value" or "cell", or "part": all of a part whose cells are drawn at once.
        num_units: units of the event.
        noise_shape: of one step, [B, positions of a unit, k].
        carried: tensors of the carry besides `position`.
    """

    def __init__(
        self,
        stage: Stage,
        inputs: Sequence[Input],
        told: Callable[[Tensors], Request],
        event_shape: tuple[int, ...],
        batch_size: int,
        name: str = "",
    ):
        self.stage, self.inputs, self.batch_size, self.name = stage, list(inputs), batch_size, name
        self.event_shape, self._told = event_shape, told
        self._together = any(ordering.has_ties for ordering in stage.orderings)
        self._context = self._trace_context()
        event = stage.event
        cells = event.num_cells if None not in event.grid else math.prod(event_shape)
        if self._together:
            self.unit, self._cells = "part", cells
        self.num_units = cells // self._cells
        self.noise_shape = [batch_size, self._cells * event.groups, event.head.noise_size]
        self.carried = self._carried()

    @property
    def start_name(self) -> str:
        """Name of the signature that begins."""
        return f"start_{self.name}" if self.name else "start"

    @property
    def step_name(self) -> str:
        """Name of the signature that draws a unit."""
        return f"step_{self.name}" if self.name else "step"

    def functions(self) -> dict[str, Any]:
        """Returns a `tf.function` by the name of each signature."""
        batch = self.batch_size
        carried = [Input(item.spec.name, item.spec, item.path) for item in self.carried]
        step = [
            float_input("noise", self.noise_shape),
            float_input("temperature", [batch]),
            float_input("position", [1], tf.int32),
            *carried,
        ]
        return {
            self.start_name: function_of(self.inputs, self._start),
            self.step_name: function_of(step, self._step),
        }

    # Shapes.

    def _trace_context(self) -> Request:
        """Returns shapes and types of the context of B examples; also sets the unit and cells of a step."""
        names, found = [item.name for item in self.inputs], []

        def trace(*values: tf.Tensor) -> tf.Tensor:
            context = self._told(dict(zip(names, values, strict=True)))
            self.unit, self._cells = self.stage.output_unit(context)
            # Only the structure: outputs of a function are flat tensors.
            found.append(context.map(lambda x: tf.TensorSpec(x.shape, x.dtype)))
            return tf.zeros([])

        tf.function(trace, autograph=False).get_concrete_function(*[item.spec for item in self.inputs])
        return found[0]

    def _carried(self) -> list[Carried]:
        """Lists the tensors that one step passes to the next: last unit, network state, context; not the position."""
        batch, found = self.batch_size, []
        if not self._together:
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

    def _start(self, inputs: Tensors) -> Tensors:
        told = iter(self._told(inputs).tensors)
        carry = {
            item.spec.name: tf.zeros(item.spec.shape, item.spec.dtype) if item.changes else next(told)
            for item in self.carried
        }
        return {"position": tf.zeros([1], tf.int32), **carry}

    def _step(self, inputs: Tensors) -> Tensors:
        stage, event, batch = self.stage, self.stage.event, self.batch_size
        by_path = {item.path: inputs[item.spec.name] for item in self.carried if item.changes}
        context = self._context.with_tensors(inputs[item.spec.name] for item in self.carried if not item.changes)
        # The noise comes in the order of drawing, whatever cells these are.
        inside = SampleInputs(inputs["noise"], inputs["temperature"])
        if self._together:
            canvas = tf.zeros([batch, *event.grid, event.channels], event.head.dtype)
            ranks = by_rank.num_units(stage, event.num_cells)
            drawn = by_rank.advance(stage, canvas, inside, context, 0, ranks)
            outputs = {"chunk": tf.reshape(drawn, [batch, *self.event_shape]), "position": inputs["position"] + 1}
            return {name: tf.identity(value) for name, value in outputs.items()}
        steps = self._cells // stage.width
        first = inputs["position"][0] * steps
        carry = Carry({path: by_path[path] for path in by_path if path != "last"}, by_path["last"], first)
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


def float_input(name: str, shape: Sequence[int], dtype: tf.DType = tf.float32) -> Input:
    """Returns an input of a signature, described by its name alone."""
    return Input(name, tf.TensorSpec(list(shape), dtype, name), name)
