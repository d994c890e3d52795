"""Builds data and a model from a run configuration, and loads them from a work directory.

config.json       the configuration as it was resolved, the model's arguments with what the data decided
checkpoints/      see tfar.training.checkpoint
model.keras       averaged weights of the best checkpoint, for `tfar.models.load`
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import inspect
import json
import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import tfar
from pipelines import evaluations
from pipelines.record import check_data, read_config
from tfar import data as data_lib
from tfar import training
from tfar.core.files import remove_temporary as remove_temporary_files
from tfar.core.files import write_atomically
from tfar.data.transforms import resolve
from tfar.models.density import Density

Arrays = dict[str, np.ndarray]

_XLA_FROM = 64 * 784  # values

# model.keras while it is written.
UNFINISHED_MODEL = ".model.tmp.keras"


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


def fingerprints(config: Mapping[str, Any], *known: data_lib.DataInfo) -> dict[str, str]:
    """Returns the fingerprints of all splits, before transforms: a run learns from, stops by and is scored on them.

    Args:
        config: the run's configuration.
        *known: descriptions of splits that have been read; the others are read here.
    """
    found = {info.split: info.fingerprint for info in known}
    return {split: found.get(split) or _load(config, split, ())[1].fingerprint for split in ("train", "valid", "test")}


def _windows(arrays: Arrays, info: data_lib.DataInfo, train: Mapping[str, Any], window: int) -> data_lib.WindowBatches:
    try:
        return data_lib.WindowBatches(
            arrays, train["batch_size"], window, seed=train["seed"], contiguous=train["carry_state"], hop=info.hop or 1
        )
    except ValueError as error:
        raise ValueError(f"{info.name}, split {info.split!r} of {info.num_values} {info.unit}s: {error}") from None


def _load(config: Mapping[str, Any], split: str, transforms: Any) -> tuple[Arrays, data_lib.DataInfo]:
    others = ("name", "transforms", "window")
    options = {key: value for key, value in config["data"].items() if key not in others and value is not None}
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    if isinstance(options.get("size"), tuple) and len(options["size"]) == 1:
        (options["size"],) = options["size"]  # --config.data.size=32
    try:
        return data_lib.load_arrays(
            config["data"]["name"], split, condition=config.get("condition"), transforms=transforms, **options
        )
    except ValueError as error:
        raise ValueError(_with_flag(str(error), config["data"])) from error


def _with_flag(message: str, settings: Mapping[str, Any]) -> str:
    """Replaces the argument of `load_arrays` that an error begins with by the name of its flag."""
    argument = message.replace("=", " ").partition(" ")[0]
    if argument == "condition":
        return f"config.{message}; --config.condition=none trains without one"
    return f"config.data.{message}" if argument in settings else message


# === Model ===


def check_names(config: Mapping[str, Any]) -> None:
    """Raises ValueError for a head or a model that does not exist: data may take long to load."""
    _class_of("head", config["head"].get("name"))
    if not config["model"].get("preset"):
        _class_of("model", config["model"].get("name"))


def resolve_model(config: Mapping[str, Any], info: data_lib.DataInfo) -> dict[str, Any]:
    """Returns the model's name and arguments, completed from the data, as JSON values for `build_model`.

    Args:
        config: the run's configuration.
        info: of the training data, after transforms.

    Raises:
        ValueError: the condition is of no kind that a model takes.
    """
    head = {key: value for key, value in config["head"].items() if value is not None}
    if "levels" in inspect.signature(_class_of("head", head.get("name"))).parameters and "levels" not in head:
        if info.levels is None:
            raise ValueError(f"config.head.name={head['name']} needs data with levels, {info.name!r} is continuous")
        head["levels"] = info.levels
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
    """Constructor arguments of the class that `config.model` names; of its preset, where that is named."""
    name, preset = model.get("name"), model.get("preset")
    cls = tfar.models.presets().get(preset) if preset else _class_of("model", name)
    return {} if cls is None else inspect.signature(cls).parameters


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
    arguments["head"] = _called("head", resolved["head"])
    if resolved["condition"] is not None:
        arguments["condition"] = _called("condition", resolved["condition"])
    if preset:
        try:
            return tfar.models.from_preset(preset, **arguments)
        except (TypeError, ValueError) as error:
            raise ValueError(f"config.model: {error}") from error
    return _called("model", {"name": name, **arguments})


# Parts of a run: the module of their classes, and the base that these extend.
_KINDS: dict[str, tuple[Any, type]] = {
    "model": (tfar.models, Density),
    "head": (tfar.heads, tfar.heads.Head),
    "condition": (tfar.conditions, tfar.conditions.Condition),
}
# Bases, which no run can name.
_BASES = (Density, tfar.models.AutoregressiveModel, tfar.models.Chain, tfar.heads.Head, tfar.conditions.Condition)


def _class_of(what: str, name: Any) -> type:
    """Returns the class that is called `name` in the library, or `package.module:Class` outside of it.

    Raises:
        ValueError: there is none, or it is not of that kind.
    """
    module, base = _KINDS[what]
    own = isinstance(name, str) and ":" in name
    if own:
        path, _, attribute = name.partition(":")
        try:
            cls = getattr(importlib.import_module(path), attribute)
        except (ImportError, AttributeError, ValueError) as error:
            raise ValueError(f"config.{what}.name={name} is not to be had: {error}") from error
        if not (isinstance(cls, type) and issubclass(cls, base)):
            raise ValueError(f"config.{what}.name must be a subclass of {base.__module__}.{base.__name__}, got {name}")
        return cls
    known = {key: value for key, value in vars(module).items() if isinstance(value, type)}
    names = sorted(key for key, value in known.items() if issubclass(value, base) and value not in _BASES)
    if name not in names:
        raise ValueError(f"config.{what}.name must be one of {', '.join(names)} or package.module:Class, got {name!r}")
    return known[name]


def _called(what: str, description: Mapping[str, Any]) -> Any:
    """Calls the class that `description` names with the other entries."""
    arguments = dict(description)
    name = arguments.pop("name")
    cls = _class_of(what, name)
    try:
        return cls(**arguments)
    except TypeError as error:
        raise ValueError(f"config.{what} does not fit {name}: {error}") from error
    except ValueError as error:
        of_flag = str(error).partition(" ")[0] in arguments
        raise ValueError(f"config.{what}.{error}" if of_flag else f"config.{what}: {error}") from error


def fingerprint(resolved: Mapping[str, Any]) -> str:
    """16 hexadecimal digits that stand for an architecture."""
    return hashlib.sha256(json.dumps(resolved, sort_keys=True).encode()).hexdigest()[:16]


# === The directory ===


def describe(config: Mapping[str, Any], resolved: Mapping[str, Any], data: Mapping[str, str]) -> dict[str, Any]:
    """Returns the content of config.json, as JSON values.

    Args:
        config: the run's configuration.
        resolved: from `resolve_model`.
        data: from `fingerprints`.
    """
    record = {"config": config, "resolved": resolved, "data": data, "version": tfar.__version__}
    return json.loads(json.dumps(record))


def write_config(workdir: str | os.PathLike, record: Mapping[str, Any]) -> None:
    """Writes config.json; `pipelines.record.compare` says before whether the directory may hold this run."""
    path = pathlib.Path(workdir) / "config.json"
    write_atomically(path, (json.dumps(record, indent=2) + "\n").encode())


def remove_temporary(workdir: str | os.PathLike) -> None:
    """Removes files that a killed run was about to write; call it while the directory is locked."""
    remove_temporary_files(workdir, r"(?:config|test)\.json|report\.html")
    evaluations.remove_temporary(pathlib.Path(workdir))
    (pathlib.Path(workdir) / UNFINISHED_MODEL).unlink(missing_ok=True)


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
        data: fingerprints of the splits that the run began with; empty in runs of earlier versions.
    """

    model: tfar.models.AutoregressiveModel
    config: dict[str, Any]
    resolved: dict[str, Any]
    step: int
    state: dict[str, Any]
    weights: str
    data: dict[str, str] = dataclasses.field(default_factory=dict)

    def check_data(self, info: data_lib.DataInfo) -> None:
        """Raises ValueError where a split of the run's data has changed since the run began."""
        before = self.data.get(info.split, info.fingerprint)
        check_data(info.split, info.name, before, info.fingerprint, "the work directory")


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
    return Run(model, record["config"], record["resolved"], step, checkpoint.state, name, record["data"])


def take_parts(model: Density, folders: Sequence[str]) -> None:
    """Gives the parts of a chain the weights that runs of `--config.train.part=NAME` have learned for them.

    Args:
        model: of the run that begins.
        folders: work directories of runs that trained one part each; its averaged weights of the best checkpoint.

    Raises:
        ValueError: a run there trained no part, or one of another architecture.
    """
    for folder in folders:
        name = read_config(folder)["config"]["train"].get("part")
        if name is None:
            raise ValueError(f"config.train.parts_from must name runs with a config.train.part, got {folder}")
        weights, learned = model.part_weights(name), load_run(folder).model.part_weights(name)
        if [weight.shape for weight in weights] != [weight.shape for weight in learned]:
            raise ValueError(f"config.train.parts_from={folder} has another architecture")
        for weight, value in zip(weights, learned, strict=True):
            weight.assign(value)


def worth_compiling(num: int, event_shape: Sequence[int]) -> bool:
    """Returns whether to draw so many images under XLA: compiling takes 10 seconds or more, so it pays for many."""
    return num * math.prod(event_shape) >= _XLA_FROM
