"""Measures and tries exported models on the local server: overhead, load, replicas, versions.

    python -m benchmarks.serving [--seconds=60] [--clients=64] [--workdir=DIR] [--folder=DIR] [--json=FILE] [--tiny]

The model is that of a work directory, or a GatedPixelCNN of 8 x 8 with random weights and labels; a char-rnn stands for
text. The server runs in a process of its own (`python -m pipelines.serve`).

    overhead   `sample` over gRPC / the same call in a v1 session of this process, plain graphs; the aim is 1.2
    batch      as many calls of one row at once as there are clients / one call of as many rows; the aim is 2. Beside it
               an export with `Options(batch_calls=True)`, which draws calls that are under way together. Bare
               calls draw nothing: what the clients and the local server, both Python, need for themselves. Sessions:
               as many at once, each drawn unit by unit
    threads    a server with the default number of threads refuses calls; clients that try again all get through
    load       clients in several processes draw events, step sessions and states, with deadlines that are often too
               short; some close their channels in the middle of a call, some are killed. What comes must be what Python
               draws from the same seeds; no unseeded event may come twice; afterwards no slot and no thread is lost
    replicas   two servers of one export draw the same, continue each other's states, refuse each other's sessions
    versions   a new version loads before the old one goes, and labels move, while clients call: no call fails

Latencies are of calls whose deadline was far away. Any failure makes the exit code 1.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from absl import flags, logging

from benchmarks import results, serving_figures
from benchmarks import serving_checks as checks
from benchmarks.serving_models import TTL, Scene
from benchmarks.serving_reference import Log, Reference
from benchmarks.serving_server import LocalServer
from benchmarks.serving_versions import versions
from export.client import ServingError
from pipelines import command

Figures = dict[str, Any]
SECTIONS = ("overhead", "batch", "threads", "load", "replicas", "versions")
_PERCENTILES = (50, 95, 99)
_STANDSTILL = 3.0  # seconds


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_float("seconds", 60.0, "Of the load.", lower_bound=0.5)
    flags.DEFINE_integer("clients", 64, "At once.", lower_bound=2)
    flags.DEFINE_string("workdir", None, "Work directory of a trained model that is served instead of the small one.")
    flags.DEFINE_string("folder", None, "Where the exports are kept; those that are there are not written again.")
    flags.DEFINE_integer("references", 128, "Events that Python draws for the comparison.", lower_bound=8)
    flags.DEFINE_integer("repeats", 7, "Rounds of which the medians are taken.", lower_bound=1)
    flags.DEFINE_bool("batch_calls", True, "Serve the export with Options(batch_calls=True) as well.")
    flags.DEFINE_multi_enum("only", None, SECTIONS, "Sections to run; may be given several times.")
    flags.DEFINE_bool("tiny", False, "Models at a size that says nothing about speed, for tests.")
    flags.DEFINE_string("json", None, "File to write the numbers to.")


def main() -> int:
    """Runs the command; returns the exit code."""
    values = flags.FLAGS
    command.import_quietly()
    if logging.get_verbosity() <= logging.INFO:
        logging.set_verbosity(logging.WARNING)  # TensorFlow tells of every file that it writes.
    with contextlib.ExitStack() as stack:
        folder = Path(values.folder or stack.enter_context(tempfile.TemporaryDirectory()))
        sizes = values.clients, values.references
        scene = Scene.build(folder, values.workdir, *sizes, values.tiny, values.batch_calls)
        figures = run(scene, values.clients, values.seconds, values.repeats, values.only or SECTIONS)
    print(table(figures))
    results.write(values.json, serving_figures.figures(figures), figures, quick=values.tiny)
    failed = failures(figures)
    for text in failed:
        print(f"FAILED {text}", file=sys.stderr)
    return 1 if failed else 0


# The run.


def run(scene: Scene, clients: int, seconds: float, repeats: int, sections: Any = SECTIONS) -> Figures:
    """Runs all measurements.

    Args:
        scene: the models that are served.
        clients: at once.
        seconds: of the load.
        repeats: rounds of which the medians are taken.
        sections: which of `SECTIONS`.

    Returns:
        The figures by section; "failures" of each in words.
    """
    threads = 4 * clients
    figures: Figures = {"clients": clients, "seconds": seconds, "cpus": os.cpu_count(), "load_average": _load_average()}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        served = {name: folder / name for name in scene.exports if name != "next"}
        for name, path in served.items():
            shutil.copytree(scene.exports[name] / "1", path / "1")
            scene.references[name].save(folder / f"{name}.npz")
        references = {name: scene.references[name] for name in served}
        with LocalServer(served, folder / "first.log", threads) as server:
            server.wait()
            if "overhead" in sections:
                version = scene.exports["pictures"] / "1"
                figures["overhead"] = _tried(
                    lambda: checks.overhead(server, references["pictures"], version, (1, 16, 64), repeats)
                )
            if "batch" in sections:
                exports = [references[name] for name in ("pictures", "batched") if name in references]
                figures["batch"] = _tried(lambda: checks.batch(server, exports, clients, repeats))
            if "load" in sections:
                figures["load"] = _tried(lambda: _load(scene, server, references, folder, clients, seconds, threads))
            if {"threads", "replicas"} & set(sections):
                with LocalServer(served, folder / "second.log") as other:
                    other.wait()
                    if "replicas" in sections:
                        figures["replicas"] = _tried(lambda: checks.replicas(server, other, references))
                    if "threads" in sections:
                        calls = 8 * (os.cpu_count() or 1)
                        figures["threads"] = _tried(lambda: checks.exhaustion(other, references["pictures"], calls))
                    figures["faults"] = other.faults()
            if "versions" in sections:
                known = scene.references["texts"], scene.references["next"]
                new = scene.exports["next"] / "1"
                figures["versions"] = _tried(lambda: versions(server, served, *known, new))
            figures["faults"] = figures.get("faults", []) + server.faults()
    return figures


def _tried(check: Callable[[], Figures]) -> Figures:
    """Returns the figures of a section, or what it failed with."""
    try:
        return check()
    except (ServingError, grpc.RpcError, RuntimeError) as error:
        return {"failures": [f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"]}


def _load(
    scene: Scene,
    server: LocalServer,
    references: Mapping[str, Reference],
    folder: Path,
    clients: int,
    seconds: float,
    threads: int,
) -> Figures:
    wrong = checks.fill(server, references, threads)  # so that all its threads are there
    before = server.resources()
    load_before = _load_average()
    with Pulse() as pulse:
        log = checks.load(server, folder, TTL, seconds, clients)
    if pulse.longest > _STANDSTILL:
        log.fail(f"the machine stood still for {pulse.longest:.1f} s: what else failed may come from that")
    load_after = _load_average()
    judged = checks.judge(log, scene.models, references)
    after = checks.aftermath(server, references, TTL, threads, before)
    return {
        **summary(log, seconds),
        "longest_standstill_s": pulse.longest,
        "load_average": [load_before, load_after],
        "compared": judged,
        "aftermath": after,
        "failures": wrong + judged.pop("failures") + after.pop("failures"),
    }


class Pulse:
    """Notices in a `with` statement that this process was stopped, or the machine too busy to let it run.

    Attributes:
        longest: seconds between two beats that should have been a tenth apart.
    """

    def __init__(self) -> None:
        self.longest = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Pulse:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _beat(self) -> None:
        last = time.monotonic()
        while not self._stop.wait(0.1):
            now = time.monotonic()
            self.longest, last = max(self.longest, now - last), now


def summary(log: Log, seconds: float) -> Figures:
    """Outcomes, calls per second and latencies by kind of call."""
    kinds: Figures = {}
    for kind, outcomes in sorted(log.counts.items()):
        times = sorted(log.seconds.get(kind, []))
        latency = {f"p{part}_s": float(np.percentile(times, part)) for part in _PERCENTILES} if times else {}
        kinds[kind] = {"outcomes": dict(outcomes), "per_second": outcomes["ok"] / seconds, **latency}
    calls = [kind for kind in kinds if kind not in ("events compared", "vanished", "clients killed")]
    total = sum(kinds[kind]["outcomes"].get("ok", 0) for kind in calls)
    return {"kinds": kinds, "answered": total, "answered_per_second": total / seconds}


def _load_average() -> float:
    return round(os.getloadavg()[0], 2)


# Report.


def failures(figures: Figures) -> list[str]:
    """Lists all failures, one line each; slow times are no failures."""
    found = [f"{section}: {text}" for section in SECTIONS for text in figures.get(section, {}).get("failures", [])]
    found += [f"the log of the server: {line}" for line in figures.get("faults", [])]
    counts: dict[str, int] = {}
    for text in found:
        counts[text] = counts.get(text, 0) + 1
    return [text if number == 1 else f"{text} ({number} times)" for text, number in counts.items()]


def table(figures: Figures) -> str:
    """Returns the figures for people."""
    lines = [
        f"{figures['clients']} clients, {figures['cpus']} CPUs, load average {figures['load_average']} at the start"
    ]
    told = {section for section in SECTIONS if set(figures.get(section, {})) > {"failures"}}
    if "overhead" in told:
        lines += [
            "",
            f"overhead of gRPC (aim {serving_figures.OVERHEAD_AIM:g})",
            f"{'rows':>8}{'in process':>14}{'gRPC':>14}{'ratio':>8}",
        ]
        for rows, item in figures["overhead"]["rows"].items():
            here, there = item["in_process_s"] * 1e3, item["grpc_s"] * 1e3
            lines.append(f"{rows:>8}{here:>11.1f} ms{there:>11.1f} ms{item['ratio']:>8.2f}")
    if "batch" in told:
        lines += [
            "",
            f"calls of one row, or sessions, at once beside one call of all rows (aim {serving_figures.BATCH_AIM:g})",
        ]
        columns = (("one call", 14), ("bare calls", 14), ("calls", 14), ("ratio", 8), ("sessions", 14), ("ratio", 8))
        lines.append(f"{'export':>12}{'rows':>8}" + "".join(f"{head:>{width}}" for head, width in columns))
        for name, item in figures["batch"]["exports"].items():
            one, bare, calls, sessions = (
                f"{item[f'{kind}_s'] * 1e3:>11.1f} ms" for kind in ("together", "bare", "apart", "sessions")
            )
            lines.append(
                f"{name:>12}{item['rows']:>8}{one}{bare}{calls}{item['ratio']:>8.2f}{sessions}"
                f"{item['sessions_ratio']:>8.2f}"
            )
    if "load" in told:
        lines += ["", *_load_table(figures["load"], figures["seconds"])]
    if "threads" in told:
        item = figures["threads"]
        lines += ["", f"default threads: {item['refused']} of {item['calls']} calls at once refused; with retries all "]
        lines[-1] += f"came in {item['with_retries_s']:.1f} s, {len(item['different'])} of them unlike Python's"
    if "replicas" in told:
        lines += ["", f"two replicas: {figures['replicas']['compared']} events compared"]
    if "versions" in told:
        item = figures["versions"]
        lines += [
            "",
            f"a new version took over in {item.get('change_s', 0):.1f} s, during {item.get('calls', 0)} calls; ",
        ]
        lines[-1] += f"labels moved during {item.get('labelled_calls', 0)} calls"
    lines += ["", "no failures" if not failures(figures) else f"{len(failures(figures))} failures"]
    return "\n".join(lines)


def _load_table(load: Figures, seconds: float) -> list[str]:
    before, after = load["load_average"]
    lines = [
        f"load of {seconds:g} s: {load['answered']} calls answered, {load['answered_per_second']:.0f} a second; load "
        f"average {before} before, {after} after",
        f"{'':>20}{'ok/s':>8}{'p50':>9}{'p95':>9}{'p99':>9}  outcomes",
    ]
    for kind, item in load["kinds"].items():
        known = [item.get(f"p{part}_s") for part in _PERCENTILES]
        times = "".join(" " * 9 if value is None else f"{value * 1e3:>6.0f} ms" for value in known)
        outcomes = ", ".join(f"{outcome} {number}" for outcome, number in sorted(item["outcomes"].items()))
        lines.append(f"{kind:>20}{item['per_second']:>8.1f}{times}  {outcomes}")
    judged, after_ = load["compared"], load["aftermath"]
    lines.append(
        f"{judged['ties']} ties of rounding; {judged['unseeded']} unseeded events, {judged['unseeded_drawn_again']} of "
        "them drawn again by Python"
    )
    threads = [f"{after_[when]['threads']:.0f}" for when in ("before", "after")]
    memory = [f"{after_[when]['memory_mib']:.0f}" for when in ("before", "after")]
    lines.append(f"threads of the server {' -> '.join(threads)}, memory {' -> '.join(memory)} MiB")
    return lines


if __name__ == "__main__":
    command.run(main, define_flags)
