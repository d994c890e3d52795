"""Writes a LiteRT (.tflite) model of built-in operators alone, and checks it against Python.

    path, report = export(model, "digits.tflite")

What the file can do stands in `export.litert.signatures`, what it says of itself in `export.litert.metadata`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from export.litert import metadata
from export.litert.model import LiteRTModel, draw_in_steps
from export.litert.signatures import LiteRTSignatures
from export.writer import examples
from export.writer.errors import ExportError
from export.writer.ties import VALUE_TOLERANCE, count_ties
from pipelines.start import errors_only, quietly
from tfar.core import noise as noises
from tfar.core.compiled import tracing_for_litert
from tfar.layers.weight_norm import folded
from tfar.models import AutoregressiveModel

QUANTIZATIONS = ("float32", "float16", "int8")
SUFFIX = ".tflite"
# Samples that the check draws, rounded up to whole batches.
_ROWS = 3
_LOG_PROB_TOLERANCE = 2e-5


@dataclasses.dataclass(frozen=True)
class Report:
    """The result of the check of a file.

    Attributes:
        quantization: of the weights: "float32", "float16" or "int8".
        num_samples: events drawn by the file, half of them by `sample`, half by `step`, of the noise that Python got.
        num_ties: float32: those that part ways at a draw whose noise lies within `ties.TIE` of a boundary, the others
            being equal; otherwise None.
        num_equal: those equal to Python's.
        log_prob_difference: largest difference of log_prob, relative where |log_prob| > 1.
        operators: the built-in operators that a runtime must have.
    """

    quantization: str
    num_samples: int
    num_ties: int | None
    num_equal: int
    log_prob_difference: float
    operators: tuple[str, ...]


def export(
    model: AutoregressiveModel,
    out_path: str | Path,
    quantization: str = "float32",
    batch_size: int = 1,
    length: int | None = None,
) -> tuple[Path, Report]:
    """Writes a model as a .tflite file; a file that stands there is replaced once the new one has passed its check.

    Args:
        model: the model, in Python.
        out_path: the file, with the suffix .tflite.
        quantization: of the weights. "float32" draws the samples of Python from the same noise; "float16" halves the
            file; "int8" quarters the large kernels, and multiplies them with activations that are quantized as they
            come (dynamic range). The latter two are slightly different densities.
        batch_size: rows of every call.
        length: of the events of a model of any length.

    Returns:
        The file and what its check found.

    Raises:
        ExportError: the model cannot be converted, an argument is out of range, the file cannot be written, or it
            disagrees with Python; no file appears.
    """
    path = Path(out_path)
    if path.suffix != SUFFIX:
        raise ExportError(f"the file of a LiteRT model ends in {SUFFIX}, got {path}")
    if quantization not in QUANTIZATIONS:
        raise ExportError(f"quantization must be one of {', '.join(QUANTIZATIONS)}, got {quantization!r}")
    if path.is_dir():
        raise ExportError(f"{path} is a folder")
    present = next(folder for folder in path.absolute().parents if folder.exists())
    if not present.is_dir() or not os.access(present, os.W_OK):  # a large model takes minutes until it is written
        raise ExportError(f"{path} cannot be written: {present} is no folder that may be written to")
    signatures = LiteRTSignatures(model, batch_size, length)
    content = metadata.write(convert(signatures, quantization), metadata.describe(signatures, quantization))
    report = check(content, signatures, quantization)
    temporary = path.with_name(f".writing-{uuid.uuid4().hex}{SUFFIX}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise ExportError(f"{path} cannot be written: {error.strerror}") from error
    return path, report


def convert(signatures: LiteRTSignatures, quantization: str = "float32") -> bytes:
    """Converts the signatures to a LiteRT model without metadata.

    Raises:
        ExportError: an operation of the model has no built-in operator.
    """
    # MLIR writes a page about every operation that it cannot convert; the error names them in a line.
    content, error = quietly(lambda: _convert(signatures, quantization))
    if error is not None:
        name = type(signatures.model).__name__
        raise ExportError(f"{name} cannot be written with LiteRT's built-in operators: {_reason(error)}") from error
    return content


def _convert(signatures: LiteRTSignatures, quantization: str) -> tuple[bytes, Exception | None]:
    """Returns the LiteRT model, or the reason of the failure."""
    with (
        tempfile.TemporaryDirectory() as folder,
        errors_only(),
        folded(signatures.model) as variables,
        tracing_for_litert(),
    ):
        holder, functions = tf.Module(), signatures.functions()
        # The variables alone: Keras would add its own traces of `call`.
        holder.weights = variables
        tf.saved_model.save(holder, folder, signatures=functions)
        # Several signatures share their weights only on this way.
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=sorted(functions))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if quantization != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantization == "float16":
            converter.target_spec.supported_types = [tf.float16]
        try:
            return converter.convert(), None
        except Exception as error:  # A class of its own, which TensorFlow does not show, or one of many others.
            return b"", error


def check(content: bytes, signatures: LiteRTSignatures, quantization: str = "float32", seed: int = 0) -> Report:
    """Compares every signature of a file with Python.

    Raises:
        ExportError: they disagree; the message says where.
    """
    builtin, custom = metadata.operators(content)
    if custom:
        raise ExportError(f"the LiteRT model needs operators that are not built in: {', '.join(custom)}")
    model, batch = signatures.model, signatures.batch_size
    num = -(-_ROWS // batch) * batch
    condition = examples.condition(model, num, seed, signatures.event_shape)
    given = examples.inputs(model, condition)
    noise = noises.uniform(noises.seed_rows(seed, num), signatures.num_positions, signatures.noise_size).numpy()
    temperature = np.linspace(1.0, 0.8, num, dtype=np.float32)
    length = signatures.event_shape[0] if None in model.event_shape else None
    options: dict[str, Any] = {"length": length, "batch_size": batch, "jit_compile": False}
    expected = model.sample(num, condition, temperature=temperature, noise=noise, **options).numpy()

    runtime, drawn, scored = LiteRTModel(content), [], []
    for first in range(0, num, batch):
        rows = slice(first, first + batch)
        told = {name: value[rows] for name, value in given.items()}
        sampled = runtime.run("sample", noise=noise[rows], temperature=temperature[rows], **told)["samples"]
        drawn.append([sampled, draw_in_steps(runtime, signatures, noise[rows], temperature[rows], told)])
        scored.append(runtime.run("log_prob", x=expected[rows], **told)["log_prob"])
    both = [np.concatenate(parts) for parts in zip(*drawn, strict=True)]

    exact = model.log_prob(expected, condition).numpy()
    difference = float(np.max(np.abs(np.concatenate(scored) - exact) / np.maximum(1.0, np.abs(exact))))
    ties = None
    if quantization == "float32":
        ties = sum(count_ties(model, expected, served, noise, temperature, condition) for served in both)
        if not difference <= _LOG_PROB_TOLERANCE:
            raise ExportError(f"log_prob of the LiteRT model differs from Python's by {difference:.1e}")
    if not np.isfinite(difference):
        raise ExportError(f"log_prob of the {quantization} LiteRT model is {np.concatenate(scored)}")
    for served in both:
        _check_values(signatures, served)
    tolerance = VALUE_TOLERANCE if model.head.levels is None else 0.0
    same = [np.isclose(served, expected, rtol=tolerance, atol=tolerance).reshape(num, -1).all(1) for served in both]
    equal = int(np.sum(same))
    return Report(quantization, 2 * num, ties, equal, difference, tuple(builtin))


def _check_values(signatures: LiteRTSignatures, x: np.ndarray) -> None:
    """Raises ExportError where values are outside of the model's support."""
    try:
        signatures.model.head.check(x, "samples")
    except ValueError as error:
        raise ExportError(f"the LiteRT model draws what the model cannot: {error}") from error


def describe(path: Path, report: Report) -> str:
    """Formats a summary for people: the signatures and the result of the check."""
    content = path.read_bytes()
    facts = metadata.read(content)
    batch = facts["batch_size"]
    conditions = "".join(f", {item['input']} {item['dtype']} {item['shape']}" for item in facts["condition"])
    x = f"{facts['dtype']} {facts['sample']['samples']}"
    noise = facts["noise"]["shape"]
    count = report.num_samples
    if report.num_ties is None:
        samples = f"{report.num_equal} of {count} samples equal Python's"
    else:
        samples = f"{count} samples equal Python's ({report.num_ties} ties of rounding)"
    return "\n".join(
        [
            f"exported {path} ({len(content) / 1e6:.2f} MB, {report.quantization} weights)",
            f"  sample    noise float32 {noise}, temperature float32 [{batch}]{conditions} -> samples {x}",
            f"  log_prob  x {x}{conditions} -> {', '.join(facts['log_prob'])}, in nats",
            *(line for steps in facts.get("parts", [facts.get("step")]) for line in _described(steps)),
            f"  {len(report.operators)} built-in operators and no other; all else is in the metadata of the file, "
            f"{metadata.NAME!r}",
            f"checked in the LiteRT runtime: {samples}, log_prob within {report.log_prob_difference:.1e}",
        ]
    )


def _described(steps: dict[str, Any]) -> list[str]:
    """Lines on `start` and `step`."""
    told, names = ", ".join(steps["start"]) or "nothing", steps.get("signatures", {"start": "start", "step": "step"})
    return [
        f"  {names['start']:<9} {told} -> the state of {names['step']}, {len(steps['state'])} tensors",
        f"  {names['step']:<9} the state, noise float32 {steps['noise_shape']}, temperature -> chunk (a "
        f"{steps['unit']}; there are {steps['num_units']}), the state",
    ]


def _reason(error: Exception) -> str:
    """Returns the line of a long message that names the mistake."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # "TF Select ops: Tan, Erfinv" names the operations.
    telling = [line for line in lines if " ops: " in line] or [line for line in lines if "error:" in line]
    return (telling or lines or [type(error).__name__])[0][:300]
