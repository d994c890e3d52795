"""Classify, Regress and MultiInference: calls that take `tf.train.Example`s.

tfar writes no such signatures; they are here because clients and warm-up files of other models use them. The rules are
those of classifier.cc, regressor.cc and multi_inference.cc in tensorflow_serving/servables/tensorflow.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import classification_pb2, inference_pb2, input_pb2, regression_pb2

from export.client.errors import Code, ServingError
from export.server.errors import invalid
from export.server.loaded_model import LoadedModel
from export.server.predict import DEFAULT_SIGNATURE, model_spec

CLASSIFY = tf.saved_model.CLASSIFY_METHOD_NAME
REGRESS = tf.saved_model.REGRESS_METHOD_NAME


def classify(
    model: LoadedModel, version: int, request: classification_pb2.ClassificationRequest, timeout_ms: int = 0
) -> classification_pb2.ClassificationResponse:
    """Answers a ClassificationRequest.

    Raises:
        ServingError: the request is refused, or running it failed.
    """
    signature = _signature(model, request.model_spec.signature_name, CLASSIFY, "classification")
    name, fetches = _classify_tensors(signature)
    values, num = _run(model, request.input, name, fetches, timeout_ms)
    spec = model_spec(request.model_spec.name, request.model_spec.signature_name, version)
    return classification_pb2.ClassificationResponse(model_spec=spec, result=_classifications(signature, values, num))


def regress(
    model: LoadedModel, version: int, request: regression_pb2.RegressionRequest, timeout_ms: int = 0
) -> regression_pb2.RegressionResponse:
    """Answers a RegressionRequest.

    Raises:
        ServingError: the request is refused, or running it failed.
    """
    signature = _signature(model, request.model_spec.signature_name, REGRESS, "regression")
    name, fetches = _regress_tensors(signature)
    values, num = _run(model, request.input, name, fetches, timeout_ms)
    spec = model_spec(request.model_spec.name, request.model_spec.signature_name, version)
    return regression_pb2.RegressionResponse(model_spec=spec, result=_regressions(signature, values, num))


def multi_inference(
    model: LoadedModel, version: int, request: inference_pb2.MultiInferenceRequest, timeout_ms: int = 0
) -> inference_pb2.MultiInferenceResponse:
    """Answers a MultiInferenceRequest: several signatures over one input, in one run.

    Raises:
        ServingError: the request is refused, or running it failed.
    """
    names: list[str] = []
    model_name = feed = ""
    fetches: set[str] = set()
    for task in request.tasks:
        if not task.model_spec.name:
            raise invalid("Found ModelSpec with an empty model name.")
        if model_name and model_name != task.model_spec.name:
            raise invalid("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        model_name = task.model_spec.name
        name = task.model_spec.signature_name or DEFAULT_SIGNATURE
        if name in names:
            raise invalid(f"Duplicate evaluation of signature: {name}")
        names.append(name)
        if name not in model.signatures:
            raise invalid(f"Requested signature not found in model graph: {name}")
        if task.method_name == CLASSIFY:
            tensor, outputs = _classify_tensors(model.signatures[name])
        elif task.method_name == REGRESS:
            tensor, outputs = _regress_tensors(model.signatures[name])
        else:
            raise ServingError(Code.UNIMPLEMENTED, f"Unsupported signature method_name: {task.method_name}")
        if feed and feed != tensor:
            raise invalid("Input tensor must be the same for all Signatures.")
        feed = tensor
        fetches.update(outputs)

    values, num = _run(model, request.input, feed, sorted(fetches), timeout_ms)
    response = inference_pb2.MultiInferenceResponse()
    for name, task in zip(names, request.tasks, strict=True):
        result = response.results.add(model_spec=model_spec(model_name, name, version))
        if task.method_name == CLASSIFY:
            result.classification_result.CopyFrom(_classifications(model.signatures[name], values, num))
        else:
            result.regression_result.CopyFrom(_regressions(model.signatures[name], values, num))
    return response


def _signature(model: LoadedModel, name: str, method: str, kind: str) -> meta_graph_pb2.SignatureDef:
    name = name or DEFAULT_SIGNATURE
    if name not in model.signatures:
        raise invalid(f"No signature was found with the name: {name}")
    _check_method(model.signatures[name], method, kind)
    return model.signatures[name]


def _check_method(signature: meta_graph_pb2.SignatureDef, method: str, kind: str) -> None:
    if signature.method_name != method:
        raise invalid(f"Expected {kind} signature method_name to be {method}. Was: {signature.method_name}")


def _classify_tensors(signature: meta_graph_pb2.SignatureDef) -> tuple[str, list[str]]:
    """Names of the input tensor and of those to fetch."""
    _check_method(signature, CLASSIFY, "classification")
    if len(signature.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if len(signature.outputs) not in (1, 2):
        raise invalid(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    if "inputs" not in signature.inputs:
        raise ServingError(Code.FAILED_PRECONDITION, f"No classification inputs found in SignatureDef: {signature}")
    fetches = [signature.outputs[key].name for key in ("classes", "scores") if key in signature.outputs]
    if not fetches:
        raise ServingError(
            Code.FAILED_PRECONDITION,
            'Expected classification signature outputs to contain at least one of "classes" or "scores". '
            f"Signature was: {signature}",
        )
    return signature.inputs["inputs"].name, fetches


def _regress_tensors(signature: meta_graph_pb2.SignatureDef) -> tuple[str, list[str]]:
    """Names of the input tensor and of those to fetch."""
    _check_method(signature, REGRESS, "regression")
    if len(signature.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if len(signature.outputs) != 1:
        raise invalid("Expected one output Tensor.")
    if "inputs" not in signature.inputs:
        raise ServingError(Code.FAILED_PRECONDITION, f"No regression inputs found in SignatureDef: {signature}")
    if "outputs" not in signature.outputs:
        raise ServingError(Code.FAILED_PRECONDITION, f"No regression outputs found in SignatureDef: {signature}")
    return signature.inputs["inputs"].name, [signature.outputs["outputs"].name]


def _run(
    model: LoadedModel, examples: input_pb2.Input, feed: str, fetches: list[str], timeout_ms: int
) -> tuple[dict[str, np.ndarray], int]:
    """Values of the tensors, and the number of examples."""
    kind = examples.WhichOneof("kind")
    rows: list[bytes] = []
    if kind == "example_list":
        rows = [example.SerializeToString() for example in examples.example_list.examples]
    elif kind == "example_list_with_context":
        # Two messages one behind the other are one message that holds the fields of both.
        context = examples.example_list_with_context.context.SerializeToString()
        rows = [context + example.SerializeToString() for example in examples.example_list_with_context.examples]
    if not rows:
        raise invalid("Input is empty.")
    serialized = np.empty([len(rows)], object)
    serialized[:] = rows
    values = model.run([(feed, serialized)], fetches, timeout_ms)
    return dict(zip(fetches, values, strict=True)), len(rows)


def _classifications(
    signature: meta_graph_pb2.SignatureDef, values: dict[str, np.ndarray], num: int
) -> classification_pb2.ClassificationResult:
    columns: dict[str, Any] = {}
    for key, dtype, name in (("classes", object, "DT_STRING"), ("scores", np.float32, "DT_FLOAT")):
        if key in signature.outputs:
            value = np.asarray(values[signature.outputs[key].name])
            if value.ndim != 2:
                raise invalid(f"Expected Tensor shape: [batch_size num_classes] but got {_shape(value)}")
            if value.dtype != dtype:
                raise invalid(f"Expected {key} Tensor of {name}. Got: {_enum(value)}")
            if len(value) != num:
                raise invalid(f"Expected {key} output batch size of {num}. Got: {len(value)}")
            columns[key] = value
    sizes = {value.shape[1] for value in columns.values()}
    if len(sizes) > 1:
        raise invalid(
            "Tensors class and score should match in dim_size(1). Got "
            f"{columns['classes'].shape[1]} vs. {columns['scores'].shape[1]}"
        )
    result = classification_pb2.ClassificationResult()
    for row in range(num):
        classes = result.classifications.add().classes
        for column in range(sizes.copy().pop()):
            entry = classes.add()
            if "classes" in columns:
                entry.label = columns["classes"][row, column].decode(errors="replace")
            if "scores" in columns:
                entry.score = columns["scores"][row, column]
    return result


def _regressions(
    signature: meta_graph_pb2.SignatureDef, values: dict[str, np.ndarray], num: int
) -> regression_pb2.RegressionResult:
    value = np.asarray(values[signature.outputs["outputs"].name])
    if not (value.ndim == 1 or (value.ndim == 2 and value.shape[1] == 1)):
        raise invalid(
            f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got {_shape(value)}"
        )
    if len(value) != num:
        raise invalid(f"Input batch size did not match output batch size: {num} vs. {len(value)}")
    if value.dtype != np.float32:
        raise invalid(f"Expected output Tensor of DT_FLOAT.  Got: {_enum(value)}")
    result = regression_pb2.RegressionResult()
    for number in value.ravel().tolist():
        result.regressions.add(value=number)
    return result


def _shape(value: np.ndarray) -> str:
    return "[" + ",".join(map(str, value.shape)) + "]"


def _enum(value: np.ndarray) -> str:
    dtype = tf.string if value.dtype == object else tf.as_dtype(value.dtype)
    return {"float32": "DT_FLOAT", "float64": "DT_DOUBLE"}.get(dtype.name, f"DT_{dtype.name.upper()}")
