"""Builds data and a model from a run configuration, and loads them from a work directory.

config.json       the configuration as it was resolved, the model's arguments with what the data decided
checkpoints/      see tfar.training.checkpoint
model.keras       averaged weights of the best checkpoint, for `tfar.models.load`
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import tfar
from pipelines import command
from tfar import data as data_lib
from tfar import training
from tfar.core.files import write_atomically
from tfar.data.transforms import resolve

Arrays = dict[str, np.ndarray]

_XLA_FROM = 64 * 784  # values


# === Data ===


def load_split(config: Mapping[str, Any], split: str) -> tuple[Arrays, data_lib.DataInfo]:
    """Loads a split as it is scored: random transforms are drawn once, from seed 0.

    Args:
        config: the run's configuration, as a dictionary.
        split: "train", "valid" or "test".
    """
    return _load(config, split, resolve(config["data"].get("transforms") or ()))


def load_batches(config: Mapping[str, Any]) -> tuple[data_lib.Batches | data_lib.WindowBatches, data_lib.DataInfo]:
    """Loads the training batches, random transforms drawn anew at every step, and the data's description.

    Batches of sequences are windows of `config.data.window` elements.
    """
    transforms, train = resolve(config["data"].get("transforms") or ()), config["train"]
    random = any(transform.random for transform in transforms)
    arrays, info = _load(config, "train", () if random else transforms)
    if info.is_sequence:
        window = config["data"].get("window")
        if not window:
            raise ValueError(
                f"config.data.window must be the length of training windows in {info.unit}s, got {window!r}"
            )
        return _windows(arrays, info, train, window), info
    batches = data_lib.Batches(
        arrays,
        train["batch_size"],
        seed=train["seed"],
        transforms=transforms if random else (),
        levels=info.levels,
    )
    return batches, dataclasses.replace(info, levels=batches.levels)


def _windows(arrays: Arrays, info: data_lib.DataInfo, train: Mapping[str, Any], window: int) -> data_lib.WindowBatches:
    try:
        return data_lib.WindowBatches(
            arrays, train["batch_size"], window, seed=train["seed"], contiguous=train["carry_state"], hop=info.hop or 1
        )
    except ValueError as error:
        raise ValueError(f"{info.name}, split {info.split!r} of {info.num_values} {info.unit}s: {error}") from None


def _load(config: Mapping[str, Any], split: str, transforms: Any) -> tuple[Arrays, data_lib.DataInfo]:
    options = {key: value for key, value in config["data"].items() if key not in ("name", "transforms", "window")}
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    return data_lib.load_arrays(
        config["data"]["name"], split, condition=config.get("condition"), transforms=transforms, **options
    )


# === Model ===


def resolve_model(config: Mapping[str, Any], info: data_lib.DataInfo) -> dict[str, Any]:
    """Returns the model's name and arguments, completed from the data, as JSON values for `build_model`.

    Args:
        config: the run's configuration.
        info: of the training data, after transforms.

    Raises:
        ValueError: the condition is of no kind that a model takes.
    """
    head = {key: value for key, value in config["head"].items() if value is not None}
    if head["name"] == "Categorical":
        if info.levels is None:
            raise ValueError(f"config.head.name=Categorical needs data with levels, {info.name!r} is continuous")
        head.setdefault("levels", info.levels)
    condition = None
    if info.condition is not None:
        shape = tuple(info.condition_shape or ())
        if shape == () and info.num_labels:
            condition = {"name": "Label", "num_labels": info.num_labels}
        elif len(shape) == 1:
            condition = {"name": "Vector", "size": shape[0]}
        elif info.hop is not None:
            condition = {"name": "Local", "channels": shape[1], "hop": info.hop}
        elif len(shape) == 3:
            condition = {"name": "Spatial", "channels": shape[2]}
        else:
            raise ValueError(f"config.condition must name labels, vectors or maps, got {info.condition!r} of {shape}")
    model = {key: value for key, value in config["model"].items() if value is not None}
    if info.vocabulary is not None and "vocabulary" in _parameters(model):
        model["vocabulary"] = info.vocabulary
    return {
        "model": model,
        "event_shape": list(info.event_shape),
        "head": head,
        "condition": condition,
    }


def _parameters(model: Mapping[str, Any]) -> Mapping[str, Any]:
    """Constructor arguments of the class that `config.model` names; none where the name is wrong."""
    cls = getattr(tfar.models, str(model.get("name")), None) or tfar.models.presets().get(model.get("preset", ""))
    return inspect.signature(cls).parameters if isinstance(cls, type) else {}


def build_model(resolved: Mapping[str, Any]) -> tfar.models.AutoregressiveModel:
    """Builds the model with new weights.

    Args:
        resolved: from `resolve_model`.

    Raises:
        ValueError: an unknown name or argument.
    """
    arguments = dict(resolved["model"])
    name, preset = arguments.pop("name", None), arguments.pop("preset", None)
    arguments["event_shape"] = tuple(resolved["event_shape"])
    arguments["head"] = _named("head", tfar.heads, resolved["head"])
    if resolved["condition"] is not None:
        arguments["condition"] = _named("condition", tfar.conditions, resolved["condition"])
    if preset:
        return tfar.models.from_preset(preset, **arguments)
    return _named("model", tfar.models, {"name": name, **arguments})


def _named(what: str, module: Any, description: Mapping[str, Any]) -> Any:
    """Calls the class that a module exports under a name with the other entries."""
    arguments = dict(description)
    name = arguments.pop("name")
    cls = getattr(module, str(name), None)
    if not isinstance(cls, type):
        names = [member for member in dir(module) if isinstance(getattr(module, member), type)]
        raise ValueError(f"config.{what}.name must be one of {', '.join(names)}, got {name!r}")
    try:
        return cls(**arguments)
    except TypeError as error:
        raise ValueError(f"config.{what} does not fit {name}: {error}") from error


def fingerprint(resolved: Mapping[str, Any]) -> str:
    """16 hexadecimal digits that stand for an architecture."""
    return hashlib.sha256(json.dumps(resolved, sort_keys=True).encode()).hexdigest()[:16]


# === The directory ===


def write_config(workdir: pathlib.Path, config: Mapping[str, Any], resolved: Mapping[str, Any]) -> list[str]:
    """Writes config.json, unless the directory holds a run of another architecture or of other data.

    Returns:
        The settings that differ from those that the directory's run began with, "train.steps: 100 -> 200".

    Raises:
        ValueError: the directory belongs to another run.
    """
    record = json.loads(json.dumps({"config": config, "resolved": resolved, "version": tfar.__version__}))
    path, changes = workdir / "config.json", []
    if path.exists():
        old = read_config(workdir)
        for what in ("resolved", "config"):
            for key, before, after in _differences(old[what], record[what]):
                if what == "resolved" or key.partition(".")[0] in ("data", "condition") or key in _STREAM:
                    raise ValueError(
                        f"{workdir} holds another run: {key} is {before!r} there and {after!r} now; use the old value, "
                        "another --workdir, or delete the directory"
                    )
                if key.partition(".")[0] == "train":
                    changes.append(f"{key}: {before!r} -> {after!r}")
    write_atomically(path, (json.dumps(record, indent=2) + "\n").encode())
    return changes


# Settings that decide which batches a step sees.
_STREAM = ("train.seed", "train.batch_size", "train.carry_state")


def read_config(workdir: pathlib.Path) -> dict[str, Any]:
    """{"config", "resolved"} of a work directory.

    Raises:
        ValueError: there is none, or the file is damaged.
    """
    path = command.check_workdir(workdir)
    try:
        record = json.loads(path.read_text())
        return {"config": record["config"], "resolved": record["resolved"]}
    except (ValueError, KeyError) as error:
        raise ValueError(f"{path} is damaged ({error}); delete it and start the training command again") from error


def _differences(old: Any, new: Any, prefix: str = "") -> list[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for key in sorted({*old, *new}):
            found += _differences(old.get(key), new.get(key), f"{prefix}.{key}" if prefix else key)
        return found
    return [] if old == new else [(prefix, old, new)]


@dataclasses.dataclass
class Run:
    """A trained model and where it comes from.

    Attributes:
        model: with the weights asked for.
        config: the run's configuration.
        resolved: the arguments of `build_model`.
        step: of the checkpoint.
        state: JSON values of the checkpoint.
        weights: "averaged" or "raw".
    """

    model: tfar.models.AutoregressiveModel
    config: dict[str, Any]
    resolved: dict[str, Any]
    step: int
    state: dict[str, Any]
    weights: str


def load_run(workdir: str | pathlib.Path, weights: str = "ema", model: Any = None) -> Run:
    """Loads the model of a work directory with the weights of its best checkpoint.

    Args:
        workdir: written by `pipelines.train`.
        weights: "ema" (averaged) or "raw".
        model: the run's model, where there is one that is compiled already; it gets the weights.

    Raises:
        ValueError: no run there, a damaged checkpoint, another architecture.
        FileNotFoundError: no checkpoint yet.
    """
    workdir = pathlib.Path(workdir)
    record = read_config(workdir)
    checkpoints = training.Checkpoints(workdir / "checkpoints")
    checkpoint = checkpoints.load_best()
    model = build_model(record["resolved"]) if model is None else model
    step = checkpoint.state["step"]
    training.restore_weights(model, checkpoint, checkpoints.path(step), averaged=weights == "ema")
    name = "averaged" if weights == "ema" else "raw"
    return Run(model, record["config"], record["resolved"], step, checkpoint.state, name)


def worth_compiling(num: int, event_shape: Sequence[int]) -> bool:
    """Returns whether to draw so many images under XLA: compiling takes 10 seconds or more, so it pays for many."""
    return num * math.prod(event_shape) >= _XLA_FROM
