r"""Checkpoints: one file each, written whole or not at all, checked when read.

    tfar checkpoint 1\n          what the file is
    <64 hexadecimal digits>\n    SHA-256 of the rest
    <npz>                        weights, averages, optimizer (in the order of the model), carried, state (JSON)

A file appears under its name only when it is complete and on the disk. A folder of checkpoints keeps the newest two and
the ones that were best on the validation set; the newest names the best, so that a run that goes on from it finds it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import pathlib
import re
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfar.core.files import remove_temporary, write_atomically

_MAGIC = b"tfar checkpoint 1\n"
_NAME = re.compile(r"step-(\d+)\.ckpt")
_KEPT = 2  # newest ones: should the last be damaged, the one before can be used


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message says which and what to do."""


class DamagedCheckpoint(CheckpointError):
    """A checkpoint whose bytes are not those that were written."""


@dataclasses.dataclass
class Checkpoint:
    """The whole state of a run after `state["step"]` steps.

    Attributes:
        names: a name for each weight, for errors.
        weights: the model's weights, as it lists them.
        averages: the averaged trainable weights, float32.
        optimizer: the optimizer's variables.
        state: JSON values: step, best step and score, running sums.
        architecture: fingerprint of the model to which the weights belong.
        carried: state that the next training step goes on from, see `TrainStep.carry_state`.
        data: fingerprint of the data that the run learns from.
    """

    names: list[str]
    weights: list[np.ndarray]
    averages: list[np.ndarray]
    optimizer: list[np.ndarray]
    state: dict[str, Any]
    architecture: str = ""
    carried: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    data: str = ""


def save(path: str | os.PathLike, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint atomically."""
    arrays: dict[str, Any] = {}
    for group in ("weights", "averages", "optimizer"):
        arrays |= {f"{group}/{index:05}": array for index, array in enumerate(getattr(checkpoint, group))}
    arrays |= {f"carried/{key}": array for key, array in checkpoint.carried.items()}
    header = {key: getattr(checkpoint, key) for key in ("names", "state", "architecture", "data")}
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    payload = buffer.getvalue()
    write_atomically(path, _MAGIC + hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload)


def load(path: str | os.PathLike) -> Checkpoint:
    """Reads a checkpoint.

    Raises:
        FileNotFoundError: there is none.
        DamagedCheckpoint: the file is truncated, damaged or something else.
        CheckpointError: it is of another version of tfar.
    """
    data = pathlib.Path(path).read_bytes()
    start = len(_MAGIC) + 65
    if not data.startswith(_MAGIC):
        whole = _MAGIC.startswith(data)
        raise DamagedCheckpoint(f"{path} is {'truncated' if whole else 'not a checkpoint of tfar'} ({len(data)} bytes)")
    payload = data[start:]
    if data[len(_MAGIC) : start] != hashlib.sha256(payload).hexdigest().encode() + b"\n":
        raise DamagedCheckpoint(f"{path} is truncated or damaged: its checksum does not match its {len(data)} bytes")
    try:
        arrays = np.load(io.BytesIO(payload), allow_pickle=False)
        header = json.loads(arrays["header"].tobytes())
        groups: dict[str, list[np.ndarray]] = {"weights": [], "averages": [], "optimizer": []}
        carried: dict[str, np.ndarray] = {}
        for key in sorted(set(arrays.files) - {"header"}):
            group, _, name = key.partition("/")
            if group == "carried":
                carried[name] = arrays[key]
            else:
                groups[group].append(arrays[key])
        return Checkpoint(
            header["names"],
            **groups,
            state=header["state"],
            architecture=header["architecture"],
            carried=carried,
            data=header.get("data", ""),
        )
    except (KeyError, ValueError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path} is of a format that this version of tfar does not read: {error}") from error


def check_weights(path: str | os.PathLike, checkpoint: Checkpoint, names: Sequence[str], shapes: Sequence[Any]) -> None:
    """Compares a checkpoint with the weights of a model.

    Args:
        path: of the checkpoint, for the error.
        checkpoint: what was read.
        names: names of the model's weights.
        shapes: shapes of the model's weights.

    Raises:
        CheckpointError: it belongs to another architecture; the first weight that differs is named.
    """
    for index in range(max(len(names), len(checkpoint.weights))):
        stored = wanted = "no such weight"
        name = names[index] if index < len(names) else checkpoint.names[index]
        if index < len(checkpoint.weights):
            stored = f"{checkpoint.names[index]} {tuple(checkpoint.weights[index].shape)}"
        if index < len(names):
            wanted = f"{name} {tuple(shapes[index])}"
        same = (
            index < len(names)
            and index < len(checkpoint.weights)
            and tuple(shapes[index]) == checkpoint.weights[index].shape
            and name.rpartition("/")[2] == checkpoint.names[index].rpartition("/")[2]
        )
        if not same:
            raise CheckpointError(
                f"{path} holds another architecture: weight {index} is {stored} there and {wanted} in this model; "
                "use the configuration that it was trained with, or another --workdir"
            )


class Checkpoints:
    """The checkpoints of a run, in a folder.

    Args:
        folder: created when the first is written.

    Example:
        >>> import tempfile
        >>> checkpoints = Checkpoints(tempfile.mkdtemp())
        >>> for step in (1, 2, 3, 4):
        ...     checkpoints.save(Checkpoint([], [], [], [], {"step": step, "best_step": 1}))
        >>> checkpoints.steps()
        [1, 3, 4]
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = pathlib.Path(folder)

    def path(self, step: int) -> pathlib.Path:
        """Where the checkpoint of a step lies."""
        return self.folder / f"step-{step:08}.ckpt"

    def steps(self) -> list[int]:
        """Steps of the checkpoints that there are, ascending."""
        if not self.folder.is_dir():
            return []
        matches = (_NAME.fullmatch(path.name) for path in self.folder.iterdir())
        return sorted(int(match[1]) for match in matches if match)

    def save(self, checkpoint: Checkpoint) -> None:
        """Writes the checkpoint of `checkpoint.state["step"]` and removes those that are no longer needed."""
        step = checkpoint.state["step"]
        save(self.path(step), checkpoint)
        keep = [other for other in self.steps() if other <= step][-_KEPT:]
        needed = {
            *keep,
            checkpoint.state.get("best_step"),
            *(self._best_step(other) for other in keep if other != step),
        }
        for other in self.steps():
            # A later one is left from a run that went on from an earlier checkpoint.
            if other not in needed or other > step:
                self.path(other).unlink(missing_ok=True)

    def _best_step(self, step: int) -> int | None:
        try:
            return load(self.path(step)).state.get("best_step")
        except CheckpointError:
            return None

    def load(self, step: int | None = None) -> Checkpoint:
        """Reads the checkpoint of a step; the newest by default.

        Raises:
            FileNotFoundError: there is none.
            DamagedCheckpoint: the error says which can be used instead.
            CheckpointError: it is of another version of tfar.
        """
        steps = self.steps()
        if not steps or (step is not None and step not in steps):
            wanted = "checkpoint" if step is None else f"checkpoint of step {step}"
            raise FileNotFoundError(f"no {wanted} in {self.folder}; train first")
        step = steps[-1] if step is None else step
        try:
            return load(self.path(step))
        except DamagedCheckpoint as error:
            earlier = [other for other in steps if other < step]
            if earlier:
                way = f"delete it, and the run goes on from {self.path(earlier[-1])}"
            else:
                way = "there is no earlier one: delete it, and the run begins anew"
            raise DamagedCheckpoint(f"{error}; {way}") from error

    def load_usable(self) -> tuple[Checkpoint, list[str]]:
        """Reads the newest checkpoint that is not damaged.

        Where the one that was best is damaged, the run has no best one yet, and its next evaluation finds one.

        Returns:
            The checkpoint, and a warning for each damaged one, which names it and the one that stands in for it.

        Raises:
            FileNotFoundError: there is none.
            DamagedCheckpoint: all of them are.
            CheckpointError: one is of another version of tfar.
        """
        damaged = []
        for step in reversed(self.steps()):
            try:
                checkpoint = load(self.path(step))
            except DamagedCheckpoint as error:
                damaged.append(str(error))
                continue
            warnings = [f"{error}; going on from {self.path(step)}" for error in damaged]
            best = checkpoint.state.get("best_step")
            if best is not None and best != step and (reason := self._unusable(best)):
                checkpoint.state |= {"best_step": None, "best_bits_per_dim": None, "evaluations_since_best": 0}
                warnings.append(f"{reason}; it was the best one, and the run goes on from {self.path(step)} without it")
            return checkpoint, warnings
        return self.load(), []  # raises

    def _unusable(self, step: int) -> str | None:
        """Why a checkpoint cannot be read; None where it can."""
        try:
            load(self.path(step))
        except FileNotFoundError:
            return f"{self.path(step)} is missing"
        except DamagedCheckpoint as error:
            return str(error)
        return None

    def remove_temporary(self) -> None:
        """Removes files that a killed process was about to write."""
        remove_temporary(self.folder, _NAME.pattern)

    def load_best(self) -> Checkpoint:
        """Reads the checkpoint that was best on the validation set, as the newest one says; else the newest.

        Raises:
            FileNotFoundError: there is none.
            DamagedCheckpoint: one of the two is.
        """
        newest = self.load()
        best = newest.state.get("best_step")
        return newest if best is None or best == newest.state["step"] else self.load(best)


def restore_weights(model: Any, checkpoint: Checkpoint, path: str | os.PathLike, averaged: bool = False) -> None:
    """Puts the weights of a checkpoint into a model.

    Args:
        model: an `AutoregressiveModel`.
        checkpoint: what was read.
        path: where from, for errors.
        averaged: the averaged weights instead of the raw ones.

    Raises:
        CheckpointError: it belongs to another architecture.
    """
    names, shapes = [weight.path for weight in model.weights], [weight.shape for weight in model.weights]
    check_weights(path, checkpoint, names, shapes)
    for weight, array in zip(model.weights, checkpoint.weights, strict=True):
        weight.assign(array)
    if averaged:
        for weight, array in zip(model.trainable_variables, checkpoint.averages, strict=True):
            weight.assign(array)
