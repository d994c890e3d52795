"""The gRPC services: handlers take bytes and return bytes or a status."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc
from google.protobuf.message import DecodeError, EncodeError
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    predict_pb2,
)

from export.client.errors import Code, ServingError
from export.server.calls import Calls
from export.server.cancellation import cancelled_by
from export.server.errors import details, failure
from export.server.waiting import Waiting

STATUS = {status.value[0]: status for status in grpc.StatusCode}
# A deadline further away is none.
_LONG = 365 * 24 * 3600.0
# Threads that wait for the message of a call, or refuse one for which no thread is left.
WAITING_THREADS = 256
_MESSAGE_SECONDS = 10.0


def waiting_for_messages(max_bytes: int) -> Waiting:
    """Returns what ends calls whose message of at most so many bytes does not come."""
    return Waiting(_MESSAGE_SECONDS, WAITING_THREADS - 8, WAITING_THREADS * max_bytes)


def handlers(calls: Calls, waiting: Waiting) -> tuple[grpc.GenericRpcHandler, ...]:
    """PredictionService and ModelService, without the calls that take `tf.train.Example`s.

    Args:
        calls: answers them.
        waiting: for their messages, from `waiting_for_messages`.
    """
    prediction = {
        "Predict": (predict_pb2.PredictRequest, calls.predict),
        "GetModelMetadata": (get_model_metadata_pb2.GetModelMetadataRequest, calls.get_model_metadata),
    }
    model = {
        "GetModelStatus": (get_model_status_pb2.GetModelStatusRequest, calls.get_model_status),
        "HandleReloadConfigRequest": (model_management_pb2.ReloadConfigRequest, calls.reload_config),
    }
    return tuple(
        grpc.method_handlers_generic_handler(
            f"tensorflow.serving.{service}",
            {name: _unary(calls, waiting, request, handle) for name, (request, handle) in methods.items()},
        )
        for service, methods in (("PredictionService", prediction), ("ModelService", model))
    )


def _unary(calls: Calls, waiting: Waiting, request_type: Any, handle: Callable[..., Any]) -> grpc.RpcMethodHandler:
    """Returns a handler that parses and serializes itself, so that whatever a client sends ends in a status.

    It is one of streams, of which it reads the first message: on the wire the two are the same, and a call whose
    message does not come can be ended, where gRPC's own unary handler would keep its thread for ever.
    """

    def read(messages: Iterator[bytes], context: grpc.ServicerContext) -> Any:
        with waiting.hold(context.cancel):
            data = next(messages, None)
        if data is None:
            raise ServingError(Code.INTERNAL, f"the request is no {request_type.DESCRIPTOR.full_name}")
        try:
            return request_type.FromString(data)
        except DecodeError as error:
            message = f"the request is no {request_type.DESCRIPTOR.full_name}"
            raise ServingError(Code.INTERNAL, message) from error

    def call(messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        try:
            try:
                request = read(messages, context)
                with cancelled_by(context.add_callback):
                    response = calls.answer(handle, request, _milliseconds(context.time_remaining()))
                try:
                    return response.SerializeToString()
                except (EncodeError, ValueError) as error:
                    raise ServingError(Code.RESOURCE_EXHAUSTED, "the reply is too large: beyond 2 GiB") from error
            except (ServingError, grpc.RpcError):
                raise
            except Exception as error:  # A bug: this call fails, the server goes on.
                raise failure(error) from error
        except ServingError as error:
            context.set_code(STATUS[int(error.code)])
            context.set_details(details(error))
        except grpc.RpcError:  # The client has gone, or was too slow.
            pass
        return b""

    return grpc.stream_unary_rpc_method_handler(call)


def _milliseconds(remaining: float | None) -> int:
    """Converts a deadline for RunOptions, where 0 means none: a deadline that has passed becomes one millisecond."""
    return 0 if remaining is None or remaining > _LONG else max(1, int(remaining * 1000))
