"""The metadata of a .tflite file: JSON in the file's own list, under the name "tfar".

An app needs nothing else to draw samples: how to make noise, what `step` keeps, and what the values stand for.
"""

from __future__ import annotations

import json
from typing import Any

import flatbuffers
import numpy as np
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema

import tfar
from export.litert.signatures import LiteRTSignatures
from export.litert.steps import Steps
from export.writer.inputs import Input
from export.writer.states import fingerprint
from tfar.core.protocols import Condition
from tfar.models import AutoregressiveModel

NAME = "tfar"
_IDENTIFIER = b"TFL3"  # of the file format, in tensorflow/compiler/mlir/lite/schema/schema.fbs

_NOISE = (
    "independent uniform numbers in the open interval (0, 1), never 0 or 1: (integer from 0 to 2^23 - 1, plus 0.5) / "
    "2^23; equal noise gives equal samples"
)
_STEPS = (
    "carry = start(condition inputs); for every unit: outputs = step(noise of the unit, temperature, **carry), where "
    "chunk is the unit that was drawn, and the other outputs replace what the carry holds under their names; begin "
    "again with start, or with all of `state` 0 and the same `told`"
)


def describe(signatures: LiteRTSignatures, quantization: str) -> dict[str, Any]:
    """Describes the model and its signatures for the file."""
    model, batch = signatures.model, signatures.batch_size
    shape = [batch, signatures.num_positions, signatures.noise_size]
    parts = () if model.condition is None else model.condition.parts
    return {
        "format": 1,
        "tfar": tfar.__version__,
        "model": type(model).__name__,
        "head": repr(model.head),
        "fingerprint": fingerprint(model),
        "quantization": quantization,
        "batch_size": batch,
        "event_shape": list(signatures.event_shape),
        "dtype": model.head.dtype.name,
        "levels": model.head.levels,
        "values": _values(model),
        "condition": [_condition(*pair) for pair in zip(signatures.conditions, parts, strict=True)],
        "noise": {"shape": shape, "dtype": "float32", "how": _NOISE},
        "temperature": {"shape": [batch], "dtype": "float32", "how": "positive; 1 draws from the model itself"},
        "sample": {"samples": [batch, *signatures.event_shape]},
        "log_prob": {"log_prob": "nats, [batch_size]"}
        | ({"score": "nats of every factor, they sum to log_prob"} if signatures.has_factors else {}),
        **({"parts": _parts(signatures)} if model.parts else {"step": _step(signatures.steps[0], model.num_members)}),
    }


def write(content: bytes, facts: dict[str, Any]) -> bytes:
    """Adds `facts` to the metadata of the file `content`, and removes the names of its inner tensors.

    Those are paths in Python's graph, which nobody asks for, and make up to a quarter of a small file.
    """
    model = schema.ModelT.InitFromPackedBuf(content)
    for graph in model.subgraphs:
        outside = {*graph.inputs, *graph.outputs}
        for index, tensor in enumerate(graph.tensors):
            if index not in outside:
                tensor.name = None
    data = json.dumps(facts, ensure_ascii=False).encode()
    model.description = f"{facts['model']}, {facts['quantization']}, by tfar {facts['tfar']}".encode()
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(data, np.uint8)
    entry = schema.MetadataT()
    entry.name, entry.buffer = NAME.encode(), len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    builder = flatbuffers.Builder(len(content) + len(data))
    builder.Finish(model.Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())


def read(content: bytes) -> dict[str, Any]:
    """Reads the metadata that `write` added to a LiteRT file.

    Raises:
        ValueError: the file has no such metadata.
    """
    model = schema.Model.GetRootAs(content, 0)
    for index in range(model.MetadataLength()):
        entry = model.Metadata(index)
        if entry.Name() == NAME.encode():
            return json.loads(model.Buffers(entry.Buffer()).DataAsNumpy().tobytes())
    raise ValueError(f"the file holds no metadata called {NAME!r}")


def operators(content: bytes) -> tuple[list[str], list[str]]:
    """Names of the built-in operators that a file needs, and of all others."""
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    model = schema.Model.GetRootAs(content, 0)
    codes = [model.OperatorCodes(index) for index in range(model.OperatorCodesLength())]
    custom = [
        (code.CustomCode() or b"CUSTOM").decode() for code in codes if _number(code) == schema.BuiltinOperator.CUSTOM
    ]
    found = {names[_number(code)] for code in codes}
    return sorted(found - {"CUSTOM"}), sorted(set(custom))


def _number(code: Any) -> int:
    # Files of before 2020 have the number in a byte, later ones where there is room, and both are written.
    return max(code.BuiltinCode(), code.DeprecatedBuiltinCode())


def _condition(item: Input, part: Condition) -> dict[str, Any]:
    return {"input": item.name, **part.describe(), **_tensor(item.spec), "meaning": item.meaning}


def _step(steps: Steps, num_members: int = 1) -> dict[str, Any]:
    """Units, noise and state of `step`."""
    changing = {item.spec.name: _tensor(item.spec) for item in steps.carried if item.changes}
    facts: dict[str, Any] = {
        "unit": steps.unit,
        "num_units": steps.num_units,
        "noise_shape": steps.noise_shape,
        "how": _STEPS,
        "start": [item.name for item in steps.inputs],
        "state": {"position": {"shape": [1], "dtype": "int32"}, **changing},
        "initial_state": "zeros",
        "told": {item.spec.name: _tensor(item.spec) for item in steps.carried if not item.changes},
    }
    if steps.unit == "cell":
        facts["cells"] = "flat index of the cell that each example has drawn, in raster order"
    if num_members > 1:
        facts["num_members"] = num_members
        facts["member"] = "uniform from 0 to num_members - 1, one for the whole event; `sample` takes it from the noise"
    return facts


def _parts(signatures: LiteRTSignatures) -> list[dict[str, Any]]:
    """Describes the steps of every part of a chain, and where its values lie in the event."""
    model = signatures.model
    places = np.arange(model.event.num_dimensions).reshape(1, *model.event_shape)
    found = []
    for part, steps, (positions, _) in zip(model.parts, signatures.steps, model.noise_slices(), strict=True):
        cells = None if part.view.auxiliary else part.view.flags(places).reshape(-1).tolist()
        found.append(
            {
                "name": part.name,
                "signatures": {"start": steps.start_name, "step": steps.step_name},
                "values": f"part_{part.name}, [batch_size, {', '.join(map(str, part.model.event_shape))}]",
                "noise_from": positions.start,
                "cells": cells,
                "view": part.view.get_config(),
                **_step(steps),
            }
        )
    return found


def _values(model: AutoregressiveModel) -> dict[str, Any]:
    """Describes the values of an event: text, an image, audio or plain numbers."""
    text = model.text_vocabulary
    if text is not None:
        return {"kind": "text", "characters": text.characters, "encoding": None if text.characters else "utf-8"}
    if len(model.event_shape) == 3:
        mode = {1: "grey", 3: "rgb"}.get(model.event_shape[2], "channels")
        scale = None if model.head.levels is None else 255 / (model.head.levels - 1)
        how = None if scale is None else "8-bit brightness = round(value * brightness_per_level)"
        return {"kind": "image", "mode": mode, "brightness_per_level": scale, "how": how}
    return {"kind": "sequence"}


def _tensor(spec: tf.TensorSpec) -> dict[str, Any]:
    return {"shape": spec.shape.as_list(), "dtype": spec.dtype.name}
