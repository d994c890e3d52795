"""A quiet client, in a process of its own: calls again and again, and notes when each call began and how long it took.

    python -m benchmarks.attack_client HOST:PORT REST_PORT MODEL PAUSE

It ends when its standard input does, and prints {"grpc": [[began, seconds], ...], "rest": [...], "failed": [...]}.
Times are of the machine's monotonic clock, which all processes share.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from typing import Any

from export.client import Client, ServingError

_TIMEOUT = 30.0
BODY = json.dumps({"signature_name": "describe", "instances": [0]}).encode()


def over_rest(port: int, model: str) -> None:
    """One Predict over a connection of its own.

    Raises:
        OSError: there is no answer, or another one than 200.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT)
    try:
        connection.request("POST", f"/v1/models/{model}:predict", BODY)
        response = connection.getresponse()
        text = response.read()
        if response.status != 200 or b"event_shape" not in text:
            raise OSError(f"REST {response.status} {text[:200]!r}")
    finally:
        connection.close()


def main(target: str, rest_port: int, model: str, pause: float) -> dict[str, list[Any]]:
    """Calls until standard input ends.

    Args:
        target: "host:port" of gRPC.
        rest_port: of HTTP.
        model: its name.
        pause: seconds between two calls.
    """
    ended = threading.Event()

    def end() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=end, daemon=True).start()
    noted: dict[str, list[Any]] = {"grpc": [], "rest": [], "failed": []}
    with Client(target, model, timeout=_TIMEOUT, retries=0) as client:
        seed = 0
        calls = {"grpc": lambda: client.sample(1, seed=seed), "rest": lambda: over_rest(rest_port, model)}
        if any(name.startswith("condition") for name in client.signatures["sample"].inputs):
            calls["grpc"] = lambda: client.sample(1, condition=0, seed=seed)
        while not ended.wait(pause):
            seed += 1
            for kind, call in calls.items():
                began = time.monotonic()
                try:
                    call()
                    noted[kind].append([began, time.monotonic() - began])
                except (ServingError, OSError, http.client.HTTPException) as error:
                    noted["failed"].append([began, f"{kind}: {type(error).__name__} {error}"])
    return noted


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4]))))
