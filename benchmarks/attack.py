"""Attacks a local server while a quiet client calls it, and measures what the quiet client notices.

    python -m benchmarks.attack [--requests=10000] [--seconds=15] [--workdir=DIR] [--folder=DIR] [--json=FILE] [--tiny]

The server is `python -m pipelines.serve` with its default limits, in a process of its own; so is the quiet client,
which draws one image over gRPC and asks for the model's description over REST, on a new connection each time. Its 95th
percentiles are taken before and during each attack:

    json     57 MB of JSON with 28 million numbers; 14 MB, below the limit of bytes, with 7 million; 250,000 numbers
    idle     200 connections over HTTP and 200 over TCP to gRPC on which nothing is ever sent
    slow     100 clients over HTTP that send a byte a second of a head or a body, 100 calls of gRPC without a message
    fuzz     10,000 requests that are wrong in some way, half over HTTP and half over gRPC
    examples 8,000,000 examples in 56 bytes over gRPC, again and again
    cancel   two calls of 64 examples without a deadline every second, cancelled at once

The exit code is 1 where the server's memory went beyond 1.5 GB, a percentile beyond 3 times its quiet value, a call of
the quiet client failed, or an answer was not clean: a 500, words of an exception, a path.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from absl import flags, logging

from benchmarks import results
from benchmarks.attack_calls import ask_for_millions, cancel_calls
from benchmarks.attack_requests import Requests, send_call, send_http
from benchmarks.serving_server import LocalServer
from export.client.messages import PREDICT
from pipelines import command

Figures = dict[str, Any]
MEMORY_BOUND, LATENCY_BOUND = 1.5e9, 3.0  # bytes, times
_BEAT, _PAUSE = 0.05, 0.005  # seconds


@dataclasses.dataclass
class Scene:
    """What is attacked, and how hard.

    Attributes:
        target: "host:port" of gRPC.
        rest_port: of HTTP.
        model: name of a model with labels.
        pid: of the server's process.
        requests: of `fuzz`.
        seconds: that each of the other attacks lasts, and the quiet time before.
        connections: of `idle`, and of `slow` half as many; of each protocol.
        body: bytes of the largest body of `json`.
        pause: seconds between two calls of the quiet client.
    """

    target: str
    rest_port: int
    model: str
    pid: int
    requests: int = 10_000
    seconds: float = 15.0
    connections: int = 200
    body: int = 57_000_000
    pause: float = 0.03


# The attacks: each runs against a scene and returns what was wrong with the answers.


def send_json(scene: Scene) -> list[str]:
    """Bodies that are too large, have too many values, or just do not."""
    head, tail = b'{"signature_name": "sample", "inputs": {"condition": [', b"0]}}"
    sizes = (scene.body, scene.body // 4, 500_000)
    wrong = []
    end = time.monotonic() + scene.seconds
    while True:
        for size in sizes:
            wrong += _post(scene.rest_port, scene.model, head + b"1," * (size // 2 - 100) + tail)
        if time.monotonic() > end:
            return wrong


def _post(port: int, model: str, body: bytes) -> list[str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", f"/v1/models/{model}:predict", body)
        response = connection.getresponse()
        text = response.read().decode()
        return [] if response.status == 400 and '"error"' in text else [f"json: {response.status} {text[:300]}"]
    except (OSError, http.client.HTTPException) as error:
        return [f"json: {type(error).__name__} {error}"]
    finally:
        connection.close()


def hold_connections(scene: Scene) -> list[str]:
    """Connections on which nothing is sent."""
    ports = [scene.rest_port, int(scene.target.rpartition(":")[2])]
    with contextlib.ExitStack() as stack:
        for port in ports * scene.connections:
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
        time.sleep(scene.seconds)
    return []


def send_slowly(scene: Scene) -> list[str]:
    """Heads and bodies byte by byte, and calls whose message does not come."""
    done = threading.Event()

    def nothing() -> Iterator[bytes]:
        done.wait()
        yield from ()

    body = f"POST /v1/models/{scene.model}:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000\r\n\r\n"
    heads = [body.encode(), b"GET / HTTP/1.1\r\nHost: localhost\r\nA: "]
    number = scene.connections // 2
    with contextlib.ExitStack() as stack:
        raws = []
        for index in range(number):
            raws.append(stack.enter_context(socket.create_connection(("127.0.0.1", scene.rest_port), timeout=10)))
            raws[-1].sendall(heads[index % 2])
        channel = stack.enter_context(grpc.insecure_channel(scene.target))
        calls = [channel.stream_unary(PREDICT).future(nothing(), timeout=600) for _ in range(number)]
        end = time.monotonic() + scene.seconds
        while time.monotonic() < end:
            time.sleep(min(1.0, scene.seconds / 3))
            for raw in raws:
                with contextlib.suppress(OSError):  # The server has ended it.
                    raw.sendall(b" ")
        for call in calls:
            call.cancel()
        done.set()
    return []


def send_nonsense(scene: Scene) -> list[str]:
    """Requests of all kinds, one after the other over either protocol."""
    number = scene.requests // 2

    def over_http() -> list[str]:
        requests = Requests(1, scene.model)
        return [found for _ in _paced(number) if (found := send_http(scene.rest_port, requests.http()))]

    def over_grpc() -> list[str]:
        requests = Requests(2, scene.model)
        with grpc.insecure_channel(scene.target) as channel:
            return [found for _ in _paced(number) if (found := send_call(channel, *requests.call()))]

    with futures.ThreadPoolExecutor(2) as pool:
        parts = [pool.submit(over_http), pool.submit(over_grpc)]
        return [f"fuzz: {found}" for part in parts for found in part.result()]


def _paced(number: int) -> Iterator[int]:
    """Counts with pauses: two senders without any would take both processors of a small machine from the server."""
    for index in range(number):
        time.sleep(_PAUSE)
        yield index


ATTACKS: dict[str, Callable[[Scene], list[str]]] = {
    "json": send_json,
    "idle": hold_connections,
    "slow": send_slowly,
    "fuzz": send_nonsense,
    "examples": lambda scene: ask_for_millions(scene.target, scene.model, scene.seconds),
    "cancel": lambda scene: cancel_calls(scene.target, scene.model, scene.seconds),
}


# The measurement.


class Memory:
    """Notes the resident memory of a process in a `with` statement.

    Args:
        pid: of the process.

    Attributes:
        beats: (time, bytes).
    """

    def __init__(self, pid: int):
        self._path = Path(f"/proc/{pid}/status")
        self.beats: list[tuple[float, int]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _beat(self) -> None:
        with contextlib.suppress(OSError):  # The process has ended.
            while not self._stop.wait(_BEAT):
                self.beats.append((time.monotonic(), self._read("VmRSS")))

    def _read(self, name: str) -> int:
        lines = self._path.read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def run(
    scene: Scene, attacks: dict[str, Callable[[Scene], list[str]]] | None = None, memory_bound: float = MEMORY_BOUND
) -> Figures:
    """Attacks a server.

    Args:
        scene: the server.
        attacks: by their names; all of them by default.
        memory_bound: bytes.

    Returns:
        "quiet" and "attacks", each with percentiles in seconds and memory in bytes, and "failures" in words.
    """
    quiet = [sys.executable, "-m", "benchmarks.attack_client", scene.target, str(scene.rest_port), scene.model]
    quiet.append(str(scene.pause))
    phases: list[tuple[str, float, float]] = []
    failures: list[str] = []
    with subprocess.Popen(quiet, cwd=results.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        with Memory(scene.pid) as memory:
            time.sleep(2.0)  # its start, and its first calls
            began = time.monotonic()
            time.sleep(scene.seconds)
            phases.append(("quiet", began, time.monotonic()))
            for name, attack in (ATTACKS if attacks is None else attacks).items():
                print(f"attack: {name}", file=sys.stderr, flush=True)
                began = time.monotonic()
                failures += attack(scene)
                phases.append((name, began, time.monotonic()))
                time.sleep(0.5)
        noted = json.loads(client.communicate()[0])
    figures = {name: _phase(noted, memory.beats, *times) for name, *times in phases}
    before = figures.pop("quiet")
    for name, phase in figures.items():
        for kind in ("grpc", "rest"):
            phase[f"{kind}_times"] = phase[f"{kind}_p95_s"] / before[f"{kind}_p95_s"]
            if not phase[f"{kind}_times"] <= LATENCY_BOUND:
                failures.append(
                    f"{name}: the 95th percentile over {kind} is {phase[f'{kind}_times']:.1f} times the quiet one"
                )
        if phase["memory"] > memory_bound:
            failures.append(f"{name}: the server took {phase['memory'] / 1e9:.2f} GB")
    failures += [f"a quiet call failed: {text}" for _, text in noted["failed"]]
    return {"quiet": before, "attacks": figures, "failures": failures}


def _phase(noted: dict[str, list[Any]], beats: list[tuple[float, int]], began: float, ended: float) -> Figures:
    """Figures of the calls that began in a span of time, or lasted into it."""
    phase: Figures = {"seconds": ended - began}
    for kind in ("grpc", "rest"):
        times = [seconds for start, seconds in noted[kind] if start + seconds >= began and start <= ended]
        phase[f"{kind}_calls"] = len(times)
        phase[f"{kind}_p95_s"] = float(np.percentile(times, 95)) if times else float("inf")
    phase["memory"] = max((size for beat, size in beats if began <= beat <= ended), default=0)
    return phase


# The command.


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_integer("requests", 10_000, "Of the attack `fuzz`.", lower_bound=2)
    flags.DEFINE_float("seconds", 15.0, "That each of the other attacks lasts.", lower_bound=0.5)
    flags.DEFINE_multi_enum("only", None, sorted(ATTACKS), "Attacks to run; may be given several times.")
    flags.DEFINE_string("workdir", None, "Work directory of a trained model that is served instead of the small one.")
    flags.DEFINE_string("folder", None, "Where the export is kept; one that is there is not written again.")
    flags.DEFINE_bool("tiny", False, "A model and attacks at a size that says nothing, for tests.")
    flags.DEFINE_string("json", None, "File to write the numbers to.")


def main() -> int:
    """Runs the command; returns the exit code."""
    values = flags.FLAGS
    command.import_quietly()
    if logging.get_verbosity() <= logging.INFO:
        logging.set_verbosity(logging.WARNING)
    attacks = {name: attack for name, attack in ATTACKS.items() if name in (values.only or ATTACKS)}
    with contextlib.ExitStack() as stack:
        folder = Path(values.folder or stack.enter_context(tempfile.TemporaryDirectory()))
        versions = _export(folder, values.workdir, values.tiny)
        server = stack.enter_context(LocalServer({"pictures": versions}, folder / "attack.log", rest=True))
        server.wait()
        scene = Scene(server.target, server.rest_port, "pictures", server.process.pid, values.requests, values.seconds)
        figures = run(dataclasses.replace(scene, body=2_000_000) if values.tiny else scene, attacks)
        figures["failures"] += [f"the log of the server: {line}" for line in server.faults()]
    print(table(figures))
    results.write(values.json, figures_of(figures), figures, quick=values.tiny)
    for text in figures["failures"][:20]:
        print(f"FAILED {text}", file=sys.stderr)
    return 1 if figures["failures"] else 0


def _export(folder: Path, workdir: str | None, tiny: bool) -> Path:
    from benchmarks.serving_models import pictures_of
    from export.writer import saved_model

    versions = folder / "exports" / "pictures"
    if not (versions / "1").exists():
        print("exporting", file=sys.stderr, flush=True)
        saved_model.export(pictures_of(folder, workdir, tiny), versions, None, "pictures")
    return versions


def table(figures: Figures) -> str:
    """Returns the figures for people."""
    lines = [f"{'':>8}{'seconds':>9}{'gRPC p95':>12}{'times':>7}{'REST p95':>12}{'times':>7}{'calls':>7}{'memory':>10}"]
    for name, item in [("quiet", figures["quiet"]), *figures["attacks"].items()]:
        times = [f"{item[f'{kind}_times']:.2f}" if f"{kind}_times" in item else "" for kind in ("grpc", "rest")]
        lines.append(
            f"{name:>8}{item['seconds']:>9.1f}{1e3 * item['grpc_p95_s']:>9.1f} ms{times[0]:>7}"
            f"{1e3 * item['rest_p95_s']:>9.1f} ms{times[1]:>7}{item['grpc_calls'] + item['rest_calls']:>7}"
            f"{item['memory'] / 1e6:>7.0f} MB"
        )
    lines.append("no failures" if not figures["failures"] else f"{len(figures['failures'])} failures")
    return "\n".join(lines)


_WHATS = {
    "json": "57, 14 and 0.5 MB of JSON with up to 28 million numbers, sent again and again",
    "idle": "200 idle connections over HTTP and 200 to gRPC",
    "slow": "100 clients that send a byte a second over HTTP, 100 calls of gRPC without a message",
    "fuzz": "10,000 requests that are wrong in some way",
    "examples": "8,000,000 examples in 56 bytes, again and again",
    "cancel": "two calls of 64 examples every second, cancelled at once",
}


def figures_of(figures: Figures) -> dict[str, results.Figure]:
    """Returns the figures for docs/results.json."""
    found = {}
    quiet = figures["quiet"]
    for name, item in figures["attacks"].items():
        cell = (
            f"{item['memory'] / 1e6:.0f} MB; over gRPC {1e3 * item['grpc_p95_s']:.0f} ms = {item['grpc_times']:.1f} "
            f"times the quiet {1e3 * quiet['grpc_p95_s']:.0f} ms, over REST {1e3 * item['rest_p95_s']:.0f} ms = "
            f"{item['rest_times']:.1f} times {1e3 * quiet['rest_p95_s']:.0f} ms"
        )
        what = f"attack on a server: {_WHATS.get(name, name)}; its memory, 95th percentile of another client's calls"
        found[f"serving/attack_{name}"] = results.figure(what, cell, item, "1.5 GB, 3 times")
    return found


if __name__ == "__main__":
    command.run(main, define_flags)
