"""Answers calls from gRPC, REST and the demo: limits calls at once, finds the version, counts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    predict_pb2,
)

from export.client.errors import Code, ServingError
from export.server.errors import failure, invalid
from export.server.manager import ModelManager
from export.server.metrics import Metrics
from export.server.predict import predict


class Calls:
    """Answers requests from gRPC, REST and the demo.

    Args:
        manager: of the models.
        metrics: to count in.
        max_calls: that may run at once; one more is refused, as the released server's thread quota does.
        content: outputs as `tensor_content`.
        max_seconds: that a call may take, whatever its client allows.
    """

    def __init__(
        self,
        manager: ModelManager,
        metrics: Metrics,
        max_calls: int,
        content: bool = False,
        max_seconds: float = 600.0,
    ):
        self.manager, self.metrics, self._max_seconds = manager, metrics, max_seconds
        self._content = content
        self._threads = threading.BoundedSemaphore(max_calls)

    def answer(self, handle: Callable[[Any, int], Any], request: Any, timeout_ms: int = 0) -> Any:
        """Runs one of the methods below, if a thread is free.

        Raises:
            ServingError: whatever went wrong.
        """
        if not self._threads.acquire(blocking=False):
            raise ServingError(Code.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted")
        try:
            return handle(request, timeout_ms)
        except ServingError:
            raise
        except Exception as error:  # A bug: this call fails, the server goes on.
            raise failure(error) from error
        finally:
            self._threads.release()

    # === PredictionService ===

    def predict(
        self, request: predict_pb2.PredictRequest, timeout_ms: int = 0, entrypoint: str = "GRPC"
    ) -> predict_pb2.PredictResponse:
        """Predict."""
        name = request.model_spec.name
        most = max(1, int(self._max_seconds * 1000))
        unbounded = not 0 < timeout_ms <= most

        def run() -> predict_pb2.PredictResponse:
            _check_spec(request)
            with self.manager.acquire(request.model_spec) as version:
                milliseconds = most if unbounded else timeout_ms
                try:
                    return predict(version.model, version.number, request, milliseconds, self._content, record)
                except ServingError as error:
                    if error.code != Code.DEADLINE_EXCEEDED or not unbounded:
                        raise
                    message = f"the call took longer than --max_call_seconds={self._max_seconds:g}"
                    raise ServingError(Code.DEADLINE_EXCEEDED, message) from error

        def record(seconds: float) -> None:
            self.metrics.runtime_latency.add(seconds, name, "Predict", "TF1")

        return self._measured(name, "Predict", entrypoint, run)

    def get_model_metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, timeout_ms: int = 0
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """GetModelMetadata: the signatures."""
        _check_spec(request)
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != "signature_def":
                raise invalid(f"Metadata field {field} is not supported")
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        with self.manager.acquire(request.model_spec) as version:
            signatures = get_model_metadata_pb2.SignatureDefMap()
            for name, signature in version.model.signatures.items():
                signatures.signature_def[name].CopyFrom(signature)
            response.metadata["signature_def"].Pack(signatures)
            response.model_spec.name = version.name
            response.model_spec.version.value = version.number
        return response

    # === ModelService ===

    def get_model_status(
        self, request: get_model_status_pb2.GetModelStatusRequest, timeout_ms: int = 0
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """GetModelStatus."""
        _check_spec(request)
        spec = request.model_spec
        number = spec.version.value if spec.WhichOneof("version_choice") == "version" else None
        response = get_model_status_pb2.GetModelStatusResponse()
        for version, state, error in self.manager.status(spec.name, number):
            entry = response.model_version_status.add(version=version, state=int(state))
            entry.status.error_code = int(error.code) if error else 0
            entry.status.error_message = error.message if error else ""
        return response

    def reload_config(
        self, request: model_management_pb2.ReloadConfigRequest, timeout_ms: int = 0
    ) -> model_management_pb2.ReloadConfigResponse:
        """HandleReloadConfigRequest."""
        before = {name: self.metrics.total(name) for name in request.metric_names}
        if request.config.WhichOneof("config") != "model_config_list":
            raise invalid(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently "
                "supported"
            )
        self.manager.reload(request.config, timeout_ms / 1000 if timeout_ms else None)
        response = model_management_pb2.ReloadConfigResponse()
        response.status.error_code = 0
        for name, count in before.items():
            if count is not None:
                response.metric.add(name=name, int64_value_increase=(self.metrics.total(name) or 0) - count)
        return response

    def _measured(self, name: str, api: str, entrypoint: str, run: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        code = Code.INTERNAL
        try:
            response = run()
            code = Code.OK
            self.metrics.request_latency.add(time.perf_counter() - started, name, api, entrypoint)
            return response
        except ServingError as error:
            code = error.code
            raise
        finally:
            self.metrics.request_count.add(1, name, code.name)


def _check_spec(request: Any) -> None:
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
