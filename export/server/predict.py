"""Answers Predict requests: checks them in TensorFlow Serving's order, with its messages.

The rules are those of `RunPredict` in tensorflow_serving/servables/tensorflow/predict_util.cc and `GetInputValues` in
tensorflow/cc/saved_model/util.cc; where C++ walks a map in random order, names are taken in alphabetical order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import predict_pb2

from export.client.errors import Code, ServingError
from export.server.errors import invalid
from export.server.loaded_model import LoadedModel
from export.server.tensors import CPP_NAMES, ClaimsTooMuch, Opaque, to_array, to_proto

DEFAULT_SIGNATURE = tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY


def predict(
    model: LoadedModel,
    version: int,
    request: predict_pb2.PredictRequest,
    timeout_ms: int = 0,
    content: bool = False,
    record_runtime: Callable[[float], None] | None = None,
) -> predict_pb2.PredictResponse:
    """Answers a request.

    Args:
        model: the version that was asked for.
        version: its number, for the reply.
        request: as it came.
        timeout_ms: milliseconds left until the caller's deadline; 0 where there is none.
        content: outputs as `tensor_content` instead of typed values.
        record_runtime: is told the seconds that TensorFlow took.

    Raises:
        ServingError: the request is refused, or running it failed.
    """
    name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    signature = model.signatures.get(name)
    if signature is None:
        raise ServingError(Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
    _check_number(signature, request.inputs)
    feeds = input_values(signature, request.inputs)
    aliases = output_aliases(signature, request.output_filter)

    started = time.perf_counter()
    fetched = _fetched(signature, aliases)
    values = model.run(feeds, [signature.outputs[alias].name for alias in fetched], timeout_ms)
    if record_runtime is not None:
        record_runtime(time.perf_counter() - started)

    response = predict_pb2.PredictResponse()
    response.model_spec.name, response.model_spec.signature_name = request.model_spec.name, name
    response.model_spec.version.value = version
    found = dict(zip(fetched, values, strict=True))
    for alias in aliases:
        response.outputs[alias].CopyFrom(to_proto(found[alias], content))
    return response


def _fetched(signature: meta_graph_pb2.SignatureDef, aliases: list[str]) -> list[str]:
    """The outputs to ask TensorFlow for: all where one operation makes them all, as in exports of TensorFlow 2.

    That operation runs whole whatever is asked for, and TensorFlow optimizes its graph anew for every set of outputs:
    the first call with another `output_filter` took 4 to 8 s.
    """
    operations = {info.name.partition(":")[0] for info in signature.outputs.values()}
    return sorted(signature.outputs) if len(operations) == 1 else aliases


def _check_number(signature: meta_graph_pb2.SignatureDef, inputs: Mapping[str, Any]) -> None:
    """Refuses too many inputs, and too few of a signature without defaults."""
    if len(inputs) > len(signature.inputs) or (len(inputs) < len(signature.inputs) and not signature.defaults):
        raise invalid(
            f"input size does not match signature: {len(inputs)}!={len(signature.inputs)} len({_braces(inputs)}) != "
            f"len({_braces(signature.inputs)}). Sent extra: {_braces(set(inputs) - set(signature.inputs))}. "
            f"Missing but required: {_braces(set(signature.inputs) - set(inputs))}."
        )


def input_values(
    signature: meta_graph_pb2.SignatureDef, inputs: Mapping[str, tensor_pb2.TensorProto]
) -> list[tuple[str, np.ndarray]]:
    """Returns the values to feed: the request's inputs, and the signature's defaults for the others."""
    feeds: list[tuple[str, np.ndarray]] = []
    opaque: list[tuple[str, str, str]] = []
    used = []
    for alias in sorted(signature.inputs):
        info = signature.inputs[alias]
        if alias in inputs:
            proto = inputs[alias]
            used.append(alias)
        elif alias in signature.defaults:
            proto = signature.defaults[alias]
        else:
            raise invalid(
                f"Signature input alias: {alias}(feed name: {info.name}) not found in request and no default value "
                f"provided. Inputs expected to be in the request {_braces(inputs)}, or default input alias set: "
                f"{_join(signature.defaults)}"
            )
        try:
            value = to_array(proto)
        except ClaimsTooMuch as error:
            raise invalid(f"{alias} {error}") from error
        except ValueError as error:
            raise invalid(f"tensor parsing error: {alias}") from error
        if isinstance(value, Opaque):
            opaque.append((info.name, tf.as_dtype(info.dtype).name, value.dtype))
        else:
            feeds.append((info.name, value))
    if len(used) != len(inputs):
        raise invalid(
            f"Inputs contains invalid name. Used request inputs: {_join(used)}, request input: {_join(inputs)}"
        )
    if opaque:  # An array cannot carry it, and TensorFlow would refuse it where another type is wanted.
        name, wanted, given = opaque[0]
        if wanted == given:
            raise ServingError(Code.UNIMPLEMENTED, f"this server cannot feed {given} to {name}")
        index = sorted([*(feed for feed, _ in feeds), *(feed for feed, _, _ in opaque)]).index(name)
        raise invalid(f"Expects arg[{index}] to be {CPP_NAMES.get(wanted, wanted)} but {given} is provided")
    return feeds


def output_aliases(signature: meta_graph_pb2.SignatureDef, output_filter: Iterable[str]) -> list[str]:
    """Returns the names of the outputs to return: those requested, or all."""
    aliases: list[str] = []
    for alias in output_filter:
        if alias not in signature.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set "
                f"{_braces(signature.outputs)}."
            )
        if alias in aliases:
            raise invalid(f"duplicate output tensor alias: {alias}")
        aliases.append(alias)
    return aliases or sorted(signature.outputs)


def _join(names: Iterable[str]) -> str:
    return ",".join(sorted(names, key=str.encode))  # C++ orders by bytes.


def _braces(names: Iterable[str]) -> str:
    return "{" + _join(names) + "}"
