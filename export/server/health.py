"""The service grpc.health.v1.Health, which probes ask.

As in the released server the services are called PredictionService and ModelService, without their package, and are
SERVING from the start to the end.
"""

from __future__ import annotations

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

SERVICES = ("PredictionService", "ModelService")


def add_health(server: grpc.Server) -> None:
    """Adds Check and Watch to a server that has not started."""
    servicer = _Health()
    for service in SERVICES:
        servicer.set(service, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)


class _Health(health.HealthServicer):
    def Check(
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        response = super().Check(request, context)
        if response.status == health_pb2.HealthCheckResponse.UNKNOWN:
            context.set_details("service name unknown")  # The words of the released server.
        return response
