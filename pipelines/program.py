"""The commands by their names, and how the user calls them: `tfar train`, or `python -m pipelines.train`.

Imports the standard library alone: an environment of the client has nothing else.
"""

from __future__ import annotations

import itertools
import os
import shlex
import sys
from collections.abc import Sequence
from typing import NamedTuple


class Command(NamedTuple):
    """A command: its module and what it does."""

    module: str
    help: str


COMMANDS = {
    "train": Command("pipelines.train", "train a model, score it, write a report (digits into runs/digits)"),
    "evaluate": Command("pipelines.evaluate", "score a trained model on every example of a split"),
    "sample": Command("pipelines.sample", "draw samples of a trained model, or from a server"),
    "export": Command("export", "write a trained model as a SavedModel or a LiteRT file"),
    "serve": Command("pipelines.serve", "serve exported models locally, as TensorFlow Serving does"),
    "client": Command("export.client", "show what a server serves, call it"),
}


def typed(name: str, flags: Sequence[str] = ()) -> str:
    """Returns what to type for a command, in the way in which this program was started.

    Args:
        name: one of `COMMANDS`.
        flags: what follows it; quoted for a shell.

    Example:
        >>> typed("train", ["--workdir=a b"])
        "python -m pipelines.train '--workdir=a b'"
    """
    start = ["tfar", name] if _by_tfar(sys.orig_argv) else ["python", "-m", COMMANDS[name].module]
    return shlex.join([*start, *flags])


def _by_tfar(arguments: Sequence[str]) -> bool:
    """Whether Python was started with the console script, or with the module behind it.

    Args:
        arguments: of the interpreter; those of the program change while commands run.
    """
    if any(os.path.basename(argument) in ("tfar", "tfar.exe") for argument in arguments[:2]):
        return True
    return any(pair == ("-m", "pipelines") for pair in itertools.pairwise(arguments[:-1]))
