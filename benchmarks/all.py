"""Runs the benchmarks, keeps their figures in one file, and writes them into the tables of the pages.

    python -m benchmarks.all [--json=docs/results.json] [--parts=sampling,positions,...] [--write] [--quick]

    sampling     ten models: cost of a sample in forward passes, against naive sampling       (11 minutes)
    positions    examples of a batch at positions of their own                                (1 minute)
    memory       of a training step, with the options that save some                          (2 minutes)
    serving      the local server: overhead, calls at once, load, replicas, versions          (5 minutes)
    first_call   of a first and of a second process, with the cache on disk                   (5 minutes)

Only where named in --parts:

    peers        PixelCNN++ against TensorFlow Probability's                                  (5 minutes)
    fixed_point  passes and time of fixed-point sampling, drafts, forecasts; trains models    (40 minutes)
    made         test likelihoods of MADE; its data sets lie in ../shared/data/made           (1 minute)
    attack       the local server under attack, beside a quiet client                         (3 minutes)
    gpu          `benchmarks.gpu_check`, on a machine with a GPU                              (15 minutes)

The times are estimates for two cores with nothing else to do. Each benchmark is a process of its own, whose command is
noted with its figures. They are merged into the file as soon as it ends, so the same command goes on after an
interruption: commands whose figures are there, of this commit and machine, do not run again (`--again` runs them).
Figures of the file that no benchmark makes stay. `--write` then makes the tables of README.md and docs/results.md from
the file; `--parts= --write` does nothing else. `--quick` takes tiny models and one round, to see that everything runs;
such figures go to another file and into no table.

`benchmarks.against` compares with another checkout, and is a command of its own.
"""

from __future__ import annotations

import pathlib
import subprocess
import sys
import tempfile
import time

from absl import flags

from benchmarks import results, sampling_figures
from pipelines import command

_TRAINED = ("digits", "made_mnist", "binary_mnist", "cifar10_subset", "text")

# Commands of each part, and what `--quick` adds to them: of a flag given twice the last one counts.
PARTS: dict[str, list[tuple[str, str]]] = {
    "sampling": [(f"sampling --model={name} --repeats=5", "--tiny --repeats=1") for name in sampling_figures.MODELS],
    "positions": [("positions", "--tiny --repeats=1 --batch=4")],
    "memory": [
        ("memory --preset=pixel_snail_small --batches=16", "--preset=pixel_snail_tiny --batches=1"),
        ("memory --preset=image_transformer_small --batches=16", "--preset=image_transformer_tiny --batches=1"),
    ],
    "serving": [("serving", "--tiny --seconds=2 --clients=4 --references=8 --repeats=1 --nobatch_calls")],
    "first_call": [
        ("first_call --model=gated_pixel_cnn", "--tiny"),
        ("first_call --model=pixel_cnn_pp", "--tiny"),
        ("first_call --model=pixel_cnn_pp_cifar10", "--tiny --model=gated_pixel_cnn_tiny"),
    ],
    "peers": [("peers", "--tiny --repeats=1 --batch=2")],
    "made": [("made_datasets", "--datasets=nips")],
    "attack": [("attack", "--tiny --requests=100 --seconds=1")],
    "fixed_point": [
        *((f"fixed_point --models={name}", "--tiny --cores=1 --modes=plain --events=4") for name in _TRAINED),
        ("drafts", "--tiny --modes=plain --batches=1 --steps=2"),
    ],
    "gpu": [("gpu_check --seconds=900", "--rehearse")],
}
DEFAULT_PARTS = ("sampling", "positions", "memory", "serving", "first_call")
_FIGURES, _QUICK_FIGURES = "docs/results.json", "runs/bench/quick.json"
PAGES = ("README.md", "docs/results.md")


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("json", None, f"File of the figures; {_FIGURES}, with --quick {_QUICK_FIGURES}.")
    flags.DEFINE_list("parts", list(DEFAULT_PARTS), f"Of {', '.join(PARTS)}; none where empty.")
    flags.DEFINE_bool("quick", False, "Tiny models, to see that everything runs.")
    flags.DEFINE_bool("again", False, "Measure what is there already, too.")
    flags.DEFINE_bool("write", False, "Make the tables of the pages from the file.")


def main() -> int:
    """Runs the command; returns the exit code."""
    values = flags.FLAGS
    unknown = sorted(set(values.parts) - set(PARTS))
    if unknown:
        raise ValueError(f"--parts must be of {', '.join(PARTS)}; got {', '.join(unknown)}")
    if values.quick and values.write:
        raise ValueError("--write takes figures of a whole run, not of --quick")
    path = pathlib.Path(values.json or (_QUICK_FIGURES if values.quick else _FIGURES))
    if values.quick and any(not item["quick"] for item in results.load(path).values()):
        raise ValueError(f"--quick needs a file of its own, but --json={path} has figures of a whole run")
    commands = [
        f"python -m benchmarks.{line}{' ' + quick if values.quick else ''}"
        for part in values.parts
        for line, quick in PARTS[part]
    ]
    failed = run(commands, path, values.again)
    for line in failed:
        print(f"FAILED {line}", file=sys.stderr)
    if values.write:
        figures = results.load(path)
        for name in PAGES:
            page = results.ROOT / name
            page.write_text(results.render(page.read_text(encoding="utf-8"), figures), encoding="utf-8")
            print(f"written: {name}", file=sys.stderr)
    return 1 if failed else 0


def run(commands: list[str], path: pathlib.Path, again: bool = False) -> list[str]:
    """Runs commands one after the other and merges their figures into a file.

    Args:
        commands: each `python -m benchmarks.NAME FLAGS`.
        path: file of the figures.
        again: run commands whose figures are there, too.

    Returns:
        The commands that failed; their figures are not taken.
    """
    failed = []
    here = {"commit": results.commit(), "machine": results.machine()}
    for number, line in enumerate(commands, 1):
        known = results.load(path)
        if not again and any(here.items() <= item.items() and item["command"] == line for item in known.values()):
            print(f"[{number}/{len(commands)}] is there: {line}", flush=True)
            continue
        print(f"[{number}/{len(commands)}] {line}", flush=True)
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "figures.json"
            code = subprocess.run(
                [sys.executable, *line.split()[1:], f"--json={file}"], cwd=results.ROOT, check=False
            ).returncode
            if code or not file.exists():
                failed.append(line)
            else:
                # A figure keeps its place in the tables.
                results.dump(path, {"figures": {**results.load(path), **results.load(file)}})
        print(f"[{number}/{len(commands)}] {time.monotonic() - began:.0f} s\n", flush=True)
    return failed


if __name__ == "__main__":
    command.run(main, define_flags)
