"""Changes the version of a model under load."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.serving_reference import Reference, same_events
from benchmarks.serving_server import LocalServer, configuration, reload, status
from export.client import Client, ServingError

Figures = dict[str, Any]
LONG = 300.0  # seconds


class _Callers:
    """Threads that call a model without a pause, and note what answered.

    Attributes:
        versions: that answered, in order, by thread.
        failures: in words.
    """

    def __init__(self, server: LocalServer, references: Mapping[int, Reference], label: str | None, threads: int = 3):
        self._server, self._references, self._label = server, references, label
        self.versions: list[list[int]] = [[] for _ in range(threads)]
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(versions,)) for versions in self.versions]

    def __enter__(self) -> _Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, versions: list[int]) -> None:
        reference = next(iter(self._references.values()))
        with Client(self._server.target, reference.name, label=self._label, timeout=LONG, retries=0) as client:
            index = 0
            while not self._stop.is_set():
                index = (index + 1) % len(reference.seed)
                try:
                    samples = client.predict("sample", reference.inputs(np.array([index])))["samples"]
                except ServingError as error:
                    self.failures.append(f"{error.code.name} {error.message[:200]}")
                    continue
                version = client.answered or 0
                versions.append(version)
                if not same_events(samples[0], self._references[version].samples[index]):
                    self.failures.append(f"version {version} answered what it does not draw")


def versions(
    server: LocalServer, models: Mapping[str, Path], old: Reference, new: Reference, new_version: Path
) -> Figures:
    """Loads a new version before the old one goes and moves labels, while clients call.

    Args:
        server: serves `models`.
        models: folders of versions by name.
        old: of version 1.
        new: of version 2.
        new_version: folder that becomes version 2.
    """
    name, failures = old.name, []
    both = {1: old, 2: new}

    def wait(what: str, wanted: dict[int, str]) -> float:
        started = time.monotonic()
        while (found := status(server.target, name)) != wanted:
            if "AVAILABLE" not in found.values():
                failures.append(f"no version of {name} is available: {found}")
            if time.monotonic() - started > LONG:
                failures.append(f"{what}: {name} is {found}, not {wanted}")
                break
            time.sleep(0.05)
        return time.monotonic() - started

    def change(numbers: list[int], labels: dict[str, int]) -> None:
        message = reload(server.target, configuration(models, {name: numbers}, {name: labels}))
        if message:
            failures.append(f"the configuration with versions {numbers} and labels {labels}: {message}")

    figures: Figures = {"failures": failures}
    with _Callers(server, both, None) as callers:
        time.sleep(1.0)
        writing = models[name] / ".writing"
        shutil.copytree(new_version, writing)
        writing.rename(models[name] / "2")
        figures["change_s"] = wait("a new version", {2: "AVAILABLE", 1: "END"})
        time.sleep(1.0)
    figures["calls"] = sum(map(len, callers.versions))
    failures += callers.failures
    for answered in callers.versions:
        if answered != sorted(answered) or set(answered) != {1, 2}:
            failures.append(f"the answers to a client came from versions {sorted(set(answered))} to and fro")

    change([1, 2], {})
    wait("both versions", {2: "AVAILABLE", 1: "AVAILABLE"})
    change([1, 2], {"stable": 1, "canary": 2})
    with _Callers(server, both, "stable") as stable, _Callers(server, both, "canary", 1) as canary:
        time.sleep(1.0)
        change([1, 2], {"stable": 2, "canary": 2})
        time.sleep(1.0)
        change([2], {"stable": 2, "canary": 2})
        wait("the old version", {2: "AVAILABLE", 1: "END"})
        time.sleep(1.0)
    figures["labelled_calls"] = sum(map(len, [*stable.versions, *canary.versions]))
    failures += stable.failures + canary.failures
    if any(answered != sorted(answered) or set(answered) != {1, 2} for answered in stable.versions):
        failures.append(f"the label did not move from 1 to 2: {[sorted(set(v)) for v in stable.versions]}")
    if {number for answered in canary.versions for number in answered} != {2}:
        failures.append("the label canary was answered by another version")
    return figures
