"""Measures fixed-point sampling of trained models: passes, and time beside the incremental sampler.

    python -m benchmarks.fixed_point [--models=digits,made_mnist,binary_mnist,cifar10_subset,text] [--cores=1,2]
                                     [--batch=16] [--events=64] [--data_dir=DIR] [--folder=runs/fixed_point]
                                     [--json=FILE]

Every model is trained once for a minute or two (`benchmarks.trained_models`), and kept in --folder. Printed are

    passes     of an event alone, mean and largest of --events: the whole event as one block, and blocks of the default
               size; beside the number of positions, which the incremental sampler takes one after the other
    time       of --batch events, of fixed-point iteration over the whole event, over blocks of the default size, and of
               the incremental sampler, under XLA and in a plain graph, on one core and on two; medians of alternating
               rounds. Every sample is compared with the incremental one

Digits, MNIST and Python's standard library are there or prepared by TFDS; the CIFAR-10 subset is a file
cifar10_subset.npz of --data_dir.
"""

from __future__ import annotations

import functools
import json
import os
import pathlib
import statistics
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from absl import flags

from benchmarks import results, sampling, trained_models
from pipelines import command

_NAMES = ("digits", "made_mnist", "binary_mnist", "cifar10_subset", "text")
_LENGTH = 128  # of a text


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_list("models", list(_NAMES), "What is measured.")
    flags.DEFINE_list("cores", ["1", "2"], "Numbers of processors.")
    flags.DEFINE_list("modes", ["xla", "plain"], "Of xla and plain.")
    flags.DEFINE_integer("batch", 16, "Events drawn together.", lower_bound=1)
    flags.DEFINE_integer("events", 64, "Events whose passes are counted.", lower_bound=1)
    flags.DEFINE_integer("repeats", 3, "Rounds of which the medians are taken.", lower_bound=1)
    flags.DEFINE_string("folder", "runs/fixed_point", "Folder of the trained models.")
    flags.DEFINE_string("data_dir", None, "Folder of the data, see tfar.data.load.")
    flags.DEFINE_bool("tiny", False, "Models at a size that says nothing about speed, for tests.")
    flags.DEFINE_bool("measure", False, "Measure one model in this process and print JSON; for the command.")
    flags.DEFINE_string("json", None, "File to write the numbers to.")


def main() -> int:
    """Runs the command; returns the exit code."""
    values = flags.FLAGS
    unknown = sorted(set(values.models) - set(_NAMES))
    if unknown:
        raise ValueError(f"--models must be of {', '.join(_NAMES)}; got {', '.join(unknown)}")
    if values.measure:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(values.cores[0])])
        command.import_quietly()
        model = trained_models.trained(values.models[0], pathlib.Path(values.folder), values.data_dir, values.tiny)
        print(json.dumps(measure(model, values.batch, values.events, values.repeats, values.modes)))
        return 0
    command.import_quietly()
    for name in values.models:  # which all processes load
        trained_models.trained(name, pathlib.Path(values.folder), values.data_dir, values.tiny)
    measured: dict[str, Any] = {}
    for name in values.models:
        measured[name] = {cores: _in_a_process(name, cores) for cores in values.cores}
        for item in figures({name: measured[name]}).values():
            print(f"{item['what']}: {item['measured']}", flush=True)
    results.write(values.json, figures(measured), measured, quick=values.tiny)
    return 0


def _in_a_process(name: str, cores: str) -> dict[str, Any]:
    """Measures a model in a process of so many processors.

    Raises:
        ValueError: the process failed; the message is what it wrote last.
    """
    given = [argument for argument in sys.argv[1:] if not argument.startswith(("--models", "--cores", "--json"))]
    arguments = ["-m", "benchmarks.fixed_point", *given, "--measure", f"--models={name}", f"--cores={cores}"]
    run = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, cwd=results.ROOT)
    if run.returncode:
        raise ValueError(f"--models={name}: {(run.stderr.splitlines() or ['the process failed'])[-1]}")
    return json.loads(run.stdout.splitlines()[-1])


def measure(model: Any, batch: int, events: int, repeats: int, modes: list[str]) -> dict[str, Any]:
    """Counts passes and times samplers of one model.

    Args:
        model: trained.
        batch: events drawn together.
        events: events whose passes are counted, in batches.
        repeats: rounds.
        modes: of "xla" and "plain".
    """
    from tfar.sampling.fixed_point import block_size

    (stage,) = model.stages
    length = {"length": _LENGTH} if None in model.event_shape else {}
    positions = _LENGTH if length else model.event.num_positions
    units = positions // (stage.width * stage.event.groups)
    blocks = {"blocks": block_size(stage, units), "whole": units}
    blocks = {how: size for how, size in blocks.items() if how == "whole" or size < units}
    common: dict[str, Any] = {"seed": 0, "batch_size": batch, **length}
    if model.condition is not None:
        common["condition"] = np.zeros([], np.int32)

    def draw(jit_compile: bool, **options: Any) -> Any:
        x = model.sample(batch, jit_compile=jit_compile, **common, **options)
        return x if options.get("return_passes") else x.numpy()

    calls: dict[str, Callable[[], Any]] = {}
    for mode in modes:
        calls[f"incremental {mode}"] = functools.partial(draw, mode == "xla")
        for how, size in blocks.items():
            calls[f"{how} {mode}"] = functools.partial(draw, mode == "xla", method="fixed_point", block=size)
    expected: dict[str, np.ndarray] = {}
    counts: dict[str, np.ndarray] = {}
    for how, size in blocks.items():
        options = {"method": "fixed_point", "block": size, "return_passes": True, "jit_compile": modes[0] == "xla"}
        x, passes = model.sample(events, **common, **options)
        counts[how] = passes_alone(passes.settled, size * stage.width)
        expected[how] = x.numpy()[:batch]
    reference = calls[f"incremental {modes[0]}"]()
    rounds = sampling.alternate(calls, repeats)
    return {
        "class": type(model).__name__,
        "event_shape": list(model.event_shape),
        "num_parameters": model.count_params(),
        "positions": positions,
        "batch": batch,
        "events": events,
        "block_units": {how: size for how, size in blocks.items()},
        "unit": stage.unit,
        "seconds": {name: statistics.median(seconds) for name, seconds in rounds.items()},
        "passes_mean": {how: float(found.mean()) for how, found in counts.items()},
        "passes_largest": {how: int(found.max()) for how, found in counts.items()},
        "values_that_differ": {how: int((x != reference).sum()) for how, x in expected.items()},
    }


def passes_alone(settled: np.ndarray, cells: int) -> np.ndarray:
    """Returns the passes that every event takes when it is drawn alone, over all its blocks, [num].

    Args:
        settled: of `tfar.sampling.Passes`, in raster order.
        cells: of a block.

    Example:
        >>> passes_alone(np.array([[1, 2, 0, 1]]), 2), passes_alone(np.array([[1, 2, 3, 1]]), 4)
        (array([3]), array([4]))
    """
    sites = settled.reshape(len(settled), -1)
    per_cell = sites.shape[1] // int(np.prod(settled.shape[1:3])) if settled.ndim == 4 else 1
    blocks = [sites[:, begin : begin + cells * per_cell] for begin in range(0, sites.shape[1], cells * per_cell)]
    # A pass that changes the last site alone is the last one.
    alone = [np.maximum(block[:, :-1].max(1, initial=0) + 1, block[:, -1]) for block in blocks]
    return np.sum(alone, 0)


def figures(measured: dict[str, dict[str, dict[str, Any]]]) -> dict[str, results.Figure]:
    """Returns the figures of the models: passes, and times on every number of processors."""
    found = {}
    for name, by_cores in measured.items():
        of = next(iter(by_cores.values()))
        shape = " x ".join("any" if size is None else str(size) for size in of["event_shape"])
        what = f"{name}: {of['class']}, {shape}, {of['num_parameters']:,} weights"
        parts = [
            f"{of['passes_mean'][how]:.1f} (largest {of['passes_largest'][how]}) {_blocks(of, how)}"
            for how in of["passes_mean"]
        ]
        cell = f"{'; '.join(parts)}; {sum(of['values_that_differ'].values())} values differ"
        what_passes = f"passes for {of['positions']} positions, mean of {of['events']} events, {what}"
        found[f"fixed_point/{name}_passes"] = results.figure(what_passes, cell, of)
        for cores, result in by_cores.items():
            seconds = result["seconds"]
            times = []
            for mode in ("xla", "plain"):
                if f"incremental {mode}" in seconds:
                    base = seconds[f"incremental {mode}"]
                    others = [
                        f"{_blocks(of, how)} {_time(seconds[f'{how} {mode}'])} ({base / seconds[f'{how} {mode}']:.2g}x)"
                        for how in of["passes_mean"]
                    ]
                    times.append(
                        f"{'XLA' if mode == 'xla' else 'plain'}: {', '.join(others)}, incremental {_time(base)}"
                    )
            processors = "1 core" if cores == "1" else f"{cores} cores"
            found[f"fixed_point/{name}_{cores}"] = results.figure(
                f"{result['batch']} events on {processors}, {what}", "; ".join(times), result
            )
    return found


def _blocks(of: dict[str, Any], how: str) -> str:
    size, unit = of["block_units"][how], of["unit"]
    return "as one block" if how == "whole" else f"in blocks of {size} {unit}{'s' if size > 1 else ''}"


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{1e3 * seconds:.1f} ms"


if __name__ == "__main__":
    command.run(main, define_flags)
