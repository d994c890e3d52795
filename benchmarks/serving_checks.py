"""The measurements of `benchmarks.serving`: each returns figures and a list of failures."""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.serving_load import PATIENT, request
from benchmarks.serving_reference import Log, Reference, same_events
from benchmarks.serving_server import LocalServer, at_once
from benchmarks.serving_versions import LONG, Figures
from export.client import Client, ServingError

# Threads that versions make when they first need them: one that keeps sessions apart, two for every signature whose
# calls are drawn together.
_POOLS = 24


def overhead(server: LocalServer, reference: Reference, version: Path, rows: tuple[int, ...], repeats: int) -> Figures:
    """Seconds of `sample` over gRPC and of the same call in a v1 session of this process, in turn."""
    from export.writer.servable import Servable

    figures: Figures = {}
    failures: list[str] = []
    with Servable(version) as servable, Client(server.target, reference.name, timeout=LONG, retries=0) as client:
        for num in rows:
            inputs = reference.inputs(np.arange(num) % len(reference.seed))
            inputs = {**inputs, "temperature": np.ones([num], np.float32)}
            inputs |= {"prefix": np.zeros([num, 0], reference.samples.dtype)}
            within, served = [], []
            for round_ in range(repeats + 1):  # the first one warms up
                started = time.perf_counter()
                expected = servable.run("sample", **inputs)["samples"]
                between = time.perf_counter()
                found = client.predict("sample", inputs)["samples"]
                ended = time.perf_counter()
                if round_:
                    within.append(between - started)
                    served.append(ended - between)
            here, there = statistics.median(within), statistics.median(served)
            figures[str(num)] = {"in_process_s": here, "grpc_s": there, "ratio": there / here}
            if not np.array_equal(found, expected):
                failures.append(f"{num} rows over gRPC differ from those in process")
    return {"rows": figures, "failures": failures}


def batch(server: LocalServer, references: Sequence[Reference], num: int, repeats: int) -> Figures:
    """Times the exports one after the other."""
    exports: Figures = {}
    failures: list[str] = []
    for reference in references:
        found, wrong = _batch(server, reference, num, repeats)
        failures += wrong
        if not wrong:
            exports[reference.name] = found
    return {"exports": exports, "failures": failures}


def _batch(server: LocalServer, reference: Reference, num: int, repeats: int) -> tuple[Figures, list[str]]:
    """Seconds of `num` calls of one row at once, of as many sessions, and of one call of `num` rows, in turn.

    Beside them "bare" calls, which draw nothing: what clients and server need for themselves.
    """
    rows = np.arange(num) % len(reference.seed)
    single = [request(reference.name, "sample", reference.inputs(rows[i : i + 1])) for i in range(num)]
    whole = [request(reference.name, "sample", reference.inputs(rows))]
    bare = [request(reference.name, "describe", {"rows": np.zeros([1], np.int32)})] * num
    seconds: dict[str, list[float]] = {"apart": [], "bare": [], "together": [], "sessions": []}
    failures: list[str] = []
    for round_ in range(repeats + 1):
        first, events = at_once(server.target, single, LONG)
        second, event = at_once(server.target, whole, LONG)
        third, wrong = _sessions(server, reference, rows)
        empty, told = at_once(server.target, bare, LONG)
        failures += [item for item in [*events, *event, *told] if isinstance(item, str)] + wrong
        if failures:
            return {}, failures[:3]
        if round_:
            for kind, value in zip(seconds, (first, empty, second, third), strict=True):
                seconds[kind].append(value)
    found = {f"{kind}_s": statistics.median(values) for kind, values in seconds.items()}
    ratios = {"ratio": found["apart_s"] / found["together_s"]}
    ratios["sessions_ratio"] = found["sessions_s"] / found["together_s"]
    return {"rows": num, **found, **ratios}, []


def _sessions(server: LocalServer, reference: Reference, rows: np.ndarray) -> tuple[float, list[str]]:
    """Seconds in which as many sessions draw their events, a unit at a time, and what went wrong."""
    failures: list[str] = []

    def run(row: int, session: np.ndarray) -> None:
        try:
            chunks = [
                client.predict("session_step", {"session_id": session})["chunk"][0] for _ in range(reference.units)
            ]
            if not same_events(np.concatenate(chunks), reference.samples[row]):
                failures.append(f"a session of {reference.name} is not Python's event {row}")
        except ServingError as error:
            failures.append(f"{error.code.name} {error.message[:200]}")

    with Client(server.target, reference.name, timeout=LONG, retries=0) as client:
        ids = client.predict("session_begin", reference.inputs(rows))["session_id"]
        threads = [
            threading.Thread(target=run, args=(int(row), ids[index : index + 1])) for index, row in enumerate(rows)
        ]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - started
        client.predict("session_end", {"session_id": ids})
    return seconds, failures


def exhaustion(server: LocalServer, reference: Reference, calls: int) -> Figures:
    """Sends more calls than threads: some are refused at once; clients that try again all get their events."""
    rows = np.arange(calls) % len(reference.seed)
    data = [request(reference.name, "sample", reference.inputs(rows[i : i + 1])) for i in range(calls)]
    _, results = at_once(server.target, data, LONG)
    refused = [item for item in results if isinstance(item, str)]
    failures = [text for text in refused if not text.startswith("RESOURCE_EXHAUSTED")]
    if not refused:
        failures.append(f"none of {calls} calls was refused")

    def persist(index: int) -> None:
        try:
            # Twelve tries make about half a minute.
            with Client(server.target, reference.name, timeout=LONG, retries=12) as client:
                samples = client.predict("sample", reference.inputs(rows[index : index + 1]))["samples"]
            if not same_events(samples[0], reference.samples[rows[index]]):
                different.append(index)
        except ServingError as error:
            failures.append(f"after its retries a client got {error.code.name} {error.message}")

    different: list[int] = []
    started = time.perf_counter()
    threads = [threading.Thread(target=persist, args=(index,)) for index in range(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {
        "calls": calls,
        "refused": len(refused),
        "with_retries_s": time.perf_counter() - started,
        "different": different,
        "failures": failures,
    }


def load(server: LocalServer, folder: Path, ttl: float, seconds: float, clients: int, seed: int = 0) -> Log:
    """Clients in several processes, one of which is killed and started again all the time.

    Args:
        server: to call.
        folder: of the references; what the clients report goes there, too.
        ttl: of sessions, seconds.
        seconds: to call for.
        clients: how many.
        seed: of their decisions.

    Returns:
        What those that lived have seen.
    """
    doomed = max(1, clients // 8)
    processes = min(4, clients)
    rest = max(processes, clients - doomed)
    shares = [rest // processes + (index < rest % processes) for index in range(processes)]

    def start(index: int, share: int) -> tuple[subprocess.Popen, Path]:
        out = folder / f"clients-{index}.json"
        out.unlink(missing_ok=True)
        arguments = [server.target, folder, ttl, seconds, share, seed + index, out]
        command = [sys.executable, "-m", "benchmarks.serving_load", *map(str, arguments)]
        return subprocess.Popen(command), out

    log, chance = Log(), random.Random(seed)
    running = [start(index, share) for index, share in enumerate(shares)]
    end, index = time.monotonic() + seconds, processes
    while time.monotonic() < end:
        victim, _ = start(index, doomed)
        time.sleep(max(0.0, min(end - time.monotonic(), chance.uniform(2.0, 6.0))))
        victim.kill()
        victim.wait()
        log.count("clients killed", "ok", None)
        index += 1
    for process, out in running:
        try:
            process.wait(seconds + 4 * PATIENT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if out.exists():
            log.merge(out)
        else:
            log.fail("clients ended without a report")
    return log


def judge(log: Log, models: Mapping[str, Any], references: Mapping[str, Reference]) -> Figures:
    """Compares the clients' events with Python's: finds ties of rounding, wrong streams, seeds used twice."""
    from export.writer.errors import ExportError
    from export.writer.ties import count_ties
    from tfar.core import noise as noises

    ties, failures = 0, list(log.failures)
    for name, row, event in log.wrong:
        model, reference = models[name], references[name]
        rows = slice(row, row + 1)
        expected, served = reference.samples[rows], event[None].astype(reference.samples.dtype)
        positions = model.event.count_positions(expected.shape[1:])
        noise = noises.uniform(reference.seed[rows], positions, model.head.noise_size).numpy()
        condition = reference.given["condition"][rows] if reference.given else None
        try:
            ties += count_ties(model, expected, served, noise, np.ones([1], np.float32), condition)
        except ExportError as error:
            failures.append(f"a stream of {name} is not Python's: {error}")
    redrawn = 0
    for name, reference in references.items():
        kept = [(seed, event) for model, seed, event in log.fresh if model == name and event is not None]
        if not kept:
            continue
        seeds, events = (np.array(part) for part in zip(*kept, strict=True))
        given = {key: np.repeat(value[:1], len(kept), 0) for key, value in reference.given.items()}
        drawn = draw(models[name], reference, seeds.astype(np.int64), given)
        different = [index for index in range(len(kept)) if not same_events(drawn[index], events[index])]
        redrawn += len(kept)
        if len(different) > 1:  # One might be a tie.
            failures.append(f"{len(different)} unseeded events of {name} are not what Python draws from their seeds")
    pairs = [tuple(seed) for _, seed, _ in log.fresh]
    if len(set(pairs)) != len(pairs):
        failures.append(f"{len(pairs) - len(set(pairs))} of {len(pairs)} unseeded events had a seed that another had")
    return {"ties": ties, "unseeded": len(pairs), "unseeded_drawn_again": redrawn, "failures": failures}


def draw(model: Any, reference: Reference, seed: np.ndarray, given: Mapping[str, np.ndarray]) -> np.ndarray:
    """Draws events in Python, in the plain graph."""
    condition = given.get("condition")
    return model.sample(len(seed), condition, seed, jit_compile=False, length=reference.length).numpy()


def aftermath(
    server: LocalServer, references: Mapping[str, Reference], ttl: float, threads: int, before: Mapping[str, float]
) -> Figures:
    """Checks after the load that no slot is lost and no thread is stuck."""
    failures: list[str] = []
    figures: Figures = {"before": dict(before), "failures": failures}
    time.sleep(ttl + 1.0)
    for name, reference in references.items():
        with Client(server.target, name, timeout=LONG, retries=0) as client:
            stats = figures[name] = client.session_stats()
            if stats["active"]:
                failures.append(f"{stats['active']} sessions of {name} live on {ttl + 1:g} s after the last step")
            slots = int(stats["slots"])
            rows = np.arange(slots) % len(reference.seed)
            begin = {key: value for key, value in reference.inputs(rows).items() if key != "length"}
            try:
                begun = client.predict("session_begin", begin)["session_id"]
                ended = client.predict("session_end", {"session_id": begun})["ended"]
                if len(set(begun.tolist())) != slots or not ended.all():
                    failures.append(f"of {slots} slots of {name} {len(set(begun.tolist()))} could be used")
            except ServingError as error:
                failures.append(f"{slots} sessions of {name} cannot be opened at once: {error.message[:200]}")
    # If a thread hung, one of these would be refused: there are just as many.
    failures += fill(server, references, threads)
    figures["after"] = server.resources()
    if figures["after"]["threads"] > before["threads"] + _POOLS:
        failures.append(f"the server had {before['threads']} threads and has {figures['after']['threads']}")
    return figures


def fill(server: LocalServer, references: Mapping[str, Reference], threads: int) -> list[str]:
    """Sends as many calls at once as the server takes; returns the failures among them."""
    reference = next(iter(references.values()))
    rows = np.arange(threads) % len(reference.seed)
    data = [request(reference.name, "sample", reference.inputs(rows[i : i + 1])) for i in range(threads)]
    _, results = at_once(server.target, data, LONG)
    wrong = [item for item in results if isinstance(item, str)]
    return [f"{len(wrong)} of {threads} calls at once failed: {wrong[0][:200]}"] if wrong else []


def replicas(first: LocalServer, second: LocalServer, references: Mapping[str, Reference]) -> Figures:
    """Checks two servers of one export: equal samples, a state continues on the other server, a session does not."""
    failures: list[str] = []
    compared = 0
    for name, reference in references.items():
        rows = np.arange(min(8, len(reference.seed)))
        with Client(first.target, name, timeout=LONG) as one, Client(second.target, name, timeout=LONG) as other:
            expected, found = (client.predict("sample", reference.inputs(rows))["samples"] for client in (one, other))
            compared += len(rows)
            if not np.array_equal(expected, found):
                failures.append(f"the replicas draw different events of {name} from the same seeds")
            draws = {key: value for key, value in reference.inputs(rows).items() if key != "length"}
            half = np.full([len(rows)], reference.units // 2, np.int32)
            if reference.explicit:
                taken, parts = one.predict("start", draws), []
                for client in (one, other):
                    taken = client.predict("step", {"state": taken["state"], "n": half})
                    parts.append(taken["chunk"])
                stepped = np.concatenate(parts, 1)
                if not np.array_equal(stepped, expected[:, : stepped.shape[1]]):
                    failures.append(f"a state of {name} does not continue on the other replica")
            session = one.predict("session_begin", draws)["session_id"]
            try:
                other.predict("session_step", {"session_id": session})
                failures.append(f"a replica steps a session of {name} that it does not have")
            except ServingError as error:
                if error.code.name != "INVALID_ARGUMENT" or "session_id is unknown or expired" not in error.message:
                    failures.append(f"a foreign session of {name}: {error.code.name} {error.message[:200]}")
            chunk = one.predict("session_step", {"session_id": session, "n": half})["chunk"]
            if not np.array_equal(chunk, expected[:, : chunk.shape[1]]):
                failures.append(f"a session of {name} differs after the other replica was asked for it")
            one.predict("session_end", {"session_id": session})
    return {"compared": compared, "failures": failures}
