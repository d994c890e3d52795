"""Figures as JSON, and the tables of README.md and docs/results.md that are made of them.

Every benchmark writes the same form with `--json=FILE`:

    {"figures": {NAME: {"what": ..., "measured": ..., "target": ..., "values": {...},
                        "command": ..., "commit": ..., "machine": ..., "date": ..., "quick": false}},
     "details": everything that the benchmark measured}

NAME is AREA/KEY; an area is a table of docs/results.md. "measured" is the text of the table's cell, "values" has the
same figures as numbers. `benchmarks.all` merges these files into docs/results.json. Figures that no benchmark makes
again (trainings, other machines) stand there with the command, commit and machine that were noted with them.
"""

from __future__ import annotations

import datetime
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
Figure = dict[str, Any]
BEGIN, END = "<!-- {} of docs/results.json: written by benchmarks.all -->", "<!-- end -->"
# The README's table, in this order.
README = (
    "training/make_train",
    "likelihoods/digits",
    "sampling/gated_pixel_cnn",
    "sampling/made",
    "fixed_point/made_mnist_passes",
    "likelihoods/made",
    "likelihoods/tinyshakespeare",
    "sampling/pixel_cnn_pp",
    "peers/sample",
    "sampling/pixel_rnn_row",
    "sampling/pixel_rnn_diagonal",
    "likelihoods/cifar10_subset",
    "first_call/pixel_cnn_pp_cifar10",
    "gpu/sample_pixel_cnn_pp_cifar10",
    "serving/load",
    "sampling/wavenet",
    "sampling/causal_transformer",
)


def figure(what: str, measured: str, values: dict[str, Any], target: str = "") -> Figure:
    """Returns a figure: its name in the table, the text of the cell, the numbers in it, and the aim."""
    return {"what": what, "measured": measured, "target": target, "values": values}


def write(path: str | os.PathLike | None, figures: dict[str, Figure], details: Any, quick: bool = False) -> None:
    """Writes the figures of a benchmark, if a file is named.

    Args:
        path: file; None writes nothing.
        figures: by AREA/KEY, from `figure`.
        details: all that was measured, JSON values.
        quick: whether models or rounds were too small to say anything about speed.
    """
    if path is None:
        return
    origin = {**made_by(), "quick": quick}
    dump(path, {"figures": {name: {**item, **origin} for name, item in figures.items()}, "details": details})
    print(f"written: {path}", file=sys.stderr)


def dump(path: str | os.PathLike, value: Any) -> None:
    """Writes a JSON file whole."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")  # tfar's own function would import TensorFlow, which takes seconds
    temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(path)


def load(path: str | os.PathLike) -> dict[str, Figure]:
    """Reads the figures of a file by name; a missing file has none."""
    path = pathlib.Path(path)
    return json.loads(path.read_text(encoding="utf-8"))["figures"] if path.exists() else {}


def made_by() -> dict[str, str]:
    """Returns the command of this process, the commit, the machine and the date."""
    spec = sys.modules["__main__"].__spec__
    module = spec.name if spec else sys.argv[0]
    arguments = [argument for argument in sys.argv[1:] if not argument.startswith(("--json", "--folder"))]
    return {
        "command": " ".join(["python -m", module, *arguments]),
        "commit": commit(),
        "machine": machine(),
        "date": datetime.date.today().isoformat(),
    }


def commit() -> str:
    """Returns the commit of the checkout, with "+" where files differ from it; "unknown" outside of a repository."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    try:
        # The pages and the figures themselves change while they are made.
        changed = git("status", "--porcelain", "-uno", "--", ".", ":!README.md", ":!docs")
        return git("rev-parse", "--short=7", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def machine() -> str:
    """Returns the names of the processor, its widest vector instructions, its cores and the GPU."""
    name, vectors = platform.processor() or platform.machine(), ""
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                name = value.strip()
            elif key.strip() == "flags":
                known = value.split()
                vectors = next((wide.upper() for wide in ("avx512f", "avx2") if wide in known), "")
    except OSError:
        pass
    gpu = "no GPU"
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        found = subprocess.run(query, capture_output=True, text=True, check=False).stdout.splitlines()
        gpu = found[0].strip() if found else gpu
    return ", ".join(filter(None, [name, vectors, f"{os.cpu_count()} cores", gpu]))


def table(figures: dict[str, Figure], area: str) -> str:
    """Returns the table of an area of docs/results.md, in Markdown."""
    chosen = [item for name, item in figures.items() if name.split("/")[0] == area]
    origins = [_origin(item) for item in chosen]
    # An origin that all figures share stands above the table.
    columns = {
        "what": [item["what"] for item in chosen],
        "aim": [item["target"] for item in chosen],
        "measured": [item["measured"] for item in chosen],
        "command; commit, machine, date": origins if len(set(origins)) > 1 else [],
    }
    shown = {name: cells for name, cells in columns.items() if any(cells)}
    made = _markdown([list(shown), *(list(row) for row in zip(*shown.values(), strict=True))])
    return made if len(set(origins)) > 1 else f"{origins[0]}:\n\n{made}"


def _origin(item: Figure) -> str:
    made = ", ".join(filter(None, [item["commit"], item["machine"], item["date"]]))
    return "; ".join(filter(None, [f"`{item['command']}`" if item["command"] else "", made]))


def readme_table(figures: dict[str, Figure]) -> str:
    """Returns the table of README.md, in Markdown."""
    return _markdown([["what", "measured"], *([figures[name]["what"], figures[name]["measured"]] for name in README)])


def _markdown(rows: list[list[str]]) -> str:
    header, *body = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([header, "|" + "---|" * len(rows[0]), *body])


def areas(page: str) -> list[str]:
    """Returns the areas for which a page has a marker."""
    begin, end = BEGIN.split("{}")
    return [line[len(begin) : -len(end)] for line in page.splitlines() if line.startswith(begin) and line.endswith(end)]


def render(page: str, figures: dict[str, Figure]) -> str:
    """Makes the tables of a page anew, between their markers.

    Raises:
        ValueError: a marker has no end, or an area has no figures, or only a quick run made a figure.
    """
    for area in areas(page):
        begin = BEGIN.format(area)
        names = README if area == "README" else [name for name in figures if name.split("/")[0] == area]
        quick = [name for name in names if figures[name]["quick"]]
        if not names or quick:
            raise ValueError(f"the area {area} needs figures of a whole run, got {quick or 'none'}")
        before, rest = page.split(begin, 1)
        if END not in rest:
            raise ValueError(f"the page needs {END} behind {begin}")
        made = readme_table(figures) if area == "README" else table(figures, area)
        page = f"{before}{begin}\n\n{made}\n\n{END}{rest.split(END, 1)[1]}"
    return page
