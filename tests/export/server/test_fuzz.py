"""Random requests for the signatures of exports: clean refusals, and memory that stays where it is.

TFAR_FUZZED_REQUESTS=10000 sends so many to a server of its own (2000 by default); `pytest -s` shows codes and memory.
"""

import collections
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2

ROOT = Path(__file__).resolve().parents[3]
NUM = int(os.environ.get("TFAR_FUZZED_REQUESTS", 2000))
MOST = 1.5e9  # bytes of resident memory
# A call that the client gave up keeps its thread until its next chunk, so the server may be full for a moment.
CLEAN = {"OK", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "CANCELLED", "RESOURCE_EXHAUSTED"}
COUNTS = (0, 1, 1, 1, 1, 2, 3, 16, 64, 65, 50_000, 8_000_000, 2**31 - 1, 2**31, 2**40, 2**62, -1, -(2**63))
NUMBERS = (0, 0, 1, 1, 1, 2, 3, 5, 64, 65_536, 2**31 - 1, -1, -2, -(2**31))


class Writer:
    """Writes requests of which most are wrong in one input, some in several.

    Args:
        client: of the server; its signatures are asked for.
        seed: of all requests.
        names: of the models.
    """

    def __init__(self, client, seed, names):
        self.random, self.known = random.Random(seed), {}
        for name in names:
            request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
            request.model_spec.name = name
            found = get_model_metadata_pb2.SignatureDefMap()
            client.prediction.GetModelMetadata(request, timeout=20).metadata["signature_def"].Unpack(found)
            for key in sorted(found.signature_def):
                if not key.startswith("__"):
                    self.known[name, key] = found.signature_def[key]
        self.states = [client.values("texts", "start")["state"][0]]

    def tensor(self, info):
        """A tensor in which nearly anything may be wrong."""
        pick = self.random.choice
        right = [dim.size for dim in info.tensor_shape.dim]
        shape = [pick(COUNTS), *(pick((1, 1, 3, *COUNTS)) if size < 0 else size for size in right[1:])]
        if self.random.random() < 0.15:
            shape = [pick(COUNTS) for _ in range(self.random.randrange(4))]
        dtype = tf.as_dtype(info.dtype if self.random.random() < 0.9 else pick((1, 2, 3, 7, 9)))
        return self.filled(dtype, shape)

    def filled(self, dtype, shape):
        proto = tf.make_tensor_proto(self.value(dtype), dtype, shape=[1])
        proto.tensor_shape.ClearField("dim")
        for size in shape:
            proto.tensor_shape.dim.add(size=size)
        if self.random.random() < 0.1:
            proto.tensor_content = self.random.randbytes(self.random.choice((1, 4, 8, 4096)))
        return proto

    def value(self, dtype):
        if dtype == tf.string:
            state = bytearray(self.states[0])
            state[self.random.randrange(len(state))] ^= self.random.choice((0, 1, 128))
            return [self.random.choice((bytes(state), bytes(state[:20]), b"", b"x" * 1_000_000))]
        if dtype.is_floating:
            return [self.random.choice((1.0, 0.5, 0.0, -1.0, float("nan"), float("inf"), 1e-38))]
        return np.array([self.random.choice(NUMBERS)]).astype(dtype.as_numpy_dtype)

    def usual(self, info, num):
        """A tensor that most signatures take."""
        shape = [num, *(3 if dim.size < 0 else dim.size for dim in info.tensor_shape.dim[1:])]
        value = self.states[0] if info.dtype == tf.string.as_datatype_enum else 1
        return tf.make_tensor_proto(value, info.dtype, shape=shape)

    def request(self):
        (name, key), definition = self.random.choice(list(self.known.items()))
        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = name, key
        wrong = self.random.random()
        odd = self.random.choice([*definition.inputs, None])
        num = self.random.choice((1, 1, 2, 16, 64))
        for alias, info in definition.inputs.items():
            if alias == odd or wrong < 0.3 and self.random.random() < 0.5:
                request.inputs[alias].CopyFrom(self.tensor(info))
            elif alias not in definition.defaults:
                request.inputs[alias].CopyFrom(self.usual(info, num))
        return request


def send(client, writer, num):
    """Sends requests; returns how often every code came back."""
    codes = collections.Counter()
    for _ in range(num):
        request = writer.request()
        call = client.prediction.Predict.future(request, timeout=0.3)
        if writer.random.random() < 0.05:
            threading.Timer(writer.random.random() * 0.1, call.cancel).start()
        try:
            call.result()
            code = "OK"
        except (grpc.RpcError, grpc.FutureCancelledError):
            code, told = call.code().name, call.details()
            assert code in CLEAN, (request, code, told)
            text, _, node = told.partition("\n\t [[")
            assert "\n" not in text and len(told) < 1100, told
        codes[code] += 1
        if code == "RESOURCE_EXHAUSTED":
            time.sleep(0.2)
    return codes


def resident(pid):
    """Memory of a process now and at its highest."""
    lines = dict(line.split(":", 1) for line in Path("/proc", str(pid), "status").read_text().splitlines())
    return tuple(int(lines[key].split()[0]) * 1024 for key in ("VmRSS", "VmHWM"))


def works(client):
    """Whether a sample is drawn, as soon as the calls have ended that were given up."""
    inputs, deadline = {"length": np.int32([8]), "seed": np.int64([[1, 2]])}, time.monotonic() + 30
    while True:
        try:
            return client.values("texts", "sample", inputs)["samples"].shape == (1, 8)
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED or time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def test_requests_of_any_kind_end_in_a_clean_status(served, connect):
    with connect(served.target) as client:
        assert send(client, Writer(client, 3, ("pictures", "texts")), 120)["INVALID_ARGUMENT"] > 40
        assert works(client)


@pytest.mark.large  # a process of its own, whose memory is measured
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_memory_stays_below_its_bound(bank, tmp_path, free_ports, connect):
    config, names = tmp_path / "models.config", ("pictures", "texts", "image")
    entries = "".join(
        f'config {{ name: "{name}" base_path: "{bank.versions(name)}" model_platform: "tensorflow" }}' for name in names
    )
    config.write_text(f"model_config_list {{ {entries} }}")
    command = [sys.executable, "-m", "pipelines.serve", f"--port={free_ports[0]}", f"--model_config_file={config}"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            for line in process.stdout:
                if line == "ready\n":
                    break
            with connect(f"127.0.0.1:{free_ports[0]}") as client:
                writer = Writer(client, 4, names)
                send(client, Writer(client, 5, names), 100)  # whatever is allocated once
                before = resident(process.pid)[0]
                codes = send(client, writer, NUM)
                now, most = resident(process.pid)
                assert works(client)
        finally:
            process.terminate()
    print(f"\n{NUM} requests: {dict(codes)}; memory {before / 1e6:.0f} -> {now / 1e6:.0f}, at most {most / 1e6:.0f} MB")
    assert most < MOST and codes["INVALID_ARGUMENT"] > NUM / 4
