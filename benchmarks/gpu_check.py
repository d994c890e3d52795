"""Training, likelihood and sampling on a GPU: numerics against the CPU, and speed; `make gpu-check`.

    python -m benchmarks.gpu_check [--json=FILE] [--seconds=900] [--only=numerics,train,sample] [--rehearse]

Without a visible GPU it says so and exits 0. With one it exits 1 where a job fails, or where for a model, both devices
computing in float32,
    log p of a position under the same weights differs by more than 1e-3 nats,
    the loss after 5 equal steps of training differs by more than 2%, or
    a sample from the same noise differs first where it is no tie (the noise within 1e-4 of a boundary): plain graph,
    XLA and naive sampler, each against the CPU's naive sampler.

What it measures beside
    train      a step of training in float32, TF32 and bfloat16, with and without XLA: examples/s, TFLOP/s (three times
               the operations of a forward pass, as the profiler counts them), its share of what the GPU can do, memory
    sample     16 images under XLA with the default command buffers, without, and with loops inside of them; in a plain
               graph, naive (under XLA too), by fixed-point iteration in blocks of several sizes (under XLA, with its
               passes): seconds and forward passes

Every job is a process. Those of a wave are prepared side by side, which needs a processor with many cores, and measured
one after the other. Results are written after every job. On 16 cores the whole takes some 12 minutes, nearly all of it
tracing and compiling. `--rehearse` runs all of it tiny, on whatever device there is.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from absl import flags

from benchmarks import gpu_report, results
from pipelines import command

MODELS = (
    "gated_pixel_cnn",
    "pixel_cnn_pp",
    "pixel_snail",
    "pixel_rnn_row",
    "pixel_rnn_diagonal",
    "made",
    "char_rnn",
    "causal_transformer",
    "image_transformer",
    "wavenet",
)
# The batch of each, and the length of a sequence.
TRAINED = {"gated_pixel_cnn": (128, None), "pixel_cnn_pp_cifar10": (16, None), "causal_transformer_gpt2": (8, 1024)}
SAMPLED = ("pixel_cnn_pp_cifar10", "gated_pixel_cnn")
# The model that stands for a preset in a rehearsal.
TINY = {"pixel_cnn_pp_cifar10": "pixel_cnn_pp", "causal_transformer_gpt2": "causal_transformer"}
PRECISIONS = ("float32", "tf32", "bfloat16")
# Settings of XLA by name. Without a setting it records runs of kernels, but no loops, as command buffers.
COMMAND_BUFFERS = {
    "default": "",
    "none": "--xla_gpu_enable_command_buffer=",
    "loops": "--xla_gpu_enable_command_buffer=FUSION,CUBLAS,CUBLASLT,CUDNN,CUSTOM_CALL,WHILE,CONDITIONAL",
}
_BATCH = 16
_MEASURE_SECONDS = 40.0  # a job that measures longer is stopped


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("json", None, "File to write the numbers to.")
    flags.DEFINE_integer(
        "seconds",
        360,
        "Time for everything; a wave that is not ready in half of what is left is stopped.",
        lower_bound=1,
    )
    flags.DEFINE_list("only", ["numerics", "train", "sample"], "Parts to run.")
    flags.DEFINE_integer("parallel", os.cpu_count(), "Jobs prepared side by side.", lower_bound=1)
    flags.DEFINE_bool("rehearse", False, "Run everything tiny on the device that there is, to try the check itself.")


def main() -> int:
    """Runs the command; returns the exit code."""
    values = flags.FLAGS
    gpu = gpu_report.find_gpu()
    if not gpu and not values.rehearse:
        print("gpu-check skipped: TensorFlow sees no GPU (install the extra `gpu` on a machine that has one)")
        return 0
    result: dict[str, Any] = {"gpu": gpu or "none, rehearsed on the CPU", "jobs": []}
    deadline = time.monotonic() + values.seconds
    with tempfile.TemporaryDirectory() as folder:
        for wave in waves(values.only, values.rehearse, "GPU:0" if gpu else "CPU:0", pathlib.Path(folder)):
            for job in run_wave(wave, values.parallel, deadline):  # each takes at most half of what is left
                result["jobs"].append(job)
                _write(values.json, result, values.rehearse)
        if "numerics" in values.only:
            result["numerics"] = {
                model: compare(*(load(folder, model, device) for device in ("cpu", "gpu"))) for model in MODELS
            }
    result["passed"] = passed(result)
    _write(values.json, result, values.rehearse)
    print(gpu_report.table(result))
    print("gpu-check passed" if result["passed"] else "gpu-check FAILED", file=sys.stderr)
    return 0 if result["passed"] else 1


def passed(result: dict[str, Any]) -> bool:
    """Returns whether every job ended and every model's numerics agree."""
    agree = all(found["passed"] for found in result.get("numerics", {}).values())
    return agree and not any("error" in job for job in result["jobs"])


def waves(parts: list[str], tiny: bool, device: str, folder: pathlib.Path) -> list[list[dict[str, Any]]]:
    """Descriptions of the jobs, those first that take longest to prepare.

    Args:
        parts: of "numerics", "train", "sample".
        tiny: models of tiny size, short measurements.
        device: where everything but the CPU's half of the numerics runs.
        folder: where the numerics go.
    """
    common = {"batch": 2 if tiny else _BATCH, "tiny": tiny, "repeats": 1 if tiny else 3}
    sampled = [TINY.get(model, model) if tiny else model for model in SAMPLED]
    samplers = [
        {"kind": "sample", "model": model, "buffers": name, **common} for model in sampled for name in COMMAND_BUFFERS
    ]
    samplers += [
        {"kind": "other_samplers", "model": model, "units": 2, "positions": 2 if tiny else 4, **common}
        for model in sampled
    ]
    samplers += [
        {"kind": "fixed_point", "model": model, "block": block, **common}
        for model in sampled
        for block in ((None, 4) if tiny else (None, 8, 32))
    ]
    numerics = [
        {"kind": "numerics", "model": model, "device": place, "file": str(folder / f"{model}_{name}.npz")}
        for model in MODELS
        for name, place in (("cpu", "CPU:0"), ("gpu", device))
    ]
    # A model's steps with XLA and without are two waves: their memory is that of several steps at once.
    steps = []
    for model, (batch, length) in TRAINED.items():
        job: dict[str, Any] = {"kind": "train", "model": TINY.get(model, model) if tiny else model, "tiny": tiny}
        job |= {"batch": 2 if tiny else batch, "length": None if tiny else length}
        steps += [[{**job, "precision": precision, "xla": xla} for precision in PRECISIONS] for xla in (False, True)]
    first = (samplers if "sample" in parts else []) + (numerics if "numerics" in parts else [])
    return [wave for wave in (first, *(steps if "train" in parts else [])) if wave]


# === Processes ===


class Job:
    """A process of `benchmarks.gpu_jobs`.

    Args:
        spec: its description.
    """

    def __init__(self, spec: dict[str, Any]):
        self.spec = spec

    def start(self, deadline: float) -> None:
        """Starts the process and returns when it is ready or has ended."""
        environment = {**os.environ, "TF_FORCE_GPU_ALLOW_GROWTH": "true", "TF_CPP_MIN_LOG_LEVEL": "2"}
        if self.spec.get("device") == "CPU:0":
            environment["CUDA_VISIBLE_DEVICES"] = "-1"
        buffers = COMMAND_BUFFERS[self.spec.get("buffers", "default")]
        environment["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {buffers}".strip()
        self.log = tempfile.TemporaryFile("w+")
        arguments = [sys.executable, "-m", "benchmarks.gpu_jobs", json.dumps(self.spec)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(arguments, stdin=pipe, stdout=pipe, stderr=self.log, text=True, env=environment)
        began = time.monotonic()
        self._line(deadline)
        self.prepare_s = time.monotonic() - began

    def measure(self) -> dict[str, Any]:
        """Lets the process measure; its description and its figures, or the end of what it said."""
        try:
            self.process.stdin.write("measure\n")
            self.process.stdin.flush()
            line = self._line(time.monotonic() + _MEASURE_SECONDS)
        except OSError:
            line = ""
        if self.process.poll() is None:
            self.process.kill()  # its result is here, or it stands still; TensorFlow's own end can take a minute
        code = self.process.wait()
        self.log.seek(0)
        found = json.loads(line) if line else {"error": f"exit code {code}: {self.log.read()[-600:]}"}
        with contextlib.suppress(OSError):  # what was written for a process that has ended
            self.process.stdin.close()
        self.process.stdout.close()
        self.log.close()
        return {**self.spec, "prepare_s": self.prepare_s, **found}

    def _line(self, deadline: float) -> str:
        """Returns the next line; empty where the process has ended, or is stopped at the deadline."""
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            line = pool.submit(self.process.stdout.readline)
            try:
                return line.result(max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                self.process.kill()
                return ""


def run_wave(specs: list[dict[str, Any]], parallel: int, deadline: float) -> Iterator[dict[str, Any]]:
    """Prepares jobs side by side, then measures them one after the other; yields their results."""
    jobs = [Job(spec) for spec in specs]
    began = time.monotonic()
    ready = began + (deadline - began) / 2
    with concurrent.futures.ThreadPoolExecutor(parallel) as pool:
        list(pool.map(lambda job: job.start(ready), jobs))
    print(f"{len(jobs)} jobs ready after {time.monotonic() - began:.0f} s", file=sys.stderr)
    for job in jobs:
        found = job.measure()
        print(gpu_report.line(found), file=sys.stderr)
        yield found


# === Numerics ===

_TOLERANCE_NATS, _TOLERANCE_LOSS, _TOLERANCE_TIE = 1e-3, 0.02, 1e-4


def load(folder: str | pathlib.Path, model: str, device: str) -> dict[str, np.ndarray] | None:
    """Reads the result of a job of numerics; None where it failed."""
    path = pathlib.Path(folder) / f"{model}_{device}.npz"
    return dict(np.load(path)) if path.exists() else None


def compare(cpu: dict[str, np.ndarray] | None, gpu: dict[str, np.ndarray] | None) -> dict[str, Any]:
    """Compares two devices; returns their differences and whether these are within the tolerances."""
    if cpu is None or gpu is None:
        return {"passed": False}
    nats = float(np.abs(cpu["scores"] - gpu["scores"]).max())
    loss = float(abs(cpu["losses"][-1] - gpu["losses"][-1]) / abs(cpu["losses"][-1]))
    ties = others = 0
    for name in ("samples_plain", "samples_xla", "samples_naive"):
        tipped, unexplained = _first_differences(cpu["samples_naive"], gpu[name], cpu["distances"])
        ties, others = ties + tipped, others + unexplained
    return {
        "largest_difference_nats": nats,
        "relative_difference_loss": loss,
        "samples_with_a_tie": ties,
        "samples_that_differ_without_a_tie": others,
        "passed": nats <= _TOLERANCE_NATS and loss <= _TOLERANCE_LOSS and others == 0,
    }


def _first_differences(expected: np.ndarray, samples: np.ndarray, distances: np.ndarray) -> tuple[int, int]:
    """Samples whose first difference is a tie, and those where it is not; what follows it differs rightly."""
    ties = others = 0
    for a, b, distance in zip(expected, samples, distances, strict=True):
        distance = distance.reshape(-1)
        different = (a != b).reshape(len(distance), -1).any(1)
        if different.any():
            tie = distance[np.argmax(different)] <= _TOLERANCE_TIE
            ties, others = ties + int(tie), others + int(not tie)
    return ties, others


def _write(path: str | None, result: dict[str, Any], rehearsed: bool) -> None:
    results.write(path, gpu_report.figures(result["jobs"]), result, quick=rehearsed)


if __name__ == "__main__":
    command.run(main, define_flags)
