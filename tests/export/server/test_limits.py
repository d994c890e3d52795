"""What a client can ask of the server without harm to others: bodies, connections, senders, messages."""

import http.client
import json
import queue
import socket
import threading
import time
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import get_model_status_pb2, predict_pb2

from export.server import json_body, predict, services, waiting
from export.server.errors import TRUNCATED
from export.server.options import Options

ROOT = Path(__file__).resolve().parents[3]
BYTES, ELEMENTS, CONNECTIONS, SECONDS = 100_000, 2000, 6, 1.5
PREDICT = "/tensorflow.serving.PredictionService/Predict"


@pytest.fixture(scope="module")
def served(models, serve):
    """A server with small limits, and its client over gRPC."""
    options = {
        "rest_api_max_body_bytes": BYTES,
        "rest_api_max_body_elements": ELEMENTS,
        "rest_api_max_connections": CONNECTIONS,
        "rest_api_read_timeout_in_ms": int(1000 * SECONDS),
        "rest_api_allowed_hosts": "localhost,127.0.0.1,::1,Inside.example",
    }
    with serve(model_name="toys", model_base_path=str(models / "toys"), rest_api_port=0, demo=True, **options) as pair:
        yield pair


@pytest.fixture
def port(served):
    return served[0].rest_port


def ask(port, method="GET", path="/v1/models/toys", body=None, **headers):
    """Status and text."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text


def post(port, body, **headers):
    return ask(port, "POST", "/v1/models/toys:predict", body, **headers)


def talk(port, data, seconds=5.0):
    """Sends bytes; returns all that comes until the server closes the connection, and the seconds that took."""
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as raw:
        raw.sendall(data)
        answer = b""
        while part := raw.recv(65536):
            answer += part
    return answer, time.monotonic() - started


def works(port):
    return post(port, b'{"signature_name": "float32", "instances": [1.5]}')[1] == '{"predictions": [1.5]}\n'


# === Bodies ===


def test_a_large_body_is_refused_unread_and_its_client_is_told_why(port):
    status, text = post(port, b"[" + b"1," * 4_000_000)
    assert status == 400 and f"has 8000001 bytes, the limit is {BYTES} (--rest_api_max_body_bytes)" in text
    assert works(port)


def test_values_are_counted_before_they_are_parsed(port):
    body = b'{"signature_name": "float32", "instances": [%s]}'
    assert post(port, body % b",".join([b"1.5"] * (ELEMENTS - 10)))[0] == 200
    status, text = post(port, body % b",".join([b"1"] * (BYTES // 3)))
    assert status == 400 and f"the limit is {ELEMENTS} (--rest_api_max_body_elements)" in text


@pytest.mark.parametrize("value", [1, "a", [], [[1, 2], [3]], {"a": [1, {"b": None}], "c": {}}, [[[]]] * 5])
def test_the_count_bounds_what_json_makes(value):
    def values(value):
        inside = value if isinstance(value, list) else value.values() if isinstance(value, dict) else ()
        return 1 + sum(map(values, inside))

    assert values(value) <= 1 + json_body.count(json.dumps(value).encode())


def test_bodies_that_are_received_at_the_same_time_are_bounded():
    ended = []
    room = waiting.Waiting(60.0, 10, 100)
    with room.hold(lambda: ended.append("slow")) as slow, room.hold(lambda: ended.append("idle")):
        assert room.received(slow, 80)
        with room.hold(lambda: ended.append("quick")) as quick:
            assert not room.received(quick, 30)  # the slow one has not waited for long
            room.release(quick)
            slow.since -= waiting.GRACE_SECONDS
            assert room.received(quick, 30) and ended == ["slow"] and not room.received(slow, 1)
        assert not room.received(quick, 80)
        room.release(quick)
        assert room.received(quick, 100)


@pytest.mark.parametrize(
    "head",
    [
        "GET /v1/models/toys HTTP/1.1\r\nContent-Length: 34\r\n\r\n",
        "GET /v1/models/toys HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n22\r\n",
        "DELETE /v1/models/toys HTTP/1.1\r\nContent-Length: 34\r\n\r\n",
        "POST /v1/models/toys:predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 34\r\n\r\n",
        "POST /v1/models/toys:predict HTTP/1.1\r\nContent-Length: 34\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_a_body_is_never_read_as_the_next_request(port, head):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
        raw.sendall(head.encode() + b"GET /demo/model HTTP/1.1\r\nA: b\r\n\r\n")
        raw.shutdown(socket.SHUT_WR)
        answer = b""
        while part := raw.recv(65536):
            answer += part
    assert answer.count(b"HTTP/1.1 ") == 1 and answer.split()[1] in (b"400", b"501") and b"Connection: close" in answer


def test_clients_that_ask_before_they_send_are_told_to_go_on_or_why_not(port):
    head = b"POST /v1/models/toys:predict HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
        raw.sendall(head % 8)
        assert raw.recv(1000).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        raw.sendall(b"{      }")
        assert b"not found in signature def" in raw.recv(1000)
        raw.sendall(head % (BYTES + 1))
        assert raw.recv(1000).startswith(b"HTTP/1.1 400 ")


# === Words ===


@pytest.mark.parametrize(
    "path, body, headers",
    [
        ("/demo/" + "a" * 300, None, {}),
        ("/demo/%00", None, {}),
        ("/demo/a%2F..%2Findex.html", None, {}),
        ("//[", None, {}),
        ("/v1/models/toys/versions/" + "1" * 5000, None, {}),
        ("/v1/models/toys:predict", b"", {"Content_Length": "9" * 5000}),
        ("/v1/models/toys:predict", b"[" + b"1" * 5000 + b"]", {}),
        ("/v1/models/toys:predict", b'{"signature_name": "\\udc00", "inputs": 1}', {}),
        ("/demo/api/two", b'{"inputs": {"\\ud800": [1]}}', {"Content_Type": "application/json"}),
        ("/demo/api/two?model=%ff", b'{"inputs": {"a": [1]}}', {"Content_Type": "application/json"}),
        ("/demo/api/string", b'{"inputs": {"value": [1, [2]]}}', {"Content_Type": "application/json"}),
    ],
)
def test_strange_requests_are_the_mistakes_of_clients(port, path, body, headers):
    status, text = ask(port, "GET" if body is None else "POST", path, body, **headers)
    assert status in (400, 404) and len(text) < 2500
    assert "Error" not in text and str(ROOT) not in text and "site-packages" not in text, text


@pytest.mark.parametrize("secret", ["/home/someone/models", "x" * 2000])
def test_bugs_are_logged_and_not_told(served, monkeypatch, caplog, secret):
    server, client = served
    monkeypatch.setattr(server.manager, "acquire", lambda spec: (_ for _ in ()).throw(RuntimeError(secret)))
    told = "the server failed at this call; its log says why"
    assert client.refusal("toys") == ("INTERNAL", told)
    for path in ("/v1/models/toys:predict", "/demo/api/two"):
        status, text = ask(server.rest_port, "POST", path, b'{"inputs": {}}', Content_Type="application/json")
        assert status == 500 and told in text and secret not in text
    assert caplog.text.count(secret) >= 3


def test_where_a_version_lies_is_no_affair_of_its_clients(serve, tmp_path, toy):
    toy(tmp_path / "1")
    with serve(model_name="m", model_base_path=str(tmp_path)) as (_, client):
        (tmp_path / "2").mkdir()
        (tmp_path / "2" / "saved_model.pb").write_bytes(b"no SavedModel")
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name, request.model_spec.version.value = "m", 2
        for _ in range(200):
            time.sleep(0.05)
            if client.status("m").get(2) == "END":
                break
        message = client.model.GetModelStatus(request, timeout=10).model_version_status[0].status.error_message
        assert "m/2" in message and str(tmp_path) not in message and message.isascii()


def test_messages_are_cut_and_can_be_sent():
    from export.server.errors import details, invalid

    assert details(invalid("\ud800")) == "?"
    assert details(invalid("ä" * 1000)).encode().endswith(TRUNCATED)


# === Senders ===


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST:1", "inside.example:80"])
def test_own_names_are_served(port, host):
    assert ask(port, Host=host)[0] == 200
    assert ask(port, Host=host, Origin=f"http://{host}")[0] == 200


@pytest.mark.parametrize("method, path", [("GET", "/demo/"), ("GET", "/v1/models/toys"), ("POST", "/demo/api/two")])
@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example:80"},
        {"Host": "["},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost@evil.example"},
    ],
)
def test_other_names_and_pages_of_others_are_not(port, method, path, headers):
    body = b"{}" if method == "POST" else None
    status, text = ask(port, method, path, body, Content_Type="application/json", **headers)
    assert status == 403 and "--rest_api_allowed_hosts" in text and next(iter(headers)) in text


def test_hosts_of_the_flag():
    assert Options().allowed_hosts() == {"localhost", "127.0.0.1", "::1"}
    assert Options(host="10.0.0.1", rest_api_allowed_hosts="[::1], A.b").allowed_hosts() == {"10.0.0.1", "::1", "a.b"}
    assert Options(rest_api_allowed_hosts="a,*").allowed_hosts() is None


# === Connections ===


def test_idle_connections_make_room_for_others(port):
    idle = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(CONNECTIONS)]
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:  # nobody has been idle for long
            assert raw.recv(100).startswith(b"HTTP/1.1 503")
        time.sleep(waiting.GRACE_SECONDS)
        started = time.monotonic()
        assert works(port) and time.monotonic() - started < 1
        assert idle[0].recv(1) == b""
    finally:
        for raw in idle:
            raw.close()


def test_who_is_slow_is_ended(port):
    def slowly(head):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
            raw.sendall(head)
            started = time.monotonic()
            while time.monotonic() - started < 5:
                try:
                    raw.sendall(b" ")
                    raw.settimeout(0.1)
                    if not raw.recv(100):
                        break
                except TimeoutError:
                    continue
                except OSError:
                    break
        ended.put(time.monotonic() - started)

    ended = queue.Queue()
    heads = [b"", b"GET / HTTP/1.1\r\nHost:", b"POST /v1/models/toys:predict HTTP/1.1\r\nContent-Length: 1000\r\n\r\n"]
    for head in heads:
        threading.Thread(target=slowly, args=(head,)).start()
    assert all(SECONDS - 0.2 < ended.get(timeout=10) < SECONDS + 2 for _ in heads)
    assert works(port)


# === gRPC ===


def test_calls_whose_message_does_not_come_harm_nobody(models, serve, connect, monkeypatch):
    monkeypatch.setattr(services, "WAITING_THREADS", 16)
    monkeypatch.setattr(services, "_MESSAGE_SECONDS", 2.5)
    done = threading.Event()

    def nothing():
        done.wait(20)
        yield from ()

    options = {"model_name": "half", "model_base_path": str(models / "half"), "grpc_max_threads": 2}
    x = {"x": np.ones(1, np.float32)}
    with serve(**options) as (server, client), connect(client.target) as other:
        calls = [other.channel.stream_unary(PREDICT).future(nothing(), timeout=30) for _ in range(30)]
        time.sleep(0.3)
        started = time.monotonic()
        assert client.values("half", inputs=x)["y"].tolist() == [2.5]
        assert time.monotonic() - started < 2.5  # some of the others had to go
        codes = {call.exception(timeout=20).code() for call in calls}
        assert codes == {grpc.StatusCode.CANCELLED}
        done.set()


def test_a_message_that_is_too_large_is_refused(models, serve):
    options = {"model_name": "toys", "model_base_path": str(models / "toys"), "grpc_max_message_bytes": 10_000}
    with serve(**options) as (_, client):
        code, message = client.refusal("toys", "float32", {"value": np.zeros(3000, np.float32)})
        assert code == "RESOURCE_EXHAUSTED" and "larger than max" in message
        assert client.values("toys", "float32", {"value": np.zeros(10, np.float32)})["value"].size == 10


def test_a_call_without_a_message_is_no_request(client):
    call = client.channel.stream_unary(PREDICT)
    with pytest.raises(grpc.RpcError) as caught:
        call(iter(()), timeout=10)
    assert caught.value.details() == "the request is no tensorflow.serving.PredictRequest"


# === Filters ===


def test_a_filter_asks_tensorflow_for_nothing_new(served):
    """Exports make all outputs in one operation; another set of outputs would be another graph to optimize."""

    class Recorder:
        def __init__(self, model):
            self.signatures, self.fetches, self._model = model.signatures, [], model

        def run(self, feeds, fetches, timeout_ms=0):
            self.fetches.append(fetches)
            return self._model.run(feeds, fetches, timeout_ms)

    model = Recorder(served[0].manager._versions["toys"][1].model)
    request = predict_pb2.PredictRequest(output_filter=["sum"])
    request.model_spec.signature_name = "two"
    for name in "ab":
        request.inputs[name].CopyFrom(tf.make_tensor_proto(np.ones(1, np.float32)))
    assert set(predict.predict(model, 1, request).outputs) == {"sum"}
    assert len(model.fetches[0]) == 1  # two operations: the released server prunes the graph as well
    known = model.signatures["two"]
    model.signatures = {"two": type(known)()}
    model.signatures["two"].CopyFrom(known)
    model.signatures["two"].outputs["difference"].CopyFrom(known.outputs["sum"])
    assert set(predict.predict(model, 1, request).outputs) == {"sum"}
    assert len(model.fetches[1]) == 2
