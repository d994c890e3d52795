"""Writes a versioned SavedModel for TensorFlow Serving, checks it against Python, then renames it into place.

OUT/1, OUT/2, ...      the server polls OUT and loads what is called by a number, so a version appears complete
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from export.client.signatures import read_signature
from export.writer import batching_params, examples, reference, warm_up
from export.writer.canvas import Canvas
from export.writer.errors import ExportError
from export.writer.options import Options
from export.writer.servable import InParts, Runner, Servable
from export.writer.sessions import REHEARSAL
from export.writer.signatures import Signatures
from export.writer.ties import count_ties
from pipelines.start import errors_only
from tfar import models
from tfar.core import noise as noises
from tfar.layers.weight_norm import folded
from tfar.models import AutoregressiveModel

_LOG_PROB_TOLERANCE = 1e-5
# Events of models of any length are checked at this one.
_CHECKED_LENGTH = 24


@dataclasses.dataclass(frozen=True)
class Report:
    """The result of the check of an exported version.

    Attributes:
        num_samples: events drawn by the version and by Python from the same seeds, whole or completed.
        num_ties: those that part ways at a draw whose noise lies within `ties.TIE` of a boundary; others are equal.
        log_prob_difference: largest difference, relative where |log_prob| > 1.
    """

    num_samples: int
    num_ties: int
    log_prob_difference: float


def load_model(path: str | Path) -> AutoregressiveModel:
    """Loads a trained model from a .keras file or a work directory.

    Raises:
        ExportError: the file is missing or damaged, or holds no model of tfar.
    """
    try:
        return models.load(path)
    except (OSError, ValueError) as error:
        raise ExportError(str(error)) from error


def export(
    model: AutoregressiveModel,
    out: str | Path,
    options: Options | None = None,
    name: str = "model",
    facts: Mapping[str, Any] | None = None,
    say: Callable[[str], Any] = lambda step: None,
) -> tuple[Path, Report]:
    """Writes the next free version of a model below `out`.

    Args:
        model: the model, in Python.
        out: folder of the versions; created if need be.
        options: which signatures there are.
        name: what the model is called where it is served.
        facts: what is known of the training, for the model card.
        say: called with each step that takes long, in words.

    Returns:
        The folder of the new version and what its check found.

    Raises:
        ExportError: the model has no such export, `out` cannot be written, or the version disagrees with Python;
            no version appears.
    """
    try:
        signatures = Signatures(model, options, name, (facts or {}).get("labels", ()))
    except ValueError as error:
        raise ExportError(str(error)) from error
    out = Path(out)
    created = _create(out)
    # The server ignores it: its name is not a number.
    temporary = out / f".writing-{uuid.uuid4().hex}"
    try:
        holder = tf.Module()
        say(f"tracing and writing {len(signatures.every)} signatures")
        with errors_only(), folded(model) as variables:
            # The variables alone: Keras would add its own traces of `call`.
            holder.weights, holder.trackables = variables, signatures.trackables
            tf.saved_model.save(holder, str(temporary), signatures=signatures.functions())
        with Servable(temporary) as servable:
            report = check(servable, model, signatures, 0, say)
            say("recording requests for the warm-up of servers")
            warm_up.write(temporary, servable, signatures)
        reference.write(temporary, signatures, report, facts or {})
        if signatures.store is None:
            batching_params.write(temporary, signatures.limits, None in model.event_shape)
        return _publish(temporary, out), report
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        for folder in created:
            folder.rmdir()
        raise


def check(
    servable: Runner,
    model: AutoregressiveModel,
    signatures: Signatures,
    seed: int = 0,
    say: Callable[[str], Any] = lambda step: None,
) -> Report:
    """Compares every signature with Python; those compiled by XLA are left to servers that have it.

    Raises:
        ExportError: they disagree; the message says where.
    """
    servable = InParts(servable, signatures.limits.examples)
    endless = None in model.event_shape
    shape = [_CHECKED_LENGTH] if endless else list(model.event_shape)
    condition = examples.condition(model, 4, seed)
    given = examples.inputs(model, condition)
    first, last = ({name: value[rows] for name, value in given.items()} for rows in (slice(3), slice(3, 4)))
    temperature = np.array([1.0, 1.0, 0.8, 1.0], np.float32)
    length = {"length": np.array([_CHECKED_LENGTH], np.int32)} if endless else {}

    # Three examples with seeds of their own, and one for which everything optional is left out. Python then draws all
    # four at once: an example depends on its own seed alone.
    seeds = noises.seed_rows(seed, 3).numpy()
    say("checking sample, in a session as TensorFlow Serving runs it")
    some = servable.run("sample", seed=seeds, temperature=temperature[:3], **first, **length)
    drawn = [some, servable.run("sample", **last, **length)]
    seeds, served = (np.concatenate([part[name] for part in drawn]) for name in ("seed", "samples"))
    whole = _CHECKED_LENGTH if endless else None
    samples = model.sample(4, condition, seeds, temperature, jit_compile=False, length=whole).numpy()
    compared = [served]

    draw = {"seed": seeds, "temperature": temperature, **given}
    half = int(np.prod(shape)) // 2
    if "complete" in signatures.every:
        say("checking complete")
        observed = np.full([4], half, np.int32)
        # The first halves kept, the rest drawn again.
        compared.append(servable.run("complete", x=samples, observed_length=observed, **draw)["samples"])
    if "start" in signatures.every:
        say("checking start and step")
        compared.append(_stepped(servable, signatures, ("start", "step"), draw, shape))
    if "session_begin" in signatures.every:
        say("checking session_begin, session_step and session_end")
        fit = {name: value[: signatures.options.slots] for name, value in draw.items()}
        # The first call takes seconds, in which a session could expire.
        servable.run("session_step", session_id=np.array([REHEARSAL], np.int64))
        compared.append(_stepped(servable, signatures, ("session_begin", "session_step"), fit, shape))
    noise = noises.uniform(tf.constant(seeds), *model.noise_shape(shape)).numpy()
    ties = 0
    for served in compared:
        rows = slice(len(served))
        told = None if condition is None else tf.nest.map_structure(lambda value, rows=rows: value[rows], condition)
        ties += count_ties(model, samples[rows], served, noise[rows], temperature[rows], told)

    say("checking log_prob")
    scored = servable.run("log_prob", x=samples, **given)
    expected = model.log_prob(samples, condition).numpy()
    difference = float(np.max(np.abs(scored["log_prob"] - expected) / np.maximum(1.0, np.abs(expected))))
    if not difference <= _LOG_PROB_TOLERANCE:
        raise ExportError(f"log_prob of the export differs from Python's by {difference:.1e}")
    return Report(num_samples=sum(map(len, compared)), num_ties=ties, log_prob_difference=difference)


def _stepped(
    servable: Runner, signatures: Signatures, names: tuple[str, str], draw: dict[str, Any], shape: list[int]
) -> np.ndarray:
    """Draws events in two steps, by a state that the caller holds or in a session."""
    sampler = signatures.sampler
    units = sampler.units or shape[0]
    begun = servable.run(names[0], **draw)
    held = "state" if "state" in begun else "session_id"
    events = Canvas(len(draw["seed"]), shape, sampler.unit)
    for n in (units - units // 2, units // 2):
        if n:
            taken = servable.run(names[1], n=np.array([n], np.int32), **{held: begun[held]})
            events.put(taken)
            begun = {**begun, **taken}
    if held == "session_id" and not (servable.run("session_end", session_id=begun[held])["ended"] == 1).all():
        raise ExportError("session_end does not know the sessions that session_begin opened")
    return events.values


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
    """Formats a summary for people: the signatures and the result of the check."""
    size = sum(file.stat().st_size for file in version.rglob("*") if file.is_file())
    lines = [f"exported {version} ({size / 1e6:.1f} MB)"]
    known: dict[str, str] = {}
    for name, definition in reference.read_signatures(version).items():
        signature, rows = read_signature(definition), []
        for direction, tensors in (("in ", signature.inputs), ("out", signature.outputs)):
            width = max(map(len, tensors), default=0)
            rows += [f"    {direction} {key:{width}}  {tensor}" for key, tensor in tensors.items()]
        text = "\n".join(rows)
        same = known.setdefault(text, name)
        lines += [f"  {name}", text] if same == name else [f"  {name}: the same as {same}"]
    lines.append(
        f"checked in a v1 session: {report.num_samples} samples equal Python's ({report.num_ties} ties of rounding), "
        f"log_prob within {report.log_prob_difference:.1e}"
    )
    lines.append(f"read {version / reference.SIGNATURES} for the calls")
    return "\n".join(lines)
