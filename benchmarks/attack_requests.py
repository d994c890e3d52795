"""Requests that are wrong in some way, most of the time: bytes on a socket over HTTP, bytes of a call over gRPC."""

from __future__ import annotations

import random
import socket

import grpc
import numpy as np

from export.client.messages import GET_MODEL_METADATA, MESSAGES, PREDICT, to_proto

# What a server may answer; 500 is a bug of it.
REST_CLEAN = {200, 400, 403, 404, 414, 429, 431, 501, 503, 504, 505}
GRPC_CLEAN = {
    *("OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "UNIMPLEMENTED", "RESOURCE_EXHAUSTED"),
    "DEADLINE_EXCEEDED",
}
# What must not come to a client: words of Python, and paths.
_SECRETS = (b"Traceback", b"Error:", b"/home/", b"/tmp/", b"site-packages", b".py")
_TIMEOUT = 20.0
_METHODS = (PREDICT, PREDICT, PREDICT, GET_MODEL_METADATA, "/tensorflow.serving.ModelService/GetModelStatus", "/x/y")
_SIGNATURES = ("", "sample", "log_prob", "describe", "session_begin", "session_step", "session_end", "nothing")
_VALUES = (
    b"1",
    b"-1",
    b"1e999",
    b"NaN",
    b"null",
    b"true",
    b'"a"',
    b'"\\ud800"',
    b"[]",
    b"{}",
    b"[[1],[2,3]]",
    b"9" * 5000,
)
_VERBS = ("POST", "POST", "POST", "GET", "DELETE", "X" * 100)


class Requests:
    """Draws requests.

    Args:
        seed: of all of them.
        model: name of the model that is served.
    """

    def __init__(self, seed: int, model: str):
        self.random, self.model = random.Random(seed), model

    def http(self) -> bytes:
        """A request over HTTP, which asks for the end of its connection if it is one."""
        pick = self.random.choice
        path = pick(
            (
                f"/v1/models/{self.model}:predict",
                f"/v1/models/{self.model}/versions/{pick(('1', '9', '9' * 30, '9' * 5000, 'x'))}:predict",
                f"/v1/models/{self.model}/metadata",
                f"/v1/models/{pick(('', 'x', '%00', '..', 'n' * 2000))}",
                f"/demo/{pick(('', 'model', '%00', '../x', 'a' * 300, 'index.html'))}",
                f"/demo/api/{pick(_SIGNATURES)}",
                pick(("/", "//[", "/%", "*", "http://x/", "/" * 70_000)),
            )
        )
        body = self.json() if self.random.random() < 0.7 else b""
        length = pick((str(len(body)),) * 6 + ("", "x", "-1", "9" * 5000, "0"))
        head = [
            f"{pick(_VERBS)} {path} {pick(('HTTP/1.1',) * 5 + ('HTTP/9', ''))}",
            f"Host: {pick(('localhost',) * 6 + ('evil.example', '', '['))}",
            "Content-Type: application/json",
            "Connection: close",
            *([f"Content-Length: {length}"] if length else []),
            *pick(
                ([],) * 6 + (["Transfer-Encoding: chunked"], ["Origin: null"], ["A: b"] * 200, ["Content-Length: 1"])
            ),
        ]
        return self._damaged("\r\n".join(head).encode() + b"\r\n\r\n" + body)

    def json(self) -> bytes:
        """A body that often is JSON."""
        pick = self.random.choice
        entries = [b'"signature_name": "%s"' % pick(_SIGNATURES).encode()]
        for key in self.random.sample(("inputs", "instances", "output_filter", "x"), self.random.randrange(3)):
            names = self.random.sample(("seed", "condition", "x", "rows", "session_id", "temperature", "é"), 2)
            value = b"{%s}" % b", ".join(b'"%s": %s' % (name.encode(), pick(_VALUES)) for name in names)
            entries.append(b'"%s": %s' % (key.encode(), pick((value, b"[%s]" % value, pick(_VALUES)))))
        return b"{%s}" % b", ".join(entries)

    def call(self) -> tuple[str, bytes]:
        """The method of a call of gRPC, and its bytes."""
        pick = self.random.choice
        method = pick(_METHODS)
        kind = "GetModelMetadataRequest" if method == GET_MODEL_METADATA else "PredictRequest"
        request = MESSAGES[kind]()
        request.model_spec.name = pick((self.model,) * 5 + ("", "x", "n" * 1000))
        if kind == "PredictRequest":
            request.model_spec.signature_name = pick(_SIGNATURES)
            for name in self.random.sample(("seed", "condition", "x", "rows", "session_id", "temperature"), 2):
                shape = pick(((), (1,), (2,), (1, 2), (3, 1), (0,)))
                dtype = pick((np.int32, np.int64, np.float32, np.float64, np.uint8))
                to_proto(np.full(shape, pick((0, 1, 3, 100)), dtype), request.inputs[name])
        return method, self._damaged(request.SerializeToString())

    def _damaged(self, data: bytes) -> bytes:
        kind = self.random.random()
        if kind < 0.6 or not data:
            return data
        if kind < 0.75:
            return data[: self.random.randrange(len(data))]
        if kind < 0.8:
            return self.random.randbytes(self.random.randrange(200))
        flipped = bytearray(data)
        for _ in range(self.random.randrange(1, 8)):
            flipped[self.random.randrange(len(flipped))] = self.random.randrange(256)
        return bytes(flipped)


def send_http(port: int, data: bytes) -> str:
    """Sends bytes over a connection of their own.

    Returns:
        "" for a clean answer, or none; otherwise what is wrong with it.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT) as raw:
        answer = b""
        try:
            raw.sendall(data)
            raw.shutdown(socket.SHUT_WR)
            while part := raw.recv(65536):
                answer += part
        except TimeoutError:
            return f"no answer within {_TIMEOUT:g} s to {data[:300]!r}"
        except OSError:  # It was refused before all of it was sent.
            pass
    words = answer.split(b" ", 2)
    if not answer.startswith(b"HTTP/"):
        return f"an answer without a status to {data[:300]!r}: {answer[:300]!r}" if answer else ""
    if int(words[1]) not in REST_CLEAN or any(secret in answer for secret in _SECRETS if words[1] != b"200"):
        return f"{answer[:1000]!r} to {data[:300]!r}"
    return ""


def send_call(channel: grpc.Channel, method: str, data: bytes) -> str:
    """Makes a call; returns "" for a clean end, otherwise what is wrong with it."""
    try:
        channel.unary_unary(method)(data, timeout=_TIMEOUT)
    except grpc.RpcError as error:
        code, details = error.code().name, error.details() or ""
        unparsed = code == "INTERNAL" and details.startswith("the request is no ")
        if not (code in GRPC_CLEAN or unparsed) or any(secret.decode() in details for secret in _SECRETS):
            return f"{code} {details[:500]} to {method} {data[:100]!r}"
    return ""
