"""What a run draws at its evaluations, kept in its work directory until the report shows how it came about.

evaluations/step-00000100.png     a row of samples, always from the same seeds
evaluations/step-00000100.txt     the beginning of a text
"""

from __future__ import annotations

import html
import json
import pathlib
import re
from collections.abc import Callable

import numpy as np

from tfar.core.files import remove_temporary as remove_temporary_files
from tfar.core.files import write_atomically
from tfar.training import duration

FOLDER = "evaluations"
_NAME = re.compile(r"step-(\d+)\.(png|txt)")
_SHOWN = 6


def keep(workdir: pathlib.Path, step: int, data: bytes, kind: str) -> None:
    """Writes what was drawn at a step.

    Args:
        workdir: of the run.
        step: at which it was drawn.
        data: content of the file.
        kind: "png" or "txt".
    """
    write_atomically(workdir / FOLDER / f"step-{step:08d}.{kind}", data)


def remove_temporary(workdir: pathlib.Path) -> None:
    """Removes files that a killed run was about to write; call it while the directory is locked."""
    remove_temporary_files(workdir / FOLDER, _NAME.pattern)


def kept(workdir: pathlib.Path, last: int, most: int = _SHOWN) -> list[tuple[int, pathlib.Path]]:
    """Returns steps and files, the first and the last ones among them.

    Args:
        workdir: of the run.
        last: step at which the run ended; files of later steps are of an earlier run.
        most: number of files, spread evenly over the steps.
    """
    folder = workdir / FOLDER
    names = [_NAME.fullmatch(path.name) for path in sorted(folder.iterdir())] if folder.is_dir() else []
    found = [(int(name[1]), folder / name[0]) for name in names if name and int(name[1]) <= last]
    places = sorted({round(place) for place in np.linspace(0, len(found) - 1, most)}) if found else []
    return [found[place] for place in places]


def clock(workdir: pathlib.Path) -> Callable[[float], float]:
    """Returns the seconds of training and validation at a step, of all processes that took part in the run."""
    path = workdir / "timings.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    steps, seconds = ([0.0, *(float(line[key]) for line in lines)] for key in ("step", "seconds"))
    return lambda step: float(np.interp(step, steps, seconds))


def section(workdir: pathlib.Path, last: int, show: Callable[[pathlib.Path], str]) -> str:
    """Returns HTML of samples over time; empty where none were kept.

    Args:
        workdir: of the run.
        last: step at which the run ended.
        show: makes HTML of a file.
    """
    files, seconds = kept(workdir, last), clock(workdir)
    if not files:
        return ""
    figures = "".join(
        f"<figure>{show(path)}\n<figcaption>step {step}, {html.escape(duration(seconds(step)))}</figcaption></figure>\n"
        for step, path in files
    )
    return f"""<section><h2>Samples over time</h2>
{figures}<p class="quiet">From the same seeds at every evaluation, with the averaged weights of that step.</p></section>
"""
