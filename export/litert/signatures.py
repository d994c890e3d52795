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

A unit is a row of an image drawn in raster order, a value of a sequence, and a cell of events in another order. A model
of several parts has these two for each of its parts, `start_NAME` and `step_NAME`; `start_NAME` also takes the values
of the parts before, `part_NAME`, and the unit of a part whose cells are drawn at once is the part.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from export.litert.steps import Steps, float_input
from export.writer.errors import ExportError
from export.writer.inputs import Tensors, condition_inputs, condition_of, function_of
from tfar.core.request import Request
from tfar.models import AutoregressiveModel


class LiteRTSignatures:
    """The signatures of a model in LiteRT.

    Args:
        model: the model.
        batch_size: rows B of every call.
        length: of the events of a model of any length; None for the others.

    Attributes:
        event_shape: shape of one event.
        num_positions: factors of an event, those of all parts together.
        noise_size: numbers of noise of a factor.
        num_members: members of an ensemble, of which the noise of `sample` chooses one and `start` is told one; else 1.
        conditions: the inputs that are the condition.
        steps: `start` and `step`, of every part.

    Raises:
        ExportError: `batch_size` or `length` does not fit the model, or it computes in another type than float32.
    """

    def __init__(self, model: AutoregressiveModel, batch_size: int = 1, length: int | None = None):
        self.model, self.batch_size = model, batch_size
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise ExportError(f"batch_size must be a positive integer, got {batch_size!r}")
        for stage in model.stages:
            if stage.network.compute_dtype != "float32":
                raise ExportError(
                    f"a LiteRT model computes in float32, this one in {stage.network.compute_dtype}; load it with "
                    "keras.config.set_dtype_policy('float32')"
                )
        self.event_shape = _event_shape(model, length)
        self.num_positions, self.noise_size = model.noise_shape(self.event_shape)
        self.num_members = model.num_members
        self.conditions = condition_inputs(model, self.event_shape, batch_size)
        self.steps = self._steps_of_parts() if model.parts else [self._steps()]

    def functions(self) -> dict[str, Any]:
        """Returns a `tf.function` by the name of every signature."""
        batch = self.batch_size
        noise = float_input("noise", [batch, self.num_positions, self.noise_size])
        temperature = float_input("temperature", [batch])
        x = float_input("x", [batch, *self.event_shape], self.model.head.dtype)
        found = {
            "sample": function_of([noise, temperature, *self.conditions], self._sample),
            "log_prob": function_of([x, *self.conditions], self._log_prob),
        }
        for steps in self.steps:
            found |= steps.functions()
        return found

    @property
    def has_factors(self) -> bool:
        """Whether there is a score: an ensemble has one factorisation per member."""
        return self.num_members == 1

    # The steps.

    def _steps(self) -> Steps:
        """Returns the steps of a model of one stage; `start` is told the condition, and the member of an ensemble."""
        model, (stage,) = self.model, self.model.stages
        member = [float_input("member", [self.batch_size], tf.int32)] if self.num_members > 1 else []

        def told(inputs: Tensors) -> Request:
            return model.context(Request(condition_of(model, inputs), member=inputs.get("member")))

        return Steps(stage, [*self.conditions, *member], told, self.event_shape, self.batch_size)

    def _steps_of_parts(self) -> list[Steps]:
        model, batch = self.model, self.batch_size
        values = [
            float_input(f"part_{part.name}", [batch, *part.model.event_shape], part.model.head.dtype)
            for part in model.parts
        ]

        def of_part(index: int) -> Steps:
            part = model.parts[index]
            earlier = [] if part.link is None else values[:index]

            def told(inputs: Tensors) -> Request:
                context = model.context(Request(condition_of(model, inputs)))
                return model.part_context(index, [inputs[item.name] for item in earlier], context)

            return Steps(part.stage, [*self.conditions, *earlier], told, part.model.event_shape, batch, part.name)

        return [of_part(index) for index in range(len(model.parts))]

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
