"""The REST port: model status, metrics, and the demonstration page. Predictions go over gRPC."""

from __future__ import annotations

import http.server
import json
import logging
import re
import urllib.parse
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from tensorflow_serving.apis import get_model_status_pb2

from export.client.errors import Code, ServingError
from export.server.calls import Calls
from export.server.demo import Demo
from export.server.errors import details, invalid

logger = logging.getLogger("tfar.serving")

METRICS_PATH = "/monitoring/prometheus/metrics"
HTTP_STATUS = {
    Code.INVALID_ARGUMENT: 400,
    Code.FAILED_PRECONDITION: 400,
    Code.OUT_OF_RANGE: 400,
    Code.NOT_FOUND: 404,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
}
_MAX_BODY = 64 * 2**20
_MODEL = re.compile(r"/v1/models/([^/:]+)(?:/versions/([0-9]+)|/labels/([^/:]+))?/?")
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
        metrics_path: where Prometheus reads, or None.
        demo: the demonstration, or None.
        timeout: seconds that a call of the demonstration may take.
    """

    daemon_threads = True
    # A second server on the port must fail, not share it.
    allow_reuse_address = True
    allow_reuse_port = False

    def __init__(
        self,
        address: tuple[str, int],
        calls: Calls,
        metrics_path: str | None = None,
        demo: Demo | None = None,
        timeout: float = 30.0,
    ):
        self.calls, self.metrics_path, self.demo, self.call_timeout = calls, metrics_path, demo, timeout
        self.stopped = False
        super().__init__(address, _Handler)

    def shutdown(self) -> None:
        """Ends the listening; a connection that is kept alive gets one last answer, UNAVAILABLE."""
        self.stopped = True
        super().shutdown()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no event."""
        logger.debug("a connection of %s broke", client_address, exc_info=True)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: RestServer
    protocol_version = "HTTP/1.1"
    server_version = "tfar"
    timeout = 60  # seconds without a byte

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def _answer(self, method: Any) -> None:
        path = urllib.parse.urlsplit(self.path)
        try:
            try:
                if self.server.stopped:
                    self.close_connection = True
                    raise ServingError(Code.UNAVAILABLE, "the server is stopping")
                kind, body = method(urllib.parse.unquote(path.path), dict(urllib.parse.parse_qsl(path.query)))
            except ServingError:
                raise
            except Exception as error:  # A bug: this call fails, the server goes on.
                logger.exception("a call failed")
                raise ServingError(Code.INTERNAL, f"{type(error).__name__}: {error}") from error
        except ServingError as error:
            # The page wants the code beside the message; TensorFlow Serving's REST API has the message alone.
            told = {"code": error.code.name, "message": details(error)}
            value = {"error": told if path.path.startswith("/demo") else told["message"]}
            self._send(HTTP_STATUS.get(error.code, 500), "application/json", json.dumps(value).encode())
        else:
            self._send(200, kind, body)

    def _get(self, path: str, query: dict[str, str]) -> tuple[str, bytes]:
        if path == self.server.metrics_path:
            return "text/plain", self.server.calls.metrics.text().encode()
        match = _MODEL.fullmatch(path)
        if match:
            return "application/json", self._status(*match.groups()).encode()
        demo = self.server.demo
        if demo is not None:
            if path == "/demo/model":
                return "application/json", _json(demo.describe(query.get("model")))
            if path in ("/", "/demo"):
                path = "/demo/"
            if path.startswith("/demo/"):
                return self._file(demo.folder, path.removeprefix("/demo/") or "index.html")
        raise ServingError(Code.NOT_FOUND, f"Malformed request: GET {path}")

    def _post(self, path: str, query: dict[str, str]) -> tuple[str, bytes]:
        body = self._body()
        demo = self.server.demo
        if demo is None or not path.startswith("/demo/api/"):
            raise ServingError(Code.NOT_FOUND, f"Malformed request: POST {path}")
        # A page of another origin may send JSON only after a preflight request, which this server does not answer.
        if self.headers.get_content_type() != "application/json":
            raise invalid("the body must be of type application/json")
        try:
            value = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise invalid(f"the body must be JSON: {error}") from error
        milliseconds = int(self.server.call_timeout * 1000)
        return "application/json", _json(
            demo.call(path.removeprefix("/demo/api/"), value, query.get("model"), milliseconds)
        )

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > _MAX_BODY:
            self.close_connection = True  # What follows cannot be told from the next request.
            raise invalid(f"Content-Length must be a number up to {_MAX_BODY}, got {length!r}")
        return self.rfile.read(int(length))

    def _status(self, name: str, number: str | None, label: str | None) -> str:
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = name
        if label is not None:
            labels = self.server.calls.manager.labels(name)
            if label not in labels:
                raise invalid(f"Unrecognized servable version label: {label}")
            number = str(labels[label])
        if number is not None:
            if int(number) >= 2**63:
                raise invalid(f"Failed to convert version: {number} to numeric.")
            request.model_spec.version.value = int(number)
        response = self.server.calls.get_model_status(request)
        text = json_format.MessageToJson(
            response, preserving_proto_field_name=True, always_print_fields_with_no_presence=True, indent=1
        )
        return text + "\n"

    def _file(self, folder: Path, name: str) -> tuple[str, bytes]:
        path = (folder / name).resolve()
        if folder.resolve() not in path.parents or not path.is_file():
            raise ServingError(Code.NOT_FOUND, f"there is no /demo/{name}")
        return _TYPES.get(path.suffix, "application/octet-stream"), path.read_bytes()

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

    def log_message(self, format: str, *args: Any) -> None:
        logger.debug(format, *args)


def _json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False).encode()
