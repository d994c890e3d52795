"""The REST port: TensorFlow Serving's Predict, model status and metadata, metrics, and the demonstration page.

What a client can send is bounded before it is read, and read before it is parsed: bytes and values of a body,
connections, seconds. A request with another Host, or from a page of another Origin, than those allowed is refused.
"""

from __future__ import annotations

import http.server
import json
import logging
import os
import socket
import threading
import time
import urllib.parse
from pathlib import Path
from typing import Any

from export.client.errors import Code, ServingError
from export.server import json_body
from export.server.calls import Calls
from export.server.demo import Demo
from export.server.errors import details, failure, invalid
from export.server.options import Options
from export.server.rest_models import ROOT, RestModels
from export.server.waiting import Wait, Waiting

logger = logging.getLogger("tfar.serving")

METRICS_PATH = "/monitoring/prometheus/metrics"
HTTP_STATUS = {
    Code.INVALID_ARGUMENT: 400,
    Code.FAILED_PRECONDITION: 400,
    Code.OUT_OF_RANGE: 400,
    Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
}
# Bodies that are received at the same time hold no more than so many of the largest size.
_BODIES = 4
_CHUNK = 256 * 1024
# What is read, and forgotten, of a body that is refused, so that its client reads the answer instead of a reset:
# slowly, as others need the processor.
_MAX_LEFT, _FORGET_SECONDS = 128 * 2**20, 0.01
_WRITE_SECONDS = 30.0
_MAX_LINE = 65536
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\nRetry-After: 1\r\n\r\n"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".txt": "text/plain; charset=utf-8",
}


class RestServer(http.server.ThreadingHTTPServer):
    """Listens on the REST port.

    Args:
        address: host and port.
        calls: answers the requests.
        options: the limits.
        metrics_path: where Prometheus reads, or None.
        demo: the demonstration, or None.
    """

    daemon_threads = True
    # A second server on the port must fail, not share it.
    allow_reuse_address = True
    allow_reuse_port = False
    request_queue_size = 1024

    def __init__(
        self,
        address: tuple[str, int],
        calls: Calls,
        options: Options,
        metrics_path: str | None = None,
        demo: Demo | None = None,
    ):
        self.calls, self.options, self.metrics_path, self.demo = calls, options, metrics_path, demo
        self.call_ms = options.rest_api_timeout_in_ms
        self.models = RestModels(calls, self.call_ms)
        most = options.rest_api_max_connections
        self.hosts = options.allowed_hosts()
        self.stopped = False
        self.waiting = Waiting(
            options.rest_api_read_timeout_in_ms / 1000, most, _BODIES * options.rest_api_max_body_bytes
        )
        self._open, self._counting = 0, threading.Lock()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Gives a connection its thread; where there are too many, the one that is idle for longest has to go."""
        with self._counting:
            full = self._open >= self.options.rest_api_max_connections
        if full and not self.waiting.make_room():
            logger.debug("no connection more for %s", client_address)
            request.setblocking(False)
            try:
                request.send(_FULL)
            except OSError:
                pass
            self.shutdown_request(request)
            return
        with self._counting:
            self._open += 1
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serves a connection until it ends."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._counting:
                self._open -= 1

    def shutdown(self) -> None:
        """Ends the listening; a connection that is kept alive gets one last answer, UNAVAILABLE."""
        self.stopped = True
        self.waiting.stop()
        super().shutdown()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no event."""
        logger.debug("a connection of %s broke", client_address, exc_info=True)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: RestServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "tfar", ""
    timeout = _WRITE_SECONDS
    wbufsize = _CHUNK  # head and body of an answer in one packet

    # === Requests ===

    def handle_one_request(self) -> None:
        """Reads a request with its body, as long as it may take, and answers it."""
        self.body, self.unread = b"", 0
        refused: ServingError | None = None
        wait: Wait | None = None
        try:
            with self.server.waiting.hold(self._cut) as wait:
                try:
                    if not self._read_head():
                        return
                    self._read_body(wait)
                except ServingError as error:
                    refused = error
            self._answer(refused)
            self.wfile.flush()
            if self.close_connection and self.unread:
                self._forget()
        except (TimeoutError, ConnectionError):
            self.close_connection = True
        finally:
            if wait is not None:
                self.server.waiting.release(wait)

    def _read_head(self) -> bool:
        """Reads the first line and the headers; returns whether they make a request."""
        self.raw_requestline = self.rfile.readline(_MAX_LINE + 1)
        if len(self.raw_requestline) > _MAX_LINE:
            self.requestline = self.request_version = self.command = ""
            self.send_error(414)
            return False
        if self.raw_requestline and self.parse_request():
            if self.request_version != "HTTP/0.9":
                return True
            self.send_error(505)
        self.close_connection = True
        return False

    def _cut(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def handle_expect_100(self) -> bool:
        """Waits with "go on" until the length of the body is known to be right."""
        return True

    def _read_body(self, wait: Wait) -> None:
        """Reads the body of a request, or says why it is refused; what is refused is not read."""
        lengths = self.headers.get_all("Content-Length", [])
        if self.command != "POST" and not self.headers.get("Transfer-Encoding") and set(lengths) <= {"0"}:
            return
        # What follows cannot be told from the next request.
        keep, self.close_connection = self.close_connection, True
        most = self.server.options.rest_api_max_body_bytes
        text = lengths[0] if len(lengths) == 1 and "Transfer-Encoding" not in self.headers else ""
        shown = text if len(text) <= 20 else f"{text[:20]}... ({len(text)} characters)"
        number = text.isascii() and text.isdecimal()
        known = number and len(text) <= 18
        self.unread = min(int(text), _MAX_LEFT) if known else _MAX_LEFT
        if self.command != "POST":
            raise invalid(f"{self.command} takes no body, got Content-Length {shown!r}")
        if known and int(text) > most:
            raise invalid(f"the body has {text} bytes, the limit is {most} (--rest_api_max_body_bytes)")
        if not known:
            raise invalid(f"Content-Length must be a number up to {most} (--rest_api_max_body_bytes), got {shown!r}")
        self._check_sender()
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.send_response_only(100)
            self.end_headers()
            self.wfile.flush()
        parts, values = [], 1
        while self.unread:
            part = self.rfile.read1(min(self.unread, _CHUNK))
            if not part:
                raise ConnectionError("the client sent less than it said")
            if not self.server.waiting.received(wait, len(part)):
                message = "the bodies of other requests take all the memory there is for them; try again"
                raise ServingError(Code.RESOURCE_EXHAUSTED, message)
            parts.append(part)
            self.unread -= len(part)
            values += json_body.count(part)
            json_body.check_count(values, self.server.options.rest_api_max_body_elements)
        self.body, self.close_connection = b"".join(parts), keep

    def _forget(self) -> None:
        """Reads what is left of a refused body: closed at once, the connection would be reset before the answer."""
        self.connection.shutdown(socket.SHUT_WR)
        buffer = bytearray(_CHUNK)
        with self.server.waiting.hold(self._cut):
            while self.unread > 0:
                size = self.connection.recv_into(buffer)
                if not size:
                    return
                self.unread -= size
                time.sleep(_FORGET_SECONDS)

    def _check_sender(self) -> None:
        """Refuses other names of this server, and pages of others: a page's script may reach all that its user can.

        Raises:
            ServingError: PERMISSION_DENIED.
        """
        hosts = self.server.hosts
        if hosts is None:
            return
        for name in ("Host", "Origin"):
            for value in self.headers.get_all(name, []):
                if _host(value if name == "Origin" else f"//{value}") not in hosts:
                    raise ServingError(
                        Code.PERMISSION_DENIED,
                        f"{name} {value[:100]!r} is not allowed; allowed are {', '.join(sorted(hosts))} "
                        "(--rest_api_allowed_hosts)",
                    )

    # === Answers ===

    def do_GET(self) -> None:
        """Answers by `_answer`; that the method is there tells that GET is known."""

    def do_POST(self) -> None:
        """Answers by `_answer`; that the method is there tells that POST is known."""

    def _answer(self, refused: ServingError | None) -> None:
        path, _, query = self.path.partition("?")
        try:
            try:
                if not hasattr(self, f"do_{self.command}"):
                    self.close_connection = True
                    raise ServingError(Code.UNIMPLEMENTED, f"Unsupported method ({self.command[:20]!r})")
                if refused is not None:
                    raise refused
                self._check_sender()
                if self.server.stopped:
                    self.close_connection = True
                    raise ServingError(Code.UNAVAILABLE, "the server is stopping")
                method = self._get if self.command == "GET" else self._post
                kind, body = method(urllib.parse.unquote(path), dict(urllib.parse.parse_qsl(query)))
            except ServingError:
                raise
            except Exception as error:  # A bug: this call fails, the server goes on.
                raise failure(error) from error
        except ServingError as error:
            # The page wants the code beside the message; TensorFlow Serving's REST API has the message alone.
            told = {"code": error.code.name, "message": details(error)}
            value = {"error": told if path.startswith("/demo") else told["message"]}
            self._send(HTTP_STATUS.get(error.code, 500), "application/json", json.dumps(value).encode())
        else:
            self._send(200, kind, body)

    def _get(self, path: str, query: dict[str, str]) -> tuple[str, bytes]:
        if path == self.server.metrics_path:
            return "text/plain", self.server.calls.metrics.text().encode()
        if path.lower().startswith(ROOT):
            return "application/json", self.server.models.get(path).encode()
        demo = self.server.demo
        if demo is not None:
            if path == "/demo/model":
                return "application/json", _json(demo.describe(query.get("model")))
            if path in ("/", "/demo"):
                path = "/demo/"
            if path.startswith("/demo/"):
                return _file(demo.folder, path.removeprefix("/demo/") or "index.html")
        raise ServingError(Code.NOT_FOUND, f"Malformed request: GET {path}")

    def _post(self, path: str, query: dict[str, str]) -> tuple[str, bytes]:
        if path.lower().startswith(ROOT):
            return "application/json", self.server.models.post(path, self.body).encode()
        demo = self.server.demo
        if demo is None or not path.startswith("/demo/api/"):
            raise ServingError(Code.NOT_FOUND, f"Malformed request: POST {path}")
        if self.headers.get_content_type() != "application/json":
            raise invalid("the body must be of type application/json")
        with json_body.in_turn(self.body):
            value = json_body.parse(self.body)
            request = demo.request(path.removeprefix("/demo/api/"), value, query.get("model"))
            del value
        return "application/json", _json(demo.call(request, self.server.call_ms))

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuses what is no HTTP, as JSON like everything else."""
        self.close_connection, self.request_version = True, self.protocol_version
        reason = self.responses.get(http.HTTPStatus(code), ("Bad request",))[0]
        self._send(code, "application/json", json.dumps({"error": f"Malformed request: {reason}"}).encode())

    def log_message(self, format: str, *args: Any) -> None:
        logger.debug(format, *args)


def _host(url: str) -> str | None:
    """The name of the host in a URL, in small letters; None where there is none."""
    try:
        return urllib.parse.urlsplit(url).hostname
    except ValueError:
        return None


def _file(folder: Path, name: str) -> tuple[str, bytes]:
    """A file that lies in the folder itself; a name from outside is compared, never a part of a path."""
    with os.scandir(folder) as entries:
        found = next((entry.path for entry in entries if entry.name == name and entry.is_file()), None)
    if found is None:
        raise ServingError(Code.NOT_FOUND, f"there is no /demo/{name}")
    return _TYPES.get(os.path.splitext(name)[1], "application/octet-stream"), Path(found).read_bytes()


def _json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False).encode()
