"""The figures of `benchmarks.serving` for docs/results.json."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.results import Figure, figure

Measured = dict[str, Any]
OVERHEAD_AIM, BATCH_AIM = 1.2, 2.0


def figures(measured: Measured) -> dict[str, Figure]:
    """Returns the figures of the sections that ran and measured something."""
    sections = {"overhead": _overhead, "batch": _batch, "load": _load, "replicas": _replicas, "versions": _versions}
    found: dict[str, Figure] = {}
    for section, make in sections.items():
        if set(measured.get(section, {})) > {"failures"}:
            found |= {f"serving/{name}": item for name, item in make(measured[section], measured)}
    return found


def _overhead(section: Measured, measured: Measured) -> Iterator[tuple[str, Figure]]:
    for rows, item in section["rows"].items():
        cell = f"{item['ratio']:.2f} ({1e3 * item['grpc_s']:.0f} ms, {1e3 * item['in_process_s']:.0f} ms)"
        what = f"`sample` of {rows} example{'' if int(rows) == 1 else 's'} over gRPC / in process, plain graph"
        yield f"overhead_{rows}", figure(what, cell, item, f"{OVERHEAD_AIM:g}")


def _batch(section: Measured, measured: Measured) -> Iterator[tuple[str, Figure]]:
    names = {"pictures": "without `batch_calls`", "batched": "with `batch_calls`"}
    for name, item in section["exports"].items():
        num, one, calls = item["rows"], f"{1e3 * item['together_s']:.0f} ms", f"{1e3 * item['apart_s']:.0f} ms"
        cell = (
            f"{item['ratio']:.1f} ({calls}, {one}); {num} sessions {item['sessions_ratio']:.1f}; {num} calls that draw "
            f"nothing take {1e3 * item['bare_s']:.0f} ms"
        )
        what = f"{num} samples at once / one call of {num} examples, {names.get(name, name)}"
        yield f"batch_{name}", figure(what, cell, item, f"{BATCH_AIM:g}")


def _load(section: Measured, measured: Measured) -> Iterator[tuple[str, Figure]]:
    compared, after = section["kinds"].get("events compared", {}).get("outcomes", {}), section["aftermath"]
    p50, p95 = (1e3 * section["kinds"].get("sample", {}).get(f"p{part}_s", float("nan")) for part in (50, 95))
    memory = [f"{after[when]['memory_mib']:.0f}" for when in ("before", "after")]
    cell = (
        f"{section['answered_per_second']:.0f} calls a second; {compared.get('equal', 0)} events equal to Python's, "
        f"{compared.get('different', 0)} different; no seed twice, no slot lost; median / 95% of `sample` {p50:.0f} / "
        f"{p95:.0f} ms; memory {memory[0]} to {memory[1]} MiB"
    )
    what = f"{measured['clients']} clients for {measured['seconds']:g} s on the local server, which shares "
    what += f"{measured['cpus']} cores with them: samples, sessions, deadlines, clients that vanish"
    values = {name: section[name] for name in ("answered", "answered_per_second")} | {"events": compared}
    yield "load", figure(what, cell, values, "no wrong stream, no lost slot")


def _replicas(section: Measured, measured: Measured) -> Iterator[tuple[str, Figure]]:
    cell = f"{section['compared']} events equal, a state goes on at the other, a foreign session is refused"
    yield "replicas", figure("two replicas", cell, {"compared": section["compared"]}, "same samples")


def _versions(section: Measured, measured: Measured) -> Iterator[tuple[str, Figure]]:
    values = {name: section[name] for name in ("calls", "labelled_calls", "change_s")}
    cell = (
        f"none of {values['calls']} calls during the change failed, labels moved during {values['labelled_calls']}; "
        f"{values['change_s']:.1f} s"
    )
    yield "versions", figure("a new version takes over", cell, values, "no failed request")
