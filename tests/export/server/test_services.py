"""What surrounds Predict: metadata, unknown methods, threads, health, TLS, unix sockets."""

import os
import shutil
import socket
import subprocess
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2

from export.client import ServingError

X = {"x": np.array([2.0], np.float32)}
SERVING, UNKNOWN = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


def refused(call):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code().name, caught.value.details()


# === Metadata ===


def metadata(client, *fields, name="half", version=None):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    request.model_spec.name = name
    if version is not None:
        request.model_spec.version.value = version
    return client.prediction.GetModelMetadata(request, timeout=10)


def test_metadata_holds_the_signatures_and_their_defaults(client):
    response = metadata(client, "signature_def", name="defaults")
    assert (response.model_spec.name, response.model_spec.version.value) == ("defaults", 1)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert {"sample", "__saved_model_init_op"} <= set(signatures.signature_def)
    assert set(signatures.signature_def["sample"].defaults) == {"seed", "temperature"}


def test_metadata_that_is_refused(client):
    missing = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    invalid = "INVALID_ARGUMENT"
    assert refused(lambda: client.prediction.GetModelMetadata(missing, timeout=10)) == (invalid, "Missing ModelSpec")
    message = "GetModelMetadataRequest must specify at least one metadata_field"
    assert refused(lambda: metadata(client)) == (invalid, message)
    assert refused(lambda: metadata(client, "signature_def", "weights")) == (
        invalid,
        "Metadata field weights is not supported",
    )
    message = "Servable not found for request: Specific(half, 5)"
    assert refused(lambda: metadata(client, "signature_def", version=5)) == ("NOT_FOUND", message)


# === Unknown methods ===


@pytest.mark.skipif("TFAR_SERVER" in os.environ, reason="the released server answers calls that take examples")
@pytest.mark.parametrize("method", ["Classify", "Regress", "MultiInference", "Nothing"])
def test_methods_that_take_examples_do_not_exist(client, method):
    call = client.channel.unary_unary(f"/tensorflow.serving.PredictionService/{method}")
    assert refused(lambda: call(b"", timeout=10)) == ("UNIMPLEMENTED", "Method not found!")


def test_other_services_do_not_exist(client):
    call = client.channel.unary_unary("/tensorflow.serving.SessionService/SessionRun")
    assert refused(lambda: call(b"", timeout=10))[0] == "UNIMPLEMENTED"


# === Threads ===


def test_calls_beyond_the_threads_are_refused_at_once(models, serve):
    options = {"model_name": "toys", "model_base_path": str(models / "toys"), "enable_grpc_healthcheck_service": True}
    with serve(grpc_max_threads=2, **options) as (_, client):
        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = "toys", "loop"
        request.inputs["steps"].CopyFrom(tf.make_tensor_proto(np.int64(10**12)))
        held = [client.prediction.Predict.future(request, timeout=1.5) for _ in range(2)]
        time.sleep(0.3)
        started = time.monotonic()
        quick = {"value": np.zeros(1, np.float32)}
        assert client.refusal("toys", "float32", quick) == ("RESOURCE_EXHAUSTED", "Server Threadpool Exhausted")
        assert time.monotonic() - started < 0.5
        assert check(client, "") == SERVING  # a probe is no call of the model
        assert [call.code().name for call in held] == ["DEADLINE_EXCEEDED"] * 2
        time.sleep(0.3)  # the loops stop soon after
        client.values("toys", "float32", quick)


def test_clients_that_vanish_hold_no_thread_past_their_deadline(models, serve, connect, wait_until):
    options = {"model_name": "toys", "model_base_path": str(models / "toys"), "grpc_max_threads": 4}
    with serve(**options) as (server, client):
        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = "toys", "loop"
        request.inputs["steps"].CopyFrom(tf.make_tensor_proto(np.int64(10**12)))
        for _ in range(3):
            with connect(client.target) as other:
                calls = [other.prediction.Predict.future(request, timeout=0.3) for _ in range(4)]
                time.sleep(0.1)
            assert {call.code().name for call in calls} == {"CANCELLED"}  # all four had a thread; the channel is closed
            assert wait_until(lambda: server.manager._versions["toys"][1].calls == 0)
            quick = {"value": np.zeros(1, np.float32)}
            assert len([client.predict("toys", "float32", quick) for _ in range(4)]) == 4


# === Health ===


def check(client, service):
    call = client.channel.unary_unary("/grpc.health.v1.Health/Check")
    request = health_pb2.HealthCheckRequest(service=service).SerializeToString()
    return health_pb2.HealthCheckResponse.FromString(call(request, timeout=5)).status


def test_health_names_have_no_package(models, serve):
    options = {"model_name": "half", "model_base_path": str(models / "half")}
    with serve(enable_grpc_healthcheck_service=True, **options) as (_, client):
        for service in ("", "PredictionService", "ModelService"):
            assert check(client, service) == SERVING
        wrong = refused(lambda: check(client, "tensorflow.serving.PredictionService"))
        assert wrong == ("NOT_FOUND", "service name unknown")
        watch = client.channel.unary_stream("/grpc.health.v1.Health/Watch")
        calls = [watch(health_pb2.HealthCheckRequest(service="ModelService").SerializeToString()) for _ in range(20)]
        for call in calls:
            assert health_pb2.HealthCheckResponse.FromString(next(call)).status == SERVING
        assert client.values("half", inputs=X)["y"].tolist() == [3.0]  # watchers hold no thread
        for call in calls:
            call.cancel()
        call = watch(health_pb2.HealthCheckRequest(service="x").SerializeToString())
        assert health_pb2.HealthCheckResponse.FromString(next(call)).status == UNKNOWN
        call.cancel()
    with serve(**options) as (_, client):
        assert refused(lambda: check(client, ""))[0] == "UNIMPLEMENTED"  # off by default, as in the released server


# === Ports ===


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """PEM texts: an authority, and a key and certificate for `localhost` and for a client."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the test's certificates, is not installed")
    folder = tmp_path_factory.mktemp("keys")

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout")
    openssl("req", "-x509", *key, "ca.key", "-out", "ca.crt", "-subj", "/CN=test authority", "-days", "2")
    (folder / "names").write_text("subjectAltName=DNS:localhost")
    for name in ("server", "client"):
        openssl("req", *key, f"{name}.key", "-out", f"{name}.csr", "-subj", "/CN=localhost")
        authority = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names")
        openssl("x509", "-req", "-in", f"{name}.csr", *authority, "-out", f"{name}.crt", "-days", "1")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("mutual", [False, True])
def test_tls(models, serve, connect, keys, tmp_path, mutual):
    def quoted(name):
        return '"' + keys[name].decode().replace("\n", "\\n") + '"'

    text = f"server_key: {quoted('server.key')} server_cert: {quoted('server.crt')}"
    if mutual:
        text += f" custom_ca: {quoted('ca.crt')} client_verify: true"
    path = tmp_path / "ssl.config"
    path.write_text(text)
    options = {"model_name": "half", "model_base_path": str(models / "half"), "ssl_config_file": str(path)}
    with serve(**options) as (server, plain):
        address = f"127.0.0.1:{server.port}"
        name = [("grpc.ssl_target_name_override", "localhost")]
        own = (keys["client.key"], keys["client.crt"]) if mutual else (None, None)
        with connect(address, grpc.ssl_channel_credentials(keys["ca.crt"], *own), name) as client:
            assert client.values("half", inputs=X)["y"].tolist() == [3.0]
        assert plain.refusal("half", inputs=X, timeout=5)[0] == "UNAVAILABLE"
        if mutual:
            with connect(address, grpc.ssl_channel_credentials(keys["ca.crt"]), name) as client:
                assert client.refusal("half", inputs=X, timeout=5)[0] == "UNAVAILABLE"


def test_tls_file_without_a_key(models, serve, tmp_path):
    path = tmp_path / "ssl.config"
    path.write_text('server_cert: "x"')
    with pytest.raises(ServingError, match="must hold server_key and server_cert"):
        with serve(model_base_path=str(models / "half"), ssl_config_file=str(path)):
            pass


def test_unix_socket(models, serve, connect, tmp_path):
    path = tmp_path / "socket"
    with serve(model_name="half", model_base_path=str(models / "half"), grpc_socket_path=str(path)):
        with connect(f"unix:{path}") as client:
            assert client.values("half", inputs=X)["y"].tolist() == [3.0]


def test_port_in_use_is_an_error(models, serve):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ServingError, match="gRPC cannot listen on 127.0.0.1"):
            with serve(model_base_path=str(models / "half"), port=taken.getsockname()[1]):
                pass
        with pytest.raises(ServingError, match="HTTP cannot listen on 127.0.0.1"):
            with serve(model_base_path=str(models / "half"), rest_api_port=taken.getsockname()[1]):
                pass


def test_large_messages_pass(client):
    big = np.arange(3_000_000, dtype=np.float32)  # 12 MB; the default limit of gRPC is 4 MiB
    np.testing.assert_array_equal(client.values("toys", "float32", {"value": big})["value"], big)
