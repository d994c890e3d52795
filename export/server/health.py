"""grpc.health.v1.Health without grpcio-health-checking: three small messages, made at run time.

As in the released server the services are called PredictionService and ModelService, without their package, and are
SERVING from the start to the end.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent import futures
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

SERVICES = ("", "PredictionService", "ModelService")
SERVING, SERVICE_UNKNOWN = 1, 3


def _messages() -> tuple[Any, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="grpc/health/v1/health.proto", package="grpc.health.v1")
    file.syntax = "proto3"
    request = file.message_type.add(name="HealthCheckRequest")
    request.field.add(name="service", number=1, label=1, type=9)
    response = file.message_type.add(name="HealthCheckResponse")
    status = response.enum_type.add(name="ServingStatus")
    for number, name in enumerate(("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")):
        status.value.add(name=name, number=number)
    kind = ".grpc.health.v1.HealthCheckResponse.ServingStatus"
    response.field.add(name="status", number=1, label=1, type=14, type_name=kind)
    # A pool of its own: a client in the same process may have the package.
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    names = ("HealthCheckRequest", "HealthCheckResponse")
    first, second = (
        message_factory.GetMessageClass(pool.FindMessageTypeByName(f"grpc.health.v1.{name}")) for name in names
    )
    return first, second


HealthCheckRequest, HealthCheckResponse = _messages()


def handler() -> grpc.GenericRpcHandler:
    """Check and Watch."""

    def check(data: bytes, context: grpc.ServicerContext) -> bytes:
        service = _service(data)
        if service not in SERVICES:
            context.set_code(grpc.StatusCode.NOT_FOUND)
            context.set_details("service name unknown")
            return b""
        return HealthCheckResponse(status=SERVING).SerializeToString()

    def watch(data: bytes, context: grpc.ServicerContext, send: Callable[[bytes | None], None]) -> None:
        # The status never changes, so it is sent once; the call stays open until the client ends it.
        status = SERVING if _service(data) in SERVICES else SERVICE_UNKNOWN
        send(HealthCheckResponse(status=status).SerializeToString())

    # A watcher waits for as long as it lives: it must not hold a thread of the server meanwhile.
    watch.experimental_non_blocking = True  # type: ignore[attr-defined]
    watch.experimental_thread_pool = futures.ThreadPoolExecutor(1)  # type: ignore[attr-defined]
    methods = {
        "Check": grpc.unary_unary_rpc_method_handler(check),
        "Watch": grpc.unary_stream_rpc_method_handler(watch),
    }
    return grpc.method_handlers_generic_handler("grpc.health.v1.Health", methods)


def _service(data: bytes) -> str | None:
    try:
        return HealthCheckRequest.FromString(data).service
    except DecodeError:
        return None
