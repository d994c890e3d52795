"""Runs a .tflite file in the LiteRT runtime by its signatures, and draws from it step by step."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import tensorflow as tf

from export.litert.signatures import LiteRTSignatures
from export.litert.steps import Steps
from export.writer.errors import ExportError
from pipelines.start import quietly
from tfar.core import extras
from tfar.core.request import NOTHING, Request


class LiteRTModel:
    """A file in the LiteRT runtime.

    Args:
        content: the bytes of the file.

    Raises:
        ExportError: the runtime is not installed, or does not take the file.
    """

    def __init__(self, content: bytes):
        try:
            runtime = extras.load("ai_edge_litert.interpreter", "litert", "The check of a LiteRT model")
        except extras.MissingExtra as error:
            raise ExportError(str(error)) from error
        try:
            self._interpreter = runtime.Interpreter(model_content=content, num_threads=os.cpu_count())
        except (RuntimeError, ValueError) as error:
            raise ExportError(f"the LiteRT runtime does not take the model: {error}") from error
        self._runners: dict[str, Any] = {}

    def run(self, signature: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Calls a signature."""
        if signature in self._runners:
            return self._runners[signature](**inputs)
        self._runners[signature] = self._interpreter.get_signature_runner(signature)
        # The first call makes its delegates, and remarks on them.
        return quietly(lambda: self._runners[signature](**inputs))


def draw_in_steps(
    runtime: LiteRTModel,
    signatures: LiteRTSignatures,
    noise: np.ndarray,
    temperature: np.ndarray,
    told: dict[str, np.ndarray],
) -> np.ndarray:
    """Draws events unit by unit with `start` and `step`, from the noise that `sample` takes.

    Args:
        runtime: the file.
        signatures: what it can do.
        noise: [B, positions, k].
        temperature: [B].
        told: the condition.

    Returns:
        [B, *event_shape].
    """
    if not signatures.model.parts:
        if signatures.num_members > 1:
            request, first = signatures.model.prepare_draws(NOTHING, tf.constant(noise[:, 0]))
            told = {**told, "member": request.member.numpy()}
            noise = np.concatenate([first[:, None], noise[:, 1:]], 1)
        (steps,) = signatures.steps
        return _drawn(runtime, steps, noise, temperature, told)
    chain, values = signatures.model, dict(told)
    parts = zip(chain.parts, signatures.steps, chain.noise_slices(), strict=True)
    for part, steps, (positions, numbers) in parts:
        own = {item.name: values[item.name] for item in steps.inputs}
        drawn = _drawn(runtime, steps, noise[:, positions, numbers], temperature, own)
        values[f"part_{part.name}"] = drawn
    return chain.merge([values[f"part_{part.name}"] for part in chain.parts]).numpy()


def _drawn(
    runtime: LiteRTModel, steps: Steps, noise: np.ndarray, temperature: np.ndarray, told: dict[str, np.ndarray]
) -> np.ndarray:
    """Draws what the signatures of one stage draw, [B, *event_shape]."""
    batch, units = len(noise), steps.num_units
    noise = noise.reshape(batch, units, *steps.noise_shape[1:])
    order = _cells(steps, told)
    carry = runtime.run(steps.start_name, **told)
    canvas: np.ndarray | None = None
    for unit in range(units):
        at = order[:, unit]
        outputs = runtime.run(steps.step_name, noise=noise[np.arange(batch), at], temperature=temperature, **carry)
        chunk = outputs.pop("chunk")
        if canvas is None:
            canvas = np.zeros([batch, units, *chunk.shape[1:]], chunk.dtype)
        if steps.unit == "cell" and not np.array_equal(outputs.pop("cells"), at):
            raise ExportError(f"step {unit} of the LiteRT model draws another cell than Python")
        canvas[np.arange(batch), at] = chunk
        carry.update(outputs)
    return np.zeros([0]) if canvas is None else canvas.reshape(batch, *steps.event_shape)


def _cells(steps: Steps, told: dict[str, np.ndarray]) -> np.ndarray:
    """Returns the unit of the event that each step draws, [B, units]."""
    shape = [steps.batch_size, steps.num_units]
    context = Request(member=told.get("member"))
    order = steps.stage.order(context) if steps.unit == "cell" else None
    return np.broadcast_to(np.arange(shape[1]) if order is None else np.asarray(order[0]), shape)
