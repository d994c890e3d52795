"""A bridge from JSON to Predict for the demonstration page.

POST /demo/api/SIGNATURE   {"inputs": {NAME: nested lists}, "output_filter": [NAME, ...]}
                           -> {"outputs": {NAME: nested lists}, "version": N}
GET  /demo/model           the signatures and what the export says about its model

Types come from the signature. Strings travel as base64. Numbers that JSON's readers would change travel as strings:
"NaN", "Infinity", "-Infinity", and integers beyond 2^53, in both directions. `?model=NAME` chooses among models.
"""

from __future__ import annotations

import base64
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import model_pb2, predict_pb2

from export.client.errors import Code, ServingError
from export.server.calls import Calls
from export.server.errors import invalid
from export.server.json_body import shortened
from export.server.json_tensors import dense
from export.server.tensors import to_array, to_proto

# Integers that JavaScript holds exactly.
_SAFE = 2**53
CARD = Path("assets.extra", "tfar.json")
_MAX_RANK = 64  # of NumPy's arrays


class Demo:
    """The calls that the page makes.

    Args:
        calls: answers them.
        folder: of the page's files.
    """

    def __init__(self, calls: Calls, folder: Path):
        self._calls, self.folder = calls, folder

    def describe(self, model: str | None = None) -> dict[str, Any]:
        """Name, version, signatures and model card of the newest version.

        Raises:
            ServingError: there is none.
        """
        name = self._name(model)
        with self._calls.manager.acquire(model_pb2.ModelSpec(name=name)) as version:
            card = version.path / CARD
            signatures = {
                key: {
                    "inputs": {
                        alias: _describe(info, value.defaults[alias] if alias in value.defaults else None)
                        for alias, info in sorted(value.inputs.items())
                    },
                    "outputs": {alias: _describe(info) for alias, info in sorted(value.outputs.items())},
                }
                for key, value in sorted(version.model.signatures.items())
                if not key.startswith("__")
            }
            return {
                "name": name,
                "version": version.number,
                "signatures": signatures,
                "tfar": json.loads(card.read_text()) if card.is_file() else None,
            }

    def request(self, signature: str, body: Any, model: str | None = None) -> predict_pb2.PredictRequest:
        """Makes a request of its JSON.

        Args:
            signature: its name.
            body: as in the module's text.
            model: its name, or None for the first one.

        Raises:
            ServingError: the inputs fit no array of the signature's type.
        """
        if not isinstance(body, dict) or not isinstance(body.get("inputs", {}), dict):
            raise invalid('the body must be {"inputs": {name: value}}')
        wanted = body.get("output_filter", [])
        if not isinstance(wanted, list) or not all(isinstance(name, str) for name in wanted):
            raise invalid("output_filter must be a list of names")
        request = predict_pb2.PredictRequest(output_filter=wanted)
        request.model_spec.name = self._name(model)
        request.model_spec.signature_name = signature
        with self._calls.manager.acquire(request.model_spec) as version:
            # Where there is no such signature or input, Predict says so in its own words.
            known = version.model.signatures.get(signature, meta_graph_pb2.SignatureDef())
            for name, value in body.get("inputs", {}).items():
                dtype = tf.as_dtype(known.inputs[name].dtype) if name in known.inputs else tf.float32
                request.inputs[name].CopyFrom(to_proto(_from_json(name, value, dtype), content=dtype != tf.string))
        return request

    def call(self, request: predict_pb2.PredictRequest, timeout_ms: int = 0) -> dict[str, Any]:
        """Predict with outputs in JSON.

        Args:
            request: from `request`.
            timeout_ms: milliseconds that the call may take.

        Raises:
            ServingError: as Predict.
        """

        def predict(request: predict_pb2.PredictRequest, timeout_ms: int) -> predict_pb2.PredictResponse:
            return self._calls.predict(request, timeout_ms, entrypoint="REST")

        response = self._calls.answer(predict, request, timeout_ms)
        outputs = {name: _to_json(to_array(proto)) for name, proto in sorted(response.outputs.items())}
        return {"outputs": outputs, "version": response.model_spec.version.value}

    def _name(self, model: str | None) -> str:
        names = self._calls.manager.names()
        if model is None and not names:
            raise ServingError(Code.NOT_FOUND, "no model is configured")
        return names[0] if model is None else model


def _describe(info: meta_graph_pb2.TensorInfo, default: Any = None) -> dict[str, Any]:
    dims = None if info.tensor_shape.unknown_rank else [dim.size for dim in info.tensor_shape.dim]
    shape = None if dims is None else [None if size < 0 else size for size in dims]
    described: dict[str, Any] = {"dtype": tf.as_dtype(info.dtype).name if info.dtype else "", "shape": shape}
    if default is not None:
        described["default"] = _to_json(to_array(default))
    return described


def _from_json(name: str, value: Any, dtype: tf.DType) -> np.ndarray:
    kind = f"{name} must be nested lists of {dtype.name}"
    found = dense(value)
    if found is None:
        raise invalid(f"{kind}, and lists of one level equally long")
    values, shape = found
    if len(shape) > _MAX_RANK:
        raise invalid(f"{kind}, at most {_MAX_RANK} of them in one another")
    convert = _decoded if dtype == tf.string else _integer if dtype.is_integer else _number_of
    converted = []
    for entry in values:
        try:
            converted.append(convert(entry))
        except (TypeError, ValueError, OverflowError) as error:
            what = "base64, got " if dtype == tf.string else "got "
            raise invalid(f"{kind}, {what}{shortened(entry, 64)}") from error
    try:
        array = np.empty([len(converted)], object if dtype == tf.string else dtype.as_numpy_dtype)
        array[:] = converted
        return array.reshape(shape)
    except (TypeError, ValueError, OverflowError) as error:
        raise invalid(f"{kind}, got numbers that the type does not hold") from error


def _decoded(value: Any) -> bytes:
    if not isinstance(value, str):
        raise TypeError
    return base64.b64decode(value, validate=True)


def _integer(value: Any) -> int:
    """An integer; a string is read as one."""
    whole = int(value)
    if isinstance(value, float) and value != whole:
        raise ValueError
    return whole


def _number_of(value: Any) -> Any:
    """A number or a truth value; a string is read as a number."""
    if isinstance(value, str):
        return float(value)
    if not isinstance(value, int | float):
        raise TypeError
    return value


def _to_json(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype == object:
        flat = [base64.b64encode(text).decode() for text in value.ravel()]
        return _nested(flat, value.shape)
    value = np.asarray(value)
    if value.dtype.kind == "f":
        whole = np.isfinite(value).all()
    else:
        whole = value.dtype.kind == "b" or not value.size or (value.max() <= _SAFE and value.min() >= -_SAFE)
    return value.tolist() if whole else _nested([_number(entry) for entry in value.ravel().tolist()], value.shape)


def _number(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return str(value) if isinstance(value, int) and abs(value) > _SAFE else value


def _nested(flat: list, shape: tuple[int, ...]) -> Any:
    if not shape:
        return flat[0]
    size = math.prod(shape[1:])
    return [_nested(flat[index * size : (index + 1) * size], shape[1:]) for index in range(shape[0])]
