"""Malformed requests: each ends in a clean status, the server lives on, its memory stays flat.

TFAR_MALFORMED_REQUESTS=10000 sends so many (2000 by default); `pytest -s` shows what came back and the memory.
"""

import collections
import os
import random
import socket
import subprocess
import sys
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    predict_pb2,
)

ROOT = Path(__file__).resolve().parents[3]
NUM = int(os.environ.get("TFAR_MALFORMED_REQUESTS", 2000))
# Growth of the resident memory that says nothing: arenas of the allocator, not what a request leaves behind.
FLAT = 32 * 2**20
PREDICTION, MODEL = "/tensorflow.serving.PredictionService/", "/tensorflow.serving.ModelService/"
CLEAN = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "UNIMPLEMENTED", "INTERNAL"}


class Writer:
    """Writes requests in which something is wrong, most of the time.

    Args:
        seed: of all of them.
    """

    def __init__(self, seed):
        self.random = random.Random(seed)

    def text(self):
        kind = self.random.randrange(60)
        if kind < 10:
            return ""
        if kind == 10:
            return "n" * self.random.randrange(100_000)
        length = self.random.randrange(1, 12)
        return "".join(chr(self.random.choice((65, 97, 0, 10, 233, 0x4E00, 0x1F600, 123))) for _ in range(length))

    def choice(self, *good):
        """Mostly something that exists."""
        return self.random.choice(good) if self.random.random() < 0.7 else self.text()

    def tensor(self):
        pick = self.random.choice
        proto = tensor_pb2.TensorProto(dtype=pick((0, 1, 1, 1, 2, 3, 7, 9, 14, 19, 20, 21, 23, 101, 105, 999)))
        if self.random.random() < 0.1:
            proto.tensor_shape.unknown_rank = True
        for _ in range(pick((*[0, 1, 1, 2, 3] * 3, 70, 255, 300))):
            size = pick((0, 1, 1, 1, 2, 3, -1, -(2**63), 2**40, 2**62, 2**63 - 1))
            proto.tensor_shape.dim.add(size=size, name=pick(("", "n")))
        for _ in range(pick((0, 1, 2))):
            field = pick(("float_val", "double_val", "int_val", "int64_val", "string_val", "bool_val", "half_val"))
            values = [b"s" * pick((0, 1, 100))] if field == "string_val" else [pick((0, 1))]
            getattr(proto, field).extend(values * pick((*[1, 2, 3] * 5, 1000)))
        if self.random.random() < 0.3:
            proto.tensor_content = self.random.randbytes(pick((1, 3, 4, 8, 12, 4096)))
        return proto

    def spec(self, spec):
        spec.name = self.choice("half", "toys", "half")
        spec.signature_name = self.choice("", "two", "float32", "string", "fail", "regress_x_to_y")
        kind = self.random.randrange(8)
        if kind == 0:
            spec.version.value = self.random.choice((0, 1, 2, -1, 2**63 - 1))
        elif kind == 1:
            spec.version_label = self.text()

    def predict(self):
        request = predict_pb2.PredictRequest()
        if self.random.random() < 0.95:
            self.spec(request.model_spec)
        for _ in range(self.random.choice((0, *[1, 1, 2, 2, 3] * 5, 100))):
            request.inputs[self.choice("x", "a", "b", "value", "text")].CopyFrom(self.tensor())
        for _ in range(self.random.choice((0, 0, 0, 1, 2, 5))):
            request.output_filter.append(self.choice("y", "sum", "difference", "value"))
        return PREDICTION + "Predict", request

    def valid(self):
        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = "toys", "two"
        for name in "ab":
            request.inputs[name].CopyFrom(tf.make_tensor_proto(np.ones([3], np.float32)))
        return PREDICTION + "Predict", request

    def other(self):
        kind = self.random.randrange(3)
        if kind == 0:
            request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=[self.choice("signature_def")])
            self.spec(request.model_spec)
            return PREDICTION + "GetModelMetadata", request
        if kind == 1:
            request = get_model_status_pb2.GetModelStatusRequest()
            self.spec(request.model_spec)
            return MODEL + "GetModelStatus", request
        # Never a valid one: it would take the models away.
        request = model_management_pb2.ReloadConfigRequest(metric_names=[self.text()])
        for _ in range(2):
            request.config.model_config_list.config.add(name="half", base_path=self.text())
        return MODEL + "HandleReloadConfigRequest", request

    def request(self):
        """A method's path and the bytes to send there."""
        kind = self.random.random()
        method, request = self.predict() if kind < 0.6 else self.other() if kind < 0.75 else self.valid()
        data = request.SerializeToString()
        if method.endswith("HandleReloadConfigRequest") or kind < 0.75:
            return method, data
        kind = self.random.randrange(4)
        if kind == 0:
            return method, data[: self.random.randrange(len(data))]
        if kind == 1:
            return method, self.random.randbytes(self.random.randrange(200))
        if kind == 2:
            return self.random.choice((PREDICTION + "Classify", MODEL, "/x/y")), data
        flipped = bytearray(data)
        for _ in range(self.random.randrange(1, 8)):
            flipped[self.random.randrange(len(flipped))] = self.random.randrange(256)
        return method, bytes(flipped)


@pytest.fixture
def process(models, tmp_path, free_ports):
    """The command in a process of its own: (address, process id)."""
    config = tmp_path / "models.config"
    entries = "".join(
        f'config {{ name: "{name}" base_path: "{models / name}" model_platform: "tensorflow" }}'
        for name in ("half", "toys")
    )
    config.write_text(f"model_config_list {{ {entries} }}")
    port = free_ports[0]
    command = [sys.executable, "-m", "pipelines.serve", f"--port={port}", f"--model_config_file={config}"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        for line in running.stdout:
            if line == "ready\n":
                break
        yield f"127.0.0.1:{port}", running.pid
        running.terminate()
        running.communicate(timeout=30)
        assert running.returncode == 0


def resident(pid):
    lines = Path("/proc", str(pid), "status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def send(client, writer, num):
    """Sends malformed requests; returns how often every code came back."""
    codes = collections.Counter()
    for _ in range(num):
        method, data = writer.request()
        call = client.channel.unary_unary(method)
        try:
            call(data, timeout=20)
            code = "OK"
        except grpc.RpcError as error:
            code = error.code().name
            assert code in CLEAN, (method, data.hex(), error.details())
            assert code != "INTERNAL" or error.details().startswith("the request is no "), (method, data.hex())
        codes[code] += 1
    return codes


def garbage(address):
    """Bytes that are no HTTP/2 at all."""
    host, port = address.split(":")
    for data in (b"\x00" * 100, b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 50):
        with socket.create_connection((host, int(port)), timeout=5) as raw:
            raw.sendall(data)


def works(client):
    return client.values("half", inputs={"x": np.array([2.0], np.float32)})["y"].tolist() == [3.0]


@pytest.mark.large  # a process of its own, whose memory is measured
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_server_survives(process, connect):
    address, pid = process
    with connect(address) as client:
        assert works(client)
        send(client, Writer(0), 500)  # whatever is allocated once
        before = resident(pid)
        codes = send(client, Writer(1), NUM)
        garbage(address)
        assert works(client)
        after = resident(pid)
    grown = (after - before) / 2**20
    print(f"\n{NUM} requests: {dict(codes)}; memory {before / 2**20:.1f} -> {after / 2**20:.1f} MiB ({grown:+.1f})")
    assert len(codes) >= 5 and after - before < FLAT


def test_every_refusal_is_clean(client):
    """Against the server that TFAR_SERVER names, too."""
    if "TFAR_SERVER" in os.environ:
        # How the C++ server words unparsable bytes is its own affair.
        return
    assert send(client, Writer(2), 300).total() == 300
    assert works(client)
