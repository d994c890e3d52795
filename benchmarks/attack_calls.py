"""Calls of a few bytes that ask for much, and calls whose client does not wait: for `benchmarks.attack`."""

from __future__ import annotations

import time
from typing import Any

import grpc
import numpy as np

from export.client.messages import MESSAGES, PREDICT, to_proto

_EXAMPLES = 8_000_000
# Of every second, the part that cancelled calls are given: what they use before is theirs.
_UNTIL_CANCELLED, _PERIOD = 0.02, 1.0


def ask_for_millions(target: str, model: str, seconds: float) -> list[str]:
    """Sends 8,000,000 examples in 56 bytes, one value for all; returns the answers that were no clean refusal."""
    request = _request(model, np.array([1], np.int32))
    request.inputs["condition"].tensor_shape.dim[0].size = _EXAMPLES
    data, wrong, end = request.SerializeToString(), [], time.monotonic() + seconds
    with grpc.insecure_channel(target) as channel:
        call = channel.unary_unary(PREDICT)
        while time.monotonic() < end:
            try:
                call(data, timeout=30)
                wrong.append("examples: answered")
            except grpc.RpcError as error:
                if f"examples:] [{_EXAMPLES}]" not in (error.details() or ""):
                    wrong.append(f"examples: {error.code().name} {error.details()}")
            time.sleep(0.05)
    return wrong


def cancel_calls(target: str, model: str, seconds: float) -> list[str]:
    """Begins two calls of 64 examples without a deadline every second, and cancels them; the server must drop them."""
    data = _request(model, np.full([64], 1, np.int32)).SerializeToString()
    end = time.monotonic() + seconds
    with grpc.insecure_channel(target) as channel:
        call = channel.unary_unary(PREDICT)
        while time.monotonic() < end:
            calls = [call.future(data) for _ in range(2)]
            time.sleep(_UNTIL_CANCELLED)
            for begun in calls:
                begun.cancel()
            time.sleep(_PERIOD)
    return []


def _request(model: str, labels: np.ndarray) -> Any:
    """A request for samples of these labels; the values of a single one stand as typed values."""
    request = MESSAGES["PredictRequest"]()
    request.model_spec.name, request.model_spec.signature_name = model, "sample"
    tensor = to_proto(labels, request.inputs["condition"])
    tensor.ClearField("tensor_content")
    tensor.int_val.extend(labels.tolist())
    if len(labels) > 1:
        to_proto(np.stack([np.arange(len(labels))] * 2, 1).astype(np.int64), request.inputs["seed"])
    return request
