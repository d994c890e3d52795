"""Reads config.json of a work directory, and compares it with a new run, without TensorFlow.

config      the run's configuration
resolved    the model's arguments, with what the data decided
data        fingerprints of the splits that the run began with
version     of tfar
"""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from pipelines import program

# Settings that decide which batches a step sees.
_STREAM = ("train.seed", "train.batch_size", "train.carry_state")


def path_of(workdir: str | os.PathLike, flag: str = "workdir") -> pathlib.Path:
    """Returns the path of config.json in a work directory.

    Args:
        workdir: of the run.
        flag: the flag that named it, for the error.

    Raises:
        ValueError: there is none.
    """
    path = pathlib.Path(workdir) / "config.json"
    if not path.is_file():
        raise ValueError(f"--{flag}={workdir} holds no run (no config.json); train first: {program.typed('train')}")
    return path


def read_config(workdir: str | os.PathLike, flag: str = "workdir") -> dict[str, Any]:
    """Returns {"config", "resolved", "data"} of a work directory; "data" is empty in runs of earlier versions.

    Args:
        workdir: of the run.
        flag: the flag that named it, for errors.

    Raises:
        ValueError: there is none, or the file is damaged.
    """
    path = path_of(workdir, flag)
    try:
        record = json.loads(path.read_text())
        return {"config": record["config"], "resolved": record["resolved"], "data": record.get("data", {})}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged ({error}); delete it and start the training command again") from error


def compare(workdir: str | os.PathLike, record: Mapping[str, Any]) -> list[str]:
    """Compares what a run is to be with the run that its work directory holds, if there is one.

    Args:
        workdir: of the run.
        record: {"config", "resolved", "data"}, JSON values.

    Returns:
        The settings that differ from those that the directory's run began with, "train.steps: 100 -> 200".

    Raises:
        ValueError: the directory belongs to a run of another architecture, of other settings of the data, or of other
            data under the same name.
    """
    workdir, changes = pathlib.Path(workdir), []
    if not (workdir / "config.json").exists():
        return []
    old = read_config(workdir)
    way = "another --workdir, or delete the directory"
    for what in ("resolved", "config"):
        for key, before, after in _differences(old[what], record[what]):
            if what == "resolved" or key.partition(".")[0] in ("data", "condition") or key in _STREAM:
                raise ValueError(
                    f"{workdir} holds another run: {key} is {before!r} there and {after!r} now; "
                    f"use the old value, {way}"
                )
            if key.partition(".")[0] == "train":
                changes.append(f"{key}: {before!r} -> {after!r}")
    for split, before in old["data"].items():
        after = record["data"].get(split, before)
        check_data(split, record["config"]["data"]["name"], before, after, str(workdir), way)
    return changes


def check_data(split: str, name: str, before: str, after: str, where: str, way: str = "train anew") -> None:
    """Compares the fingerprint of a split with the one that a run began with.

    Args:
        split: "train", "valid" or "test".
        name: of the data.
        before: the fingerprint that the run began with.
        after: the fingerprint now.
        where: the work directory, for the error.
        way: another way out, for the error.

    Raises:
        ValueError: they differ; both are named.
    """
    if after != before:
        raise ValueError(
            f"{where} holds a run on other data: the {split} split of {name!r} had the fingerprint {before} when it "
            f"began, and has {after} now; use the old data, {way}"
        )


def _differences(old: Any, new: Any, prefix: str = "") -> list[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for key in sorted({*old, *new}):
            found += _differences(old.get(key), new.get(key), f"{prefix}.{key}" if prefix else key)
        return found
    return [] if old == new else [(prefix, old, new)]
