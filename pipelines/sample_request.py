"""Checks the flags of `pipelines.sample`, alike for samples that are drawn here and by a server."""

from __future__ import annotations

import math
import os
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import flags

from pipelines import command

# Defaults of --num, --length and --out; text goes to the terminal.
NUM = {"image": 16, "text": 1, "audio": 1}
TEXT_LENGTH = 500
OUT = {"image": "samples.png", "text": None, "audio": "samples.wav"}
SUFFIX = {"image": ".png", "text": ".txt", "audio": ".wav"}

# Characters of a vocabulary that an error shows.
_SHOWN = 60


def check_flags(record: Mapping[str, Any], kind: str) -> tuple[int, str | None]:
    """Checks the flags against a run's configuration, before TensorFlow is loaded; returns --num and --out.

    Args:
        record: of config.json.
        kind: from `kind_of`.

    Raises:
        ValueError: a flag does not suit the run, or is out of range.
    """
    values = flags.FLAGS
    refuse_others(kind)
    num = NUM[kind] if values.num is None else values.num
    out = OUT[kind] if values.out is None else values.out
    check(num, values.temperature, values.seed, out, SUFFIX[kind])
    command.check_out("out", out)
    check_label(values.label, record, values.workdir)
    if kind == "text":
        check_prompt(values.prompt, record["resolved"]["model"].get("vocabulary"))
        if values.beam_width is not None and num > values.beam_width:
            raise ValueError(f"--beam_width must be at least the number of texts, {num}, got {values.beam_width}")
        if values.top_p is not None and not 0 < values.top_p <= 1:
            raise ValueError(f"--top_p must lie in 0 to 1, 0 excluded, got {values.top_p}")
    return num, out


def kind_of(record: Mapping[str, Any]) -> str:
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


def check_label(label: int | None, record: Mapping[str, Any], workdir: str | os.PathLike) -> None:
    """Raises ValueError for a label that the run's model does not take."""
    condition = record["resolved"]["condition"]
    if label is None:
        return
    if condition is None or condition["name"] != "Label":
        raise ValueError(f"--label={label} was given, but the model in {workdir} has no Label condition; leave it out")
    if not 0 <= label < condition["num_labels"]:
        raise ValueError(f"--label must lie in 0 to {condition['num_labels'] - 1}, got {label}")


def check_prompt(prompt: str, vocabulary: Sequence[str] | None) -> None:
    """Raises ValueError for a prompt with characters that a text model does not know; bytes know all."""
    if vocabulary is not None:
        unknown = sorted(set(prompt) - set(vocabulary))
        if unknown:
            raise ValueError(
                f"--prompt holds {', '.join(map(repr, unknown))}, not among the {len(vocabulary)} characters that the "
                f"model knows: {''.join(vocabulary)[:_SHOWN]!r}{' ...' if len(vocabulary) > _SHOWN else ''}"
            )


def check_length(length: int, prompt: int, model: Any) -> None:
    """Raises ValueError for a text that is longer than the model knows positions; `prompt` counts its symbols."""
    longest = model.longest_event
    if longest is not None and prompt + length > longest:
        raise ValueError(
            f"--length must be at most {max(longest - prompt, 0)} for this {type(model).__name__}, which knows "
            f"{longest} positions, {prompt} of them for the prompt, got {length}"
        )


def conditions_of(workdir: str, record: dict[str, Any], label: int | None, num: int) -> Any:
    """Returns the conditions [num, ...] of the samples, or None."""
    condition = record["resolved"]["condition"]
    check_label(label, record, workdir)
    if condition is None:
        return None
    if condition["name"] == "Label":
        if label is None:
            return np.arange(num, dtype=np.int32) % condition["num_labels"]
        return np.full([num], label, np.int32)
    from pipelines import workdir as runs

    arrays, _ = runs.load_split(record["config"], "test")
    print("the conditions are those of the first test examples, in order", file=sys.stderr)
    return arrays["condition"][np.arange(num) % len(arrays["condition"])]
