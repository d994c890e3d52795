"""The REST port: status, metrics, and the bridge of the demonstration."""

import base64
import http.client
import json
import socket

import numpy as np
import pytest

from export.server import metrics, rest


class Http:
    def __init__(self, port):
        self.port = port

    def __call__(self, method, path, body=None, headers=None):
        """Status and body; JSON is parsed."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        kind = {"Content-Type": "application/json"} if data is not None else {}
        connection.request(method, path, data, kind | (headers or {}))
        response = connection.getresponse()
        text = response.read()
        connection.close()
        json_type = response.getheader("Content-Type") == "application/json"
        return response.status, json.loads(text) if json_type else text.decode(errors="replace")


@pytest.fixture(scope="module")
def served(models, serve, tmp_path_factory):
    """A server with every part of the REST port, its gRPC client, and a caller."""
    folder = tmp_path_factory.mktemp("config")
    (folder / "monitoring.config").write_text('prometheus_config { enable: true, path: "/metrics" }')
    (folder / "models.config").write_text(
        "model_config_list {"
        + "".join(
            f'config {{ name: "{name}" base_path: "{models / name}" model_platform: "tensorflow" }}'
            for name in ("toys", "half", "defaults")
        )
        + "}"
    )
    options = {
        "model_config_file": str(folder / "models.config"),
        "monitoring_config_file": str(folder / "monitoring.config"),
    }
    with serve(rest_api_port=0, demo=True, rest_api_timeout_in_ms=500, **options) as (server, client):
        server._rest.demo.folder = folder / "page"
        (folder / "page").mkdir()
        (folder / "page" / "index.html").write_text("<p>page</p>")
        yield server, client, Http(server.rest_port)


@pytest.fixture
def call(served):
    return served[2]


# === Status and metrics ===


def test_model_status(call):
    status = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    for path in ("/v1/models/half", "/v1/models/half/versions/1"):
        assert call("GET", path) == (200, {"model_version_status": [status]})
    assert call("GET", "/v1/models/m") == (404, {"error": "Could not find any versions of model m"})
    assert call("GET", "/v1/models/half/versions/9") == (404, {"error": "Could not find version 9 of model half"})
    assert call("GET", "/v1/models/half/labels/x") == (400, {"error": "Unrecognized servable version label: x"})
    assert call("GET", f"/v1/models/half/versions/{2**64}")[0] == 400
    assert call("GET", "/nothing") == (404, {"error": "Malformed request: GET /nothing"})
    assert call("GET", "/v1/nothing") == (400, {"error": "Malformed request: GET /v1/nothing"})
    assert call("DELETE", "/v1/models/half")[0] == 501


def test_metrics_have_the_names_of_tensorflow_serving(served):
    _, client, call = served

    def lines():
        return dict(line.rsplit(" ", 1) for line in call("GET", "/metrics")[1].splitlines() if line[0] != "#")

    before = lines()
    client.values("half", inputs={"x": np.zeros(1, np.float32)})
    client.refusal("half")
    after = lines()

    def growth(key):
        return float(after[key]) - float(before.get(key, 0))

    name = ":tensorflow:serving:"
    assert growth(f'{name}request_count{{model_name="half",status="OK"}}') == 1
    assert growth(f'{name}request_count{{model_name="half",status="INVALID_ARGUMENT"}}') == 1
    labels = 'model_name="half",API="Predict"'
    assert growth(f'{name}request_latency_count{{{labels},entrypoint="GRPC"}}') == 1
    assert growth(f'{name}request_latency_bucket{{{labels},entrypoint="GRPC",le="+Inf"}}') == 1
    assert growth(f'{name}runtime_latency_count{{{labels},runtime="TF1"}}') == 1
    bounds = [key.split('le="')[1][:-2] for key in after if key.startswith(f"{name}runtime_latency_bucket{{{labels}")]
    assert bounds[:3] == ["10", "18", "32.4"] and len(bounds) == 34
    assert f"# TYPE {name}request_count counter" in call("GET", "/metrics")[1]
    response = client.reload(
        *((model, served[0].manager._models[model].base_path, {}) for model in ("toys", "half", "defaults")),
        metric_names=["/tensorflow/serving/request_count"],
    )
    assert response.metric[0].int64_value_increase == 0


def test_memory_of_metrics_is_bounded():
    counter = metrics.Counter("c", "model_name", "status")
    for number in range(5000):
        counter.add(1, f"name {number} {chr(110) * 1000}", "OK")
    assert counter.total() == 5000 and len("".join(counter.lines())) < 400_000
    counter.add(1, 'quote " and \\', "x")
    histogram = metrics.Histogram("h", "a")
    histogram.add(1e-5, "x")
    histogram.add(1e6, 'x"')
    lines = list(histogram.lines())
    assert 'h_bucket{a="x",le="10"} 0' in lines and 'h_bucket{a="x",le="18"} 1' in lines
    assert 'h_count{a="x\\""} 1' in lines and 'h_sum{a="x\\""} 1e+12' in lines


# === The demonstration ===


def test_page_and_nothing_beside_it(served, tmp_path):
    call = served[2]
    (served[0]._rest.demo.folder.parent / "secret").write_text("secret")
    for path in ("/", "/demo", "/demo/", "/demo/index.html"):
        assert call("GET", path) == (200, "<p>page</p>")
    for path in ("/demo/../secret", "/demo/%2e%2e/secret", "/demo/missing.js", "/demo/..", "/demo//etc/passwd"):
        assert call("GET", path)[0] == 404


def test_description(call):
    status, value = call("GET", "/demo/model?model=defaults")
    assert status == 200 and value["name"] == "defaults" and value["version"] == 1 and value["tfar"] is None
    sample = value["signatures"]["sample"]
    assert sample["inputs"]["temperature"] == {"dtype": "float32", "shape": [], "default": 1.0}
    assert sample["inputs"]["x"]["dtype"] == "float32" and "default" not in sample["inputs"]["x"]
    assert not any(name.startswith("__") for name in value["signatures"])
    assert call("GET", "/demo/model")[1]["name"] == "toys"
    assert call("GET", "/demo/model?model=m")[1]["error"]["code"] == "NOT_FOUND"


@pytest.mark.parametrize(
    "name, value, expected",
    [
        ("float32", [[1, 2.5], [0, -1]], [[1.0, 2.5], [0.0, -1.0]]),
        ("float32", ["NaN", "Infinity", 1], ["NaN", "Infinity", 1.0]),
        ("int32", [1, 2.0, "3"], [1, 2, 3]),
        ("int64", [str(2**62), -1], [str(2**62), -1]),
        ("int64", 5, 5),
        ("bool", [True, False], [True, False]),
        ("string", [base64.b64encode(b"\x00\xff").decode()] * 2, [base64.b64encode(b"\x00\xff").decode()] * 2),
        ("string", "", ""),
        ("float32", [], []),
    ],
)
def test_json_goes_through(call, name, value, expected):
    body = {"inputs": {"value": value}}
    assert call("POST", f"/demo/api/{name}", body) == (200, {"outputs": {"value": expected}, "version": 1})


def test_output_filter_and_model(call):
    body = {"inputs": {"a": [1], "b": [2]}, "output_filter": ["sum"]}
    assert call("POST", "/demo/api/two", body)[1]["outputs"] == {"sum": [3.0]}
    assert call("POST", "/demo/api/serving_default?model=half", {"inputs": {"x": [2]}})[1]["outputs"] == {"y": [3.0]}


@pytest.mark.parametrize(
    "signature, body, status, code, message",
    [
        ("nope", {"inputs": {}}, 400, "FAILED_PRECONDITION", 'Serving signature key "nope" not found.'),
        ("two", {"inputs": {"a": [1]}}, 400, "INVALID_ARGUMENT", "input size does not match signature"),
        ("two", {"inputs": {"a": [1], "c": [1]}}, 400, "INVALID_ARGUMENT", "Signature input alias: b"),
        ("two", {"inputs": {"a": [[1, 2], [3]], "b": 1}}, 400, "INVALID_ARGUMENT", "a must be nested lists of float32"),
        (
            "int32",
            {"inputs": {"value": [1.5]}},
            400,
            "INVALID_ARGUMENT",
            "value must be nested lists of int32, got 1.5",
        ),
        ("int32", {"inputs": {"value": [2**40]}}, 400, "INVALID_ARGUMENT", "value must be nested lists of int32"),
        ("int32", {"inputs": {"value": None}}, 400, "INVALID_ARGUMENT", "value must be nested lists of int32"),
        ("string", {"inputs": {"value": ["*"]}}, 400, "INVALID_ARGUMENT", "value must be nested lists of string"),
        ("two", {"inputs": []}, 400, "INVALID_ARGUMENT", "the body must be"),
        ("two", [], 400, "INVALID_ARGUMENT", "the body must be"),
        ("two", {"inputs": {}, "output_filter": 3}, 400, "INVALID_ARGUMENT", "output_filter must be"),
        ("two", b"{", 400, "INVALID_ARGUMENT", "JSON Parse error: Invalid value. at offset: 1"),
        ("two", b"[" * 100_000, 400, "INVALID_ARGUMENT", "JSON Parse error: the lists and objects are nested too"),
        ("two", b"[" + b"9" * 5000 + b"]", 400, "INVALID_ARGUMENT", "JSON Parse error: Number too big"),
        ("two", b'{"inputs": {"\\ud800": 1}}', 400, "INVALID_ARGUMENT", "JSON Parse error: The surrogate pair"),
        ("two", b"\xff", 400, "INVALID_ARGUMENT", "JSON Parse error: Invalid encoding in string. at offset: 0"),
        (
            "int32",
            {"inputs": {"value": "9" * 5000}},
            400,
            "INVALID_ARGUMENT",
            "value must be nested lists of int32, got",
        ),
        (
            "float32",
            {"inputs": {"value": [None]}},
            400,
            "INVALID_ARGUMENT",
            "value must be nested lists of float32, got",
        ),
        ("loop", {"inputs": {"steps": 10**12}}, 504, "DEADLINE_EXCEEDED", "Timed out"),
    ],
)
def test_errors_of_the_bridge(call, signature, body, status, code, message):
    got, value = call("POST", f"/demo/api/{signature}", body)
    assert (got, value["error"]["code"]) == (status, code) and value["error"]["message"].startswith(message)


def test_other_origins_cannot_post(call):
    status, value = call("POST", "/demo/api/float32", b'{"inputs": {"value": 1}}', {"Content-Type": "text/plain"})
    assert status == 400 and "application/json" in value["error"]["message"]


def test_bodies_of_unknown_or_absurd_length(served):
    call = served[2]
    for length in ("", "-1", "x", str(10**12)):
        assert call("POST", "/demo/api/two", b"", {"Content-Length": length})[0] == 400
    with socket.create_connection(("127.0.0.1", call.port)) as raw:
        raw.sendall(b"\xff\x00garbage\r\n\r\n")
        assert b"400" in raw.recv(1000)
    assert call("GET", "/v1/models/half")[0] == 200


def test_without_demo_there_is_none(models, serve):
    with serve(model_name="half", model_base_path=str(models / "half"), rest_api_port=0) as (server, _):
        call = Http(server.rest_port)
        assert call("GET", "/demo/model")[0] == 404 and call("POST", "/demo/api/x", {})[0] == 404
        assert call("GET", rest.METRICS_PATH)[0] == 404  # no --monitoring_config_file
        assert call("GET", "/v1/models/half")[0] == 200


def test_a_connection_that_is_kept_alive_does_not_outlive_the_server(models, serve):
    with serve(rest_api_port=0, model_name="half", model_base_path=str(models / "half")) as (server, _):
        connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=10)
        connection.request("GET", "/v1/models/half")
        assert connection.getresponse().read().startswith(b"{")
    connection.request("GET", "/v1/models/half")
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())) == (503, {"error": "the server is stopping"})
    connection.auto_open = False
    with pytest.raises(http.client.NotConnected):
        connection.request("GET", "/v1/models/half")
