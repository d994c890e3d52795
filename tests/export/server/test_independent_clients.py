"""Clients that share no code with TensorFlow's talk to the server.

They live in environments of their own:

TFAR_OVMSCLIENT_PYTHON    interpreter that has ovmsclient
TFAR_MIN_TFS_PYTHON       interpreter that has min-tfs-client (it needs protobuf<3.21)
TFAR_NODE_MODULES         folder with @grpc/grpc-js and @grpc/proto-loader; `node` must be on the path
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2
from tensorflow_serving.apis import model_service_pb2, prediction_service_pb2

HERE = Path(__file__).parent


def environment(name, what):
    value = os.environ.get(name)
    if not value or not os.path.exists(value):
        pytest.skip(f"{name} names no {what}")
    return value


def output(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_ovmsclient(client):
    python = environment("TFAR_OVMSCLIENT_PYTHON", "interpreter with ovmsclient")
    result = output(python, HERE / "client_ovms.py", client.target)
    assert result["status"] == {"1": "AVAILABLE"} and result["y"] == [3.0, 3.5] and result["big"] == [500_000]
    assert result["inputs"] == ["x"] and result["outputs"] == ["y"]
    assert "Expects arg[0] to be float but int32 is provided" in result["refusal"]


def test_min_tfs_client(client):
    python = environment("TFAR_MIN_TFS_PYTHON", "interpreter with min-tfs-client")
    result = output(python, HERE / "client_min_tfs.py", *client.target.split(":"))
    assert result["y"] == [3.0, 3.5]
    assert result["refusal"].startswith("INVALID_ARGUMENT: Signature input alias: x(feed name: x:0) not found")


def test_node(client, tmp_path):
    modules = environment("TFAR_NODE_MODULES", "folder with @grpc/grpc-js")
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    # The wheel of tensorflow-serving-api ships no .proto files; the descriptors say the same.
    files, found = descriptor_pb2.FileDescriptorSet(), set()

    def add(descriptor):
        if descriptor.name not in found:
            found.add(descriptor.name)
            for dependency in descriptor.dependencies:
                add(dependency)
            descriptor.CopyToProto(files.file.add())

    add(prediction_service_pb2.DESCRIPTOR)
    add(model_service_pb2.DESCRIPTOR)
    (tmp_path / "descriptors.pb").write_bytes(files.SerializeToString())
    result = output("node", HERE / "client_node.js", modules, tmp_path / "descriptors.pb", client.target)
    assert result["y"] == [3, 3.5] and result["signature"] == "serving_default"
    message = "Expects arg[0] to be float but int32 is provided"
    assert result["refusal"] == {"code": 3, "details": message} and result["silent"] == 3
    assert result["states"] == [["1", "AVAILABLE"]] and result["late"] == 4
    assert result["parallel"] == [2, 2.5, 3, 3.5]
