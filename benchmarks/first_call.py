"""Measures the first call of a first and of a second process, with the cache of compiled samplers on disk.

    python -m benchmarks.first_call --model=gated_pixel_cnn [--batch=16] [--json=FILE] [--tiny]

Two processes, one after the other, share a cache that is empty at first. Each builds the model with random weights and
times `model.sample(batch)` under XLA twice: the first call traces, compiles (or reads what the process before kept) and
draws, the second one draws alone. The size of the cache is that after the first process.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Any

from absl import flags

from benchmarks import results
from pipelines import command

_AIM = 0.45


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("model", "gated_pixel_cnn", "A model of benchmarks.sampling, or a preset.")
    flags.DEFINE_integer("batch", 16, "Events drawn together.", lower_bound=1)
    flags.DEFINE_bool("tiny", False, "The model at a size that says nothing about speed, for tests.")
    flags.DEFINE_bool("measure", False, "Measure in this process and print JSON; for the command.")
    flags.DEFINE_string("json", None, "File to write the numbers to.")


def main() -> int:
    """Runs the command; returns the exit code."""
    values = flags.FLAGS
    if values.measure:
        command.import_quietly()
        print(json.dumps(measure(values.model, values.batch, values.tiny)))
        return 0
    result = compare(values.model, values.batch, values.tiny)
    found = figures(result)
    for item in found.values():
        print(f"{item['what']}: {item['measured']}")
    results.write(values.json, found, result, quick=values.tiny)
    return 0


def measure(name: str, batch: int, tiny: bool) -> dict[str, Any]:
    """Times the first and the second sample in this process."""
    from benchmarks.sampling import draw_events
    from benchmarks.sampling_models import build

    model = build(name, tiny)
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        draw_events(model, batch, True)
        seconds.append(time.perf_counter() - began)
    return {
        "first_call_s": seconds[0],
        "draw_s": seconds[1],
        "event_shape": list(model.event_shape),
        "class": type(model).__name__,
        "num_parameters": model.count_params(),
    }


def compare(name: str, batch: int, tiny: bool = False) -> dict[str, Any]:
    """Runs two processes that share a cache; returns their measurements and the bytes of the cache.

    Raises:
        ValueError: a process failed; the message is what it wrote last.
    """
    processes = []
    arguments = ["-m", "benchmarks.first_call", "--measure", f"--model={name}", f"--batch={batch}"]
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2):
            run = subprocess.run(
                [sys.executable, *arguments, f"--tiny={tiny}", f"--cache_dir={folder}"],
                capture_output=True,
                text=True,
                check=False,
                cwd=results.ROOT,
                env={**os.environ, "TF_XLA_FLAGS": ""},
            )
            if run.returncode:
                raise ValueError(f"--model={name}: {(run.stderr.splitlines() or ['the process failed'])[-1]}")
            processes.append(json.loads(run.stdout.splitlines()[-1]))
            if len(processes) == 1:
                size = sum(path.stat().st_size for path in pathlib.Path(folder).rglob("*") if path.is_file())
    return {"model": name, "batch": batch, "processes": processes, "cache_bytes": size}


def figures(result: dict[str, Any]) -> dict[str, results.Figure]:
    """Returns the figure of a model."""
    first, second = result["processes"]
    seconds = {
        "first_process_s": first["first_call_s"],
        "second_process_s": second["first_call_s"],
        "draw_s": min(first["draw_s"], second["draw_s"]),
        "cache_bytes": result["cache_bytes"],
    }
    ratio = seconds["second_process_s"] / seconds["first_process_s"]
    shape = " x ".join(str(size) for size in first["event_shape"])
    measured = (
        f"{seconds['first_process_s']:.1f} s, in a second process {seconds['second_process_s']:.1f} s "
        f"({ratio:.2f}); drawing alone {seconds['draw_s']:.1f} s; {seconds['cache_bytes'] / 2**20:.1f} MiB on disk"
    )
    what = f"first sample of {result['batch']}, `{result['model']}` ({first['class']} {shape}, "
    what += f"{first['num_parameters']:,} weights)"
    return {f"first_call/{result['model']}": results.figure(what, measured, seconds, f"ratio {_AIM:g}")}


if __name__ == "__main__":
    command.run(main, define_flags)
