"""Starts a local server in a process of its own, and calls its ModelService."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc

from benchmarks.serving_load import outputs
from benchmarks.serving_reference import Arrays
from export.client.messages import PREDICT

_START_SECONDS = 300.0
_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]


def configuration(
    models: Mapping[str, Path], versions: Mapping[str, Sequence[int]] | None = None, labels: Any = None
) -> str:
    """Returns the text of a ModelServerConfig.

    Args:
        models: folders of versions by name.
        versions: numbers of the versions to serve, by name; of other models the latest one.
        labels: name -> label -> number.
    """
    entries = []
    for name, folder in models.items():
        numbers = "".join(f" versions: {number}" for number in (versions or {}).get(name, ()))
        policy = f" model_version_policy {{ specific {{{numbers} }} }}" if numbers else ""
        for label, number in (labels or {}).get(name, {}).items():
            policy += f' version_labels {{ key: "{label}" value: {number} }}'
        entries.append(f'config {{ name: "{name}" base_path: "{folder}" model_platform: "tensorflow"{policy} }}')
    return f"model_config_list {{ {' '.join(entries)} }}"


class LocalServer:
    """`python -m pipelines.serve`; use it in a `with` statement.

    Args:
        models: folders of versions by name.
        log: file for its output.
        threads: calls at once; None for the default of TensorFlow Serving.
        rest: whether there is a REST port.

    Attributes:
        target: "host:port" of gRPC.
        rest_port: of HTTP, where there is one.
    """

    def __init__(self, models: Mapping[str, Path], log: Path, threads: int | None = None, rest: bool = False):
        with socket.socket() as free, socket.socket() as other:
            for one in (free, other):
                one.bind(("127.0.0.1", 0))
            port, self.rest_port = free.getsockname()[1], other.getsockname()[1]
        self.target, self.log = f"127.0.0.1:{port}", log
        config = log.with_suffix(".config")
        config.write_text(configuration(models), encoding="utf-8")
        flags = [f"--model_config_file={config}", f"--port={port}", "--file_system_poll_wait_seconds=0.5"]
        flags += [] if threads is None else [f"--grpc_max_threads={threads}"]
        flags += [f"--rest_api_port={self.rest_port}", "--demo"] if rest else []
        with log.open("w", encoding="utf-8") as out:
            command = [sys.executable, "-m", "pipelines.serve", *flags]
            self.process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)

    def __enter__(self) -> LocalServer:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def wait(self) -> None:
        """Returns when its port is open.

        Raises:
            RuntimeError: it ended, or takes too long.
        """
        end = time.monotonic() + _START_SECONDS
        while "\nready" not in self.log.read_text(encoding="utf-8"):
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the server did not start: {self.log.read_text(encoding='utf-8')[-500:]}")
            time.sleep(0.2)

    def faults(self) -> list[str]:
        """Lines of its log that tell of a bug."""
        lines = self.log.read_text(encoding="utf-8").splitlines()
        return [line for line in lines if "a call failed" in line or line.startswith("Traceback")]

    def resources(self) -> dict[str, float]:
        """Its threads, and its memory in MiB."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8").splitlines()
        found = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
        return {"threads": int(found["Threads"][0]), "memory_mib": int(found["VmRSS"][0]) / 1024}


def at_once(target: str, requests: Sequence[bytes], timeout: float) -> tuple[float, list[Arrays | str]]:
    """Calls that all start now, on one channel.

    Returns:
        Seconds until the last answer, and of every call its outputs, or "CODE message".
    """
    with grpc.insecure_channel(target, _OPTIONS) as channel:
        grpc.channel_ready_future(channel).result(30)
        method = channel.unary_unary(PREDICT)
        started = time.perf_counter()
        calls = [method.future(data, timeout=timeout) for data in requests]
        failed = [call.exception() for call in calls]
        seconds = time.perf_counter() - started
        results: list[Arrays | str] = [
            outputs(call.result()) if error is None else f"{call.code().name} {call.details()}"
            for call, error in zip(calls, failed, strict=True)
        ]
    return seconds, results


def status(target: str, name: str) -> dict[int, str]:
    """State of every version of a model that the server knows."""
    from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = name
    with grpc.insecure_channel(target, _OPTIONS) as channel:
        reply = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(request, timeout=30)
    states = get_model_status_pb2.ModelVersionStatus.State
    return {entry.version: states.Name(entry.state) for entry in reply.model_version_status}


def reload(target: str, config: str) -> str:
    """HandleReloadConfigRequest; "" or what the server objects to."""
    from google.protobuf import text_format
    from tensorflow_serving.apis import model_management_pb2, model_service_pb2_grpc

    request = model_management_pb2.ReloadConfigRequest()
    text_format.Parse(config, request.config)
    with grpc.insecure_channel(target, _OPTIONS) as channel:
        try:
            reply = model_service_pb2_grpc.ModelServiceStub(channel).HandleReloadConfigRequest(request, timeout=120)
        except grpc.RpcError as error:
            return f"{error.code().name} {error.details()}"
    return reply.status.error_message
