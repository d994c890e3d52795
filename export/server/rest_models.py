"""The REST API of TensorFlow Serving below /v1/models: Predict, model status and metadata.

The rules are those of tensorflow_serving/model_servers/http_rest_api_handler.cc. Predict of gRPC answers the calls.
"""

from __future__ import annotations

import re

from google.protobuf import json_format
from google.protobuf.message import Message
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_pb2, predict_pb2

from export.client.errors import Code, ServingError
from export.server import json_body, json_tensors
from export.server.calls import Calls
from export.server.errors import invalid
from export.server.predict import DEFAULT_SIGNATURE

ROOT = "/v1/"
_WHICH = r"(?:/versions/([0-9]+)|/labels/([^/:]+))?"
_CALL = re.compile(rf"/v1/models/([^/:]+){_WHICH}:(classify|regress|predict)", re.IGNORECASE)
_MODEL = re.compile(rf"/v1/models(?:/([^/:]+))?{_WHICH}(/metadata)?", re.IGNORECASE)
# Digits of the largest number of a version.
_DIGITS = 19


class RestModels:
    """Answers requests for models.

    Args:
        calls: of Predict and the rest.
        timeout_ms: milliseconds that a call may take.
    """

    def __init__(self, calls: Calls, timeout_ms: int):
        self._calls, self._timeout_ms = calls, timeout_ms

    def get(self, path: str) -> str:
        """Model status or metadata, as JSON.

        Raises:
            ServingError: there is no such path, model or version.
        """
        match = _MODEL.fullmatch(path)
        if match is None:
            raise invalid(f"Malformed request: GET {path}")
        name, number, label, metadata = match.groups()
        if name is None:
            raise invalid("Missing model name in request.")
        spec = _spec(name, number, label)
        return self._metadata(spec) if metadata else self._status(spec)

    def post(self, path: str, body: bytes) -> str:
        """Predict, as JSON.

        Args:
            path: of the request.
            body: JSON in the row or the column format.

        Raises:
            ServingError: the request is refused, or running it failed.
        """
        match = _CALL.fullmatch(path)
        if match is None:
            raise invalid(f"Malformed request: POST {path}")
        name, number, label, method = match.groups()
        spec = _spec(name, number, label)
        if method.lower() != "predict":
            message = f"this server has no {method.lower()}: exports have no such signatures"
            raise ServingError(Code.UNIMPLEMENTED, message)
        request = predict_pb2.PredictRequest()
        request.model_spec.CopyFrom(spec)
        with json_body.in_turn(body):
            key = self._fill(request, body)

        def predict(request: predict_pb2.PredictRequest, timeout_ms: int) -> predict_pb2.PredictResponse:
            return self._calls.predict(request, timeout_ms, entrypoint="REST")

        response = self._calls.answer(predict, request, self._timeout_ms)
        return json_tensors.to_json(response.outputs, key)

    def _fill(self, request: predict_pb2.PredictRequest, body: bytes) -> str:
        value = json_body.parse(body)
        if not isinstance(value, dict):
            raise invalid(f"JSON Value: {json_body.shortened(value)} Is not object")
        signature = value.get("signature_name", "")
        if not isinstance(signature, str):
            raise invalid(
                f"JSON Value: {json_body.shortened(value)} not formatted correctly. 'signature_name' key must be a "
                "string value."
            )
        request.model_spec.signature_name = signature
        with self._calls.manager.acquire(request.model_spec) as version:
            known = version.model.signatures.get(signature or DEFAULT_SIGNATURE)
            if known is None:
                name = signature or DEFAULT_SIGNATURE
                raise invalid(f'Serving signature name: "{name}" not found in signature def')
            if not known.inputs:
                raise invalid(f"Failed to get input map for signature: {signature or 'DEFAULT'}")
            return json_tensors.fill(request, value, known.inputs)

    def _status(self, spec: model_pb2.ModelSpec) -> str:
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.CopyFrom(spec)
        if spec.version_label:
            labels = self._calls.manager.labels(spec.name)
            if spec.version_label not in labels:
                raise invalid(f"Unrecognized servable version label: {spec.version_label}")
            request.model_spec.version.value = labels[spec.version_label]
        return _to_json(self._calls.get_model_status(request)) + "\n"

    def _metadata(self, spec: model_pb2.ModelSpec) -> str:
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.CopyFrom(spec)
        response = self._calls.get_model_metadata(request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        # The released server joins the two parts by hand as well.
        return (
            f'{{\n"model_spec":{_to_json(response.model_spec)},\n'
            f'"metadata": {{"signature_def": {_to_json(signatures)}}}\n}}\n'
        )


def _to_json(message: Message) -> str:
    return json_format.MessageToJson(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True, indent=1
    )


def _spec(name: str, number: str | None, label: str | None) -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=name)
    if number is not None:
        digits = number.lstrip("0") or "0"
        if len(digits) > _DIGITS or int(digits) >= 2**63:
            shown = number if len(number) <= 2 * _DIGITS else f"{number[:_DIGITS]}... ({len(number)} digits)"
            raise invalid(f"Failed to convert version: {shown} to numeric.")
        spec.version.value = int(digits)
    elif label is not None:
        spec.version_label = label
    return spec
