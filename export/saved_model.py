"""A versioned SavedModel for TensorFlow Serving: written aside, checked against Python, then renamed into place.

OUT/1, OUT/2, ...      the server polls OUT and loads what is called by a number, so a version appears complete
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from export.errors import ExportError
from export.servable import Servable, quiet
from export.signatures import signatures
from tfar import models
from tfar.core import noise as noises
from tfar.core.conditions import Label
from tfar.layers.weight_norm import folded
from tfar.models import AutoregressiveModel

# Law 3: rounding differs between kernels, so a draw whose noise lies this close to a boundary may tip.
TIE = 1e-5
# Continuous values are no integers: rounding of the parameters shows in them.
_VALUE_TOLERANCE = 1e-3
_LOG_PROB_TOLERANCE = 1e-5


@dataclasses.dataclass(frozen=True)
class Report:
    """What the check of an exported version found.

    Attributes:
        num_samples: events drawn by the version and by Python from the same seeds, whole or completed.
        num_ties: those that part ways at a draw whose noise lies within `TIE` of a boundary; the others are equal.
        log_prob_difference: largest difference, relative where |log_prob| > 1.
    """

    num_samples: int
    num_ties: int
    log_prob_difference: float


def load_model(path: str | Path) -> AutoregressiveModel:
    """A trained model from a .keras file.

    Raises:
        ExportError: the file holds no model of tfar.
    """
    try:
        model = models.load(str(path))
    except Exception as error:  # Keras raises whatever its readers of zip, JSON and HDF5 raise.
        raise ExportError(f"{path} cannot be loaded as a model: {_first_line(error)}") from error
    if not isinstance(model, AutoregressiveModel):
        raise ExportError(f"{path} must hold a model of tfar, got {type(model).__name__}")
    return model


def export(model: AutoregressiveModel, out: str | Path) -> tuple[Path, Report]:
    """Writes the next free version of a model below `out`.

    Args:
        model: the model, in Python.
        out: folder of the versions; created if need be.

    Returns:
        The folder of the new version and what its check found.

    Raises:
        ExportError: the model has no such export, `out` cannot be written, or the version disagrees with Python;
            no version appears.
    """
    try:
        functions = signatures(model)
    except ValueError as error:
        raise ExportError(str(error)) from error
    out = Path(out)
    created = _create(out)
    # The server ignores it: its name is not a number.
    temporary = out / f".writing-{uuid.uuid4().hex}"
    try:
        holder = tf.Module()
        with quiet(), folded(model) as variables:
            # The variables alone: Keras would add its own traces of `call`.
            holder.weights = variables
            tf.saved_model.save(holder, str(temporary), signatures=functions)
        with Servable(temporary) as servable:
            report = check(servable, model)
        return _publish(temporary, out), report
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        for folder in created:
            folder.rmdir()
        raise


def check(servable: Servable, model: AutoregressiveModel, seed: int = 0) -> Report:
    """Compares every signature with Python.

    Raises:
        ExportError: they disagree; the message says where.
    """
    condition = _example_condition(model, 4, seed)
    given = {} if condition is None else {"condition": condition}
    first, last = ({name: value[rows] for name, value in given.items()} for rows in (slice(3), slice(3, 4)))
    temperature = np.array([1.0, 1.0, 0.8, 1.0], np.float32)

    # Three rows with seeds of their own, and one for which everything that may be left out is. Python then draws all
    # four at once: a row depends on its own seed alone.
    seeds = noises.seed_rows(seed, 3).numpy()
    drawn = [servable.run("sample", seed=seeds, temperature=temperature[:3], **first), servable.run("sample", **last)]
    seeds, served = (np.concatenate([part[name] for part in drawn]) for name in ("seed", "samples"))
    samples = model.sample(4, condition, seeds, temperature, jit_compile=False).numpy()
    ties = _count_ties(model, samples, served, seeds, temperature, condition)

    # The first halves kept, the rest drawn again.
    if "complete" in servable.signatures:
        draw = {"seed": seeds, "temperature": temperature, **given}
        length = np.full([4], model.event.num_dimensions // 2, np.int32)
        completed = servable.run("complete", x=samples, observed_length=length, **draw)["samples"]
        ties += _count_ties(model, samples, completed, seeds, temperature, condition)

    scored = servable.run("log_prob", x=samples, **given)
    expected = model.log_prob(samples, condition).numpy()
    difference = float(np.max(np.abs(scored["log_prob"] - expected) / np.maximum(1.0, np.abs(expected))))
    if not difference <= _LOG_PROB_TOLERANCE:
        raise ExportError(f"log_prob of the export differs from Python's by {difference:.1e}")
    num_samples = 8 if "complete" in servable.signatures else 4
    return Report(num_samples=num_samples, num_ties=ties, log_prob_difference=difference)


def _count_ties(
    model: AutoregressiveModel,
    expected: np.ndarray,
    served: np.ndarray,
    seeds: np.ndarray,
    temperature: np.ndarray,
    condition: np.ndarray | None,
) -> int:
    """Number of rows that part ways at a tie of rounding; any other difference is an error."""
    event, num = model.event, len(expected)
    noise = noises.uniform(tf.constant(seeds), event.num_positions, model.head.noise_size)
    context, noise = model.prepare_draws(None if condition is None else tf.constant(condition), noise)
    order = _order(model, context, num)
    tolerance = _VALUE_TOLERANCE if model.head.levels is None else 0.0
    different = ~np.isclose(served, expected, rtol=tolerance, atol=tolerance).reshape(num, -1)
    different = np.take_along_axis(different, order, 1)
    rows = np.flatnonzero(different.any(1))
    if not len(rows):
        return 0
    # Up to the first difference both saw the same past, so both had these parameters, but for rounding.
    params = model.decode(model.encode(expected), context)
    noise = tf.reshape(noise, [num, *event.positions, model.head.noise_size])
    temperatures = temperature.reshape(-1, *[1] * len(event.positions))
    distance = tf.reshape(model.head.boundary_distance(params, noise, temperatures), [num, -1]).numpy()
    for row in rows:
        first = order[row, np.argmax(different[row])]
        position = first // (event.num_dimensions // event.num_positions)
        if distance[row, position] > TIE:
            place = tuple(int(index) for index in np.unravel_index(first, event.event_shape))
            raise ExportError(
                f"the exported sample differs from Python's for seed {seeds[row].tolist()}: first at {place}, "
                f"{served[row][place]} instead of {expected[row][place]}, which is no tie of rounding"
            )
    return len(rows)


def _order(model: AutoregressiveModel, context: Any, num: int) -> np.ndarray:
    """The flat value that every step draws, [num, num_dimensions]."""
    order, channels = model.stage.order(context), model.event.channels
    cells = np.arange(model.event.num_cells) if order is None else np.asarray(order[0])
    values = cells[..., None] * channels + np.arange(channels)
    return np.broadcast_to(values.reshape(*cells.shape[:-1], -1), [num, model.event.num_dimensions])


def _example_condition(model: AutoregressiveModel, num: int, seed: int) -> np.ndarray | None:
    if model.condition is None:
        return None
    if isinstance(model.condition, Label):
        return np.arange(num, dtype=np.int32) % model.condition.num_labels
    sizes = iter(model.event_shape)
    shape = [next(sizes) if size is None else size for size in model.condition.shape]
    return np.random.default_rng(seed).normal(size=[num, *shape]).astype(np.float32)


def _create(out: Path) -> list[Path]:
    """Creates a folder; returns those that were missing, innermost first."""
    missing = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"{out} cannot be created: {error.strerror}") from error
    if not os.access(out, os.W_OK):
        raise ExportError(f"{out} is not writable")
    return missing


def _publish(temporary: Path, out: Path) -> Path:
    """Renames the finished version to the next free number."""
    while True:
        taken = [int(entry.name) for entry in out.iterdir() if entry.name.isascii() and entry.name.isdigit()]
        version = out / str(max(taken, default=0) + 1)
        try:
            temporary.rename(version)
        except OSError:
            if not version.exists():
                raise
        else:  # Otherwise another export took the number just now.
            return version


def describe(version: Path, report: Report) -> str:
    """A summary for people: the signatures and what the check found."""
    size = sum(file.stat().st_size for file in version.rglob("*") if file.is_file())
    lines = [f"exported {version} ({size / 1e6:.1f} MB)"]
    saved = saved_model_pb2.SavedModel.FromString((version / "saved_model.pb").read_bytes())
    known: dict[str, str] = {}
    for name, definition in sorted(saved.meta_graphs[0].signature_def.items()):
        if not name.startswith("__"):
            rows = []
            for direction, tensors in (("in ", definition.inputs), ("out", definition.outputs)):
                width = max(map(len, tensors))
                for key in sorted(tensors):
                    default = definition.defaults[key] if direction == "in " and key in definition.defaults else None
                    rows.append(f"    {direction} {key:{width}}  {_describe(tensors[key], default)}")
            text = "\n".join(rows)
            same = known.setdefault(text, name)
            lines += [f"  {name}", text] if same == name else [f"  {name}: the same as {same}"]
    lines.append(
        f"checked in a v1 session: {report.num_samples} samples equal Python's ({report.num_ties} ties of rounding), "
        f"log_prob within {report.log_prob_difference:.1e}"
    )
    return "\n".join(lines)


def _describe(info: Any, default: Any) -> str:
    """Type, shape and default of a tensor: "float32 [B], by default 1.0"."""
    shape = ", ".join("B" if dim.size < 0 else str(dim.size) for dim in info.tensor_shape.dim)
    behind = "" if default is None else f", by default {tf.make_ndarray(default)[0].tolist()}"
    return f"{tf.as_dtype(info.dtype).name} [{shape}]{behind}"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
