"""Formats the results of `benchmarks.gpu_check` as lines and tables."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from benchmarks import results

# TFLOP/s of dense products by the makers' data sheets: float32, TF32, bfloat16.
PEAKS = {
    "H100": {"float32": 67.0, "tf32": 494.5, "bfloat16": 989.0},
    "H200": {"float32": 67.0, "tf32": 494.5, "bfloat16": 989.0},
    "A100": {"float32": 19.5, "tf32": 156.0, "bfloat16": 312.0},
    "L4": {"float32": 30.3, "tf32": 60.0, "bfloat16": 121.0},
}


def find_gpu() -> str:
    """Name of the first GPU that TensorFlow sees; empty where it sees none. This process does not touch the GPU."""
    code = (
        "import tensorflow as tf; found = tf.config.list_physical_devices('GPU'); "
        "print('GPU', tf.config.experimental.get_device_details(found[0]).get('device_name', '') if found else '')"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    lines = [line for line in run.stdout.splitlines() if line.startswith("GPU ")]
    return lines[-1].removeprefix("GPU ").strip() if lines else ""


def line(job: dict[str, Any]) -> str:
    """Returns a job's result in one line."""
    parts = {key: job[key] for key in ("kind", "model", "precision", "xla", "buffers", "device", "block") if key in job}
    figures = {key: value for key, value in job.items() if key.endswith(("_s", "forwards", "passes", "gib", "error"))}
    shown = {key: round(value, 4) if isinstance(value, float) else value for key, value in figures.items()}
    return " ".join(str(value) for value in parts.values()) + ": " + ", ".join(f"{k} {v}" for k, v in shown.items())


def figures(jobs: list[dict[str, Any]]) -> dict[str, results.Figure]:
    """Returns the figures of the jobs that ended, for docs/results.json."""
    found = {}
    for job in jobs:
        if "error" not in job and job["kind"] != "numerics":
            what, cell = line(job).split(": ", 1)
            found["gpu/" + what.replace(" ", "_")] = results.figure(what, cell, job)
    return found


def table(result: dict[str, Any]) -> str:
    """Returns the figures as tables in Markdown."""
    peaks = next((peaks for name, peaks in PEAKS.items() if name in result["gpu"]), {})
    parts = [f"GPU: {result['gpu']}"]
    if result.get("numerics"):
        rows = [
            [
                model,
                f"{found['largest_difference_nats']:.1e}",
                f"{found['relative_difference_loss']:.1e}",
                str(found["samples_with_a_tie"]),
                str(found["samples_that_differ_without_a_tie"]),
            ]
            if len(found) > 1
            else [model, "failed", "", "", ""]
            for model, found in result["numerics"].items()
        ]
        parts.append(_markdown(["model, tiny", "nats", "loss", "ties", "other differences"], rows))
    jobs = [job for job in result["jobs"] if "error" not in job]
    steps = [_step(job, peaks) for job in jobs if job["kind"] == "train"]
    if steps:
        header = [
            "training step",
            "precision",
            "XLA",
            "ms",
            "examples/s",
            "TFLOP/s",
            "of the peak",
            "peak GiB",
            "first",
        ]
        parts.append(_markdown(header, steps))
    samples = [row for job in jobs for row in _samples(job)]
    if samples:
        parts.append(_markdown(["sampling", "how", "s", "forwards", "first call"], samples))
    failed = [line(job) for job in result["jobs"] if "error" in job]
    return "\n\n".join([*parts, *failed])


def _step(job: dict[str, Any], peaks: dict[str, float]) -> list[str]:
    peak = peaks.get(job["precision"])
    return [
        f"{job['model']}, batch {job['batch']}",
        job["precision"],
        "yes" if job["xla"] else "no",
        f"{1e3 * job['step_s']:.1f}",
        f"{job['examples_per_s']:.0f}",
        f"{job['tflop_per_s']:.1f}",
        f"{job['tflop_per_s'] / peak:.0%}" if peak else "",
        f"{job['peak_gib']:.1f}" if "peak_gib" in job else "",
        f"{job['first_call_s']:.0f} s",
    ]


def _samples(job: dict[str, Any]) -> list[list[str]]:
    if job["kind"] == "sample":
        how = {"default": "XLA", "none": "XLA, no command buffers", "loops": "XLA, loops in command buffers"}
        name = how[job["buffers"]]
        figures = [f"{job['sample_s']:.2f}", f"{job['cost_in_forwards']:.0f}", f"{job['first_call_s']:.0f} s"]
        forward = 1e3 * min(job["forward_plain_s"], job["forward_xla_s"])
        return [[f"{job['model']}, {job['batch']}, forward {forward:.1f} ms", name, *figures]]
    if job["kind"] == "fixed_point":
        blocks = "one block" if job["blocks"] == 1 else f"{job['blocks']} blocks"
        name = f"fixed point, XLA, {blocks}: {job['passes']} passes, {job['values_that_differ']} values differ"
        figures = [f"{job['sample_s']:.2f}", f"{job['cost_in_forwards']:.0f}", f"{job['first_call_s']:.0f} s"]
        return [[f"{job['model']}, {job['batch']}", name, *figures]]
    if job["kind"] != "other_samplers":
        return []
    names = {
        "plain": "plain graph, scaled",
        "naive_xla": "naive, XLA, scaled",
        "naive_plain": "naive, plain, scaled",
    }
    return [
        [f"{job['model']}, {job['batch']}", how, f"{job[f'{key}_s']:.2f}", f"{job[f'{key}_in_forwards']:.0f}", ""]
        for key, how in names.items()
    ]


def _markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in lines)
