"""Compares the cost of sampling with another checkout of this repository, alternating in one run.

    python -m benchmarks.against --tree=../before --models=gated_pixel_cnn,wavenet [--modes=xla,plain] [--repeats=7]

Each checkout has a process that keeps its model. A round times a forward pass and a sample of one, then of the other,
so that what else the machine does hits both. Printed are medians: forward passes that a sample costs in each, the
median of the rounds' ratios, and whether both drew the same sample (same weights, same noise). The plain graph draws
audio of 1,000 samples, which costs as much a step as a second of it.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from absl import flags

from pipelines import command

_LEAST_SECONDS = 0.3
_PLAIN_AUDIO = 1000


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("tree", None, "The other checkout.", required=True)
    flags.DEFINE_list("models", ["gated_pixel_cnn"], "Models of benchmarks.sampling.")
    flags.DEFINE_list("modes", ["xla", "plain"], "Of the sampler.")
    flags.DEFINE_integer("repeats", 7, "Rounds of which the medians are taken.", lower_bound=1)
    flags.DEFINE_string("json", None, "File to write the numbers to.")


def main() -> int:
    """Runs the command; returns the exit code."""
    values = flags.FLAGS
    if not os.path.isfile(os.path.join(values.tree, "benchmarks", "sampling.py")):
        raise ValueError(f"--tree={values.tree} is no checkout of this repository")
    from benchmarks import results  # not above: the worker runs this file in checkouts that may not have it

    measured = []
    for name in values.models:
        for mode in values.modes:
            result = compare({"before": values.tree, "now": os.getcwd()}, name, mode, values.repeats)
            measured.append(result)
            print(line(result), flush=True)
            figures = {f"against/{item['model']}_{item['mode']}": figure(item) for item in measured}
            results.write(values.json, figures, measured)
    return 0


def compare(trees: dict[str, str], name: str, mode: str, repeats: int) -> dict[str, Any]:
    """Seconds of both trees, by round."""
    workers = {tree: Worker(folder, name, mode) for tree, folder in trees.items()}
    try:
        sums = {tree: worker.ask("sum") for tree, worker in workers.items()}
        rounds: dict[str, dict[str, list[float]]] = {tree: {"forward": [], "sample": []} for tree in workers}
        for _ in range(repeats):
            for what in ("forward", "sample"):
                for tree, worker in workers.items():
                    rounds[tree][what].append(worker.ask(what))
    finally:
        for worker in workers.values():
            worker.process.kill()
    return {"model": name, "mode": mode, "same_sample": len(set(sums.values())) == 1, "rounds_s": rounds}


def figure(result: dict[str, Any]) -> dict[str, Any]:
    """Returns the figure of a model and mode for docs/results.json."""
    from benchmarks import results

    what = f"`{result['model']}`, {'XLA' if result['mode'] == 'xla' else 'plain graph'}"
    text = " ".join(line(result).split(maxsplit=2)[2:])
    return results.figure(what, text, {"same_sample": result["same_sample"], **result["rounds_s"]})


def line(result: dict[str, Any]) -> str:
    """Returns a result for people."""
    rounds = result["rounds_s"]
    median = {tree: {what: statistics.median(found[what]) for what in found} for tree, found in rounds.items()}
    costs = {tree: found["sample"] / found["forward"] for tree, found in median.items()}
    ratio = statistics.median(
        now / before for before, now in zip(rounds["before"]["sample"], rounds["now"]["sample"], strict=True)
    )
    return (
        f"{result['model']:20} {result['mode']:5} sample {1e3 * median['before']['sample']:.1f} -> "
        f"{1e3 * median['now']['sample']:.1f} ms, forward {1e3 * median['before']['forward']:.2f} -> "
        f"{1e3 * median['now']['forward']:.2f} ms, {costs['before']:.2f} -> {costs['now']:.2f} forwards, "
        f"ratio {ratio:.2f}, {'same sample' if result['same_sample'] else 'OTHER SAMPLE'}"
    )


class Worker:
    """A process in a checkout that times one model when asked."""

    def __init__(self, folder: str, name: str, mode: str):
        self.folder = folder
        arguments = [sys.executable, os.path.abspath(__file__), name, mode]
        environment = {**os.environ, "PYTHONPATH": os.path.abspath(folder), "TF_CPP_MIN_LOG_LEVEL": "3"}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            arguments, cwd=folder, env=environment, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
        )

    def ask(self, what: str) -> float:
        """Sends a question to the process; returns its answer, a number."""
        assert self.process.stdin and self.process.stdout  # noqa: S101
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise ValueError(f"the process in {self.folder} ended")
        return float(answer)


def serve(name: str, mode: str) -> None:
    """The worker's side; every checkout has what it imports."""
    channel, sys.stdout = sys.stdout, sys.stderr
    import keras
    import numpy as np
    import tensorflow as tf

    from benchmarks.sampling import benchmarked, build

    keras.utils.set_random_seed(0)
    audio, jit_compile = benchmarked()[name].audio, mode == "xla"
    model = build(name)
    if audio and not jit_compile:
        model = type(model).from_config({**model.get_config(), "event_shape": [_PLAIN_AUDIO]})
    batch = 1 if audio else 16
    x = tf.zeros([batch, *model.event_shape], model.head.dtype)
    forward = tf.function(lambda x: model(x, training=False), autograph=False, jit_compile=jit_compile or None)

    def draw() -> Any:
        return model.sample(batch, seed=0, batch_size=batch, jit_compile=jit_compile).numpy()

    calls: dict[str, Callable[[], Any]] = {"forward": lambda: forward(x).numpy(), "sample": draw}
    for call in calls.values():
        call()
    for question in sys.stdin:
        what = question.strip()
        print(
            float(np.sum(draw().astype(np.float64))) if what == "sum" else _time(calls[what]), file=channel, flush=True
        )


def _time(call: Callable[[], Any]) -> float:
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < _LEAST_SECONDS:
        call()
        count += 1
    return (time.perf_counter() - began) / count


if __name__ == "__main__":
    if len(sys.argv) == 3 and not sys.argv[1].startswith("-"):
        serve(*sys.argv[1:])
    else:
        command.run(main, define_flags)
