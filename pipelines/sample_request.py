"""What `pipelines.sample` is asked for, checked the same way whether a run of this machine or a server draws it."""

from __future__ import annotations

import math
import pathlib
import sys
from typing import Any

import numpy as np
from absl import flags

# Defaults of --num, --length and --out; text goes to the terminal.
NUM = {"image": 16, "text": 1, "audio": 1}
TEXT_LENGTH = 500
OUT = {"image": "samples.png", "text": None, "audio": "samples.wav"}


def kind_of(record: dict[str, Any]) -> str:
    """Returns the kind of data of a run: "image", "text" or "audio"."""
    if record["resolved"]["event_shape"] != [None]:
        return "image"
    return "text" if record["config"]["data"]["name"].partition(":")[0] == "text" else "audio"


def refuse_others(kind: str) -> None:
    """Raises ValueError for a flag that has no meaning for the run's kind of data."""
    meant = {
        "image": ("columns", "batch_size"),
        "text": ("prompt", "length", "top_k", "top_p", "beam_width"),
        "audio": ("length", "batch_size"),
    }
    for name in sorted({name for names in meant.values() for name in names} - set(meant[kind])):
        if flags.FLAGS[name].present:
            kinds = " or ".join(other for other, names in meant.items() if name in names)
            raise ValueError(f"--{name} is for runs of {kinds}, --workdir={flags.FLAGS.workdir} is one of {kind}")


def check(num: int, temperature: float, seed: int, out: str | None = None, suffix: str = "") -> None:
    """Raises ValueError for mistakes that the arguments alone show."""
    if num < 1:
        raise ValueError(f"--num must be at least 1, got {num}")
    if not (temperature > 0 and math.isfinite(temperature)):
        raise ValueError(f"--temperature must be a positive number, got {temperature}")
    if seed < 0:
        raise ValueError(f"--seed must be at least 0, got {seed}")
    if out is not None and pathlib.Path(out).suffix.lower() != suffix:
        raise ValueError(f"--out must end in {suffix}, got {out}")


def conditions_of(workdir: str, record: dict[str, Any], label: int | None, num: int) -> Any:
    """Conditions [num, ...] of the samples, or None."""
    condition = record["resolved"]["condition"]
    is_label = condition is not None and condition["name"] == "Label"
    if label is not None and not is_label:
        raise ValueError(f"--label={label} was given, but the model in {workdir} has no Label condition; leave it out")
    if condition is None:
        return None
    if is_label:
        num_labels = condition["num_labels"]
        if label is None:
            return np.arange(num, dtype=np.int32) % num_labels
        if not 0 <= label < num_labels:
            raise ValueError(f"--label must lie in 0 to {num_labels - 1}, got {label}")
        return np.full([num], label, np.int32)
    from pipelines import workdir as runs

    arrays, _ = runs.load_split(record["config"], "test")
    print("the conditions are those of the first test examples, in order", file=sys.stderr)
    return arrays["condition"][np.arange(num) % len(arrays["condition"])]
