"""Writes a trained model in a form that runs without Python.

python -m export --workdir=runs/digits --out=runs/digits/export --format=saved_model
python -m export --workdir=runs/digits --out=runs/digits/digits.tflite --format=litert

--workdir        work directory of a training; its model.keras (averaged weights) is exported
--model          a .keras file, instead of --workdir
--out            saved_model: folder of the versions, by default `export` in the work directory
                 litert: the .tflite file, by default named as the work directory and in it
--format         saved_model, or litert (tflite is the same)
--name           what the model is called where it is served; by default the name of the work directory

saved_model:
--no-sessions    leaves the stateful signatures session_begin, session_step, session_end, session_stats out, and
                 writes batching_params.pbtxt
--session_slots  sessions at a time
--session_ttl    seconds without a step after which a session expires
--batch_calls    draws requests that are under way together as one batch; one with a short deadline may then stop others
--max_examples   events of one request; by default 64, and fewer where those of no image have more than 2^18 positions
--max_positions  factors of all events of one request together; by default 2^18 for a model of any length
--xla            adds sample_xla and complete_xla, for servers started with --xla_cpu_compilation_enabled

litert:
--quantization   float32, float16 (weights), or int8 (weights, dynamic range)
--batch_size     events of a call
--length         length of the events of a model of any length
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from absl import flags, logging

from export.writer.errors import ExportError
from pipelines import command, program
from pipelines.start import start_tensorflow

SAVED_MODEL, LITERT = "saved_model", "litert"
FORMATS = (SAVED_MODEL, LITERT, "tflite")
QUANTIZATIONS = ("float32", "float16", "int8")
_OPTIONS = ("sessions", "slots", "ttl", "xla", "batch_calls", "max_examples", "max_positions")
# Of the scores that `pipelines.evaluate` leaves in a work directory, what belongs on a model card.
_FACTS = ("data", "split", "transforms", "bits_per_dim", "nats", "examples", "weights", "ensemble", "step")


def main(
    workdir: str | None,
    model: str | None,
    out: str | None,
    format: str,
    name: str | None = None,
    **options: Any,
) -> None:
    """Exports a model, and prints a summary.

    Args:
        workdir: work directory of a training, or None.
        model: a .keras file, or None.
        out: folder of the versions or .tflite file; None for the default in the work directory.
        format: one of `FORMATS`.
        name: name of the model; None for that of the work directory or the file.
        **options: flags of the format.

    Raises:
        ValueError: a flag is wrong.
        RunFailed: the export failed.
    """
    _check(workdir, model, out, format, options)
    # TensorFlow takes seconds to import, which no mistyped flag should cost.
    _say("loading TensorFlow and the model")
    saved_model = start_tensorflow("export.writer.saved_model")
    try:
        loaded = saved_model.load_model(model or os.path.join(workdir or "", "model.keras"))
        write = _write_saved_model if format == SAVED_MODEL else _write_litert
        print(write(loaded, workdir, out, name or _name(workdir, model), options))
    except ExportError as error:
        raise command.RunFailed(str(error)) from error


def _write_saved_model(model: Any, workdir: str | None, out: str | None, name: str, options: dict[str, Any]) -> str:
    from export.writer import saved_model
    from export.writer.options import Options

    given = {key: options[key] for key in _OPTIONS if key in options}
    try:
        chosen = Options(**given)
    except ValueError as error:
        raise ValueError(f"--{error}") from error
    folder = out or os.path.join(workdir or "", "export")
    version, report = saved_model.export(model, folder, chosen, name, _facts(workdir), _say)
    return saved_model.describe(version, report)


def _write_litert(model: Any, workdir: str | None, out: str | None, name: str, options: dict[str, Any]) -> str:
    from export.litert import converter

    given = {key: options[key] for key in ("quantization", "batch_size", "length") if key in options}
    path, report = converter.export(model, out or os.path.join(workdir or "", f"{name}.tflite"), **given)
    return converter.describe(path, report)


def _say(step: str) -> None:
    """Shows what goes on: an export takes minutes."""
    print(f"export: {step}", file=sys.stderr, flush=True)


def _name(workdir: str | None, model: str | None) -> str:
    path = os.path.abspath(workdir or model or "")
    return os.path.splitext(os.path.basename(path))[0] or "model"


def _facts(workdir: str | None) -> dict[str, Any]:
    """Reads the scores of a finished run from its test.json; empty where there is none."""
    try:
        with open(os.path.join(workdir or "", "test.json"), encoding="utf-8") as file:
            scores = json.load(file)
    except (OSError, ValueError):
        return {}
    return {key: scores[key] for key in _FACTS if key in scores}


def _check(workdir: str | None, model: str | None, out: str | None, format: str, options: dict[str, Any]) -> None:
    """Raises ValueError where a flag is wrong."""
    if format not in FORMATS:
        raise ValueError(f"--format must be one of {', '.join(FORMATS)}, got {format!r}")
    if options.get("quantization", QUANTIZATIONS[0]) not in QUANTIZATIONS:
        raise ValueError(f"--quantization must be one of {', '.join(QUANTIZATIONS)}, got {options['quantization']!r}")
    if (workdir is None) == (model is None):
        raise ValueError("give either --workdir or --model")
    if format != SAVED_MODEL and out is not None and not out.endswith(".tflite"):
        raise ValueError(f"--out must end in .tflite for --format={format}, got {out!r}")
    if workdir is None and out is None:
        raise ValueError("--model needs --out, where the export is written")
    if model is not None and not os.path.isfile(model):
        raise ValueError(f"--model={model} does not exist")
    if workdir is not None and not os.path.isdir(workdir):
        raise ValueError(f"--workdir={workdir} does not exist")
    if workdir is not None and not os.path.isfile(os.path.join(workdir, "model.keras")):
        train = program.typed("train", [f"--workdir={workdir}"])
        raise ValueError(f"--workdir={workdir} holds no model.keras; train one: {train}")


def _run() -> None:
    values = flags.FLAGS
    if logging.get_verbosity() == logging.INFO:
        # TensorFlow tells at this level which names of inputs it changed and how long a file took; -v=1 shows all.
        logging.set_verbosity(logging.WARNING)
    main(
        values.workdir,
        values.model,
        values.out,
        values.format,
        values.name,
        sessions=not values["no-sessions"].value,
        slots=values.session_slots,
        ttl=values.session_ttl,
        xla=values.xla,
        batch_calls=values.batch_calls,
        max_examples=values.max_examples,
        max_positions=values.max_positions,
        quantization=values.quantization,
        batch_size=values.batch_size,
        length=values.length,
    )


def _define_flags() -> None:
    flags.DEFINE_string("workdir", None, "Work directory of a training; its model.keras is exported.")
    flags.DEFINE_string("model", None, "A .keras file, instead of --workdir.")
    flags.DEFINE_string("out", None, "Folder of the versions, by default `export` in the work directory; or the file.")
    flags.DEFINE_string("format", SAVED_MODEL, f"One of {', '.join(FORMATS)}.")
    flags.DEFINE_string("name", None, "Name of the model where it is served; by default that of the work directory.")
    flags.DEFINE_boolean("no-sessions", False, "saved_model: leave the stateful signatures out.")
    flags.DEFINE_integer("session_slots", 64, "saved_model: sessions at a time.")
    flags.DEFINE_float("session_ttl", 600.0, "saved_model: seconds without a step after which a session expires.")
    flags.DEFINE_boolean("xla", False, "saved_model: add signatures that are compiled by XLA.")
    flags.DEFINE_boolean("batch_calls", False, "saved_model: draw requests that are under way together as one batch.")
    flags.DEFINE_integer("max_examples", None, "saved_model: events of one request; by default 64 for images.")
    flags.DEFINE_integer("max_positions", None, "saved_model: factors of all events of one request together.")
    flags.DEFINE_string("quantization", QUANTIZATIONS[0], f"litert: one of {', '.join(QUANTIZATIONS)}.")
    flags.DEFINE_integer("batch_size", 1, "litert: events of a call.")
    flags.DEFINE_integer("length", None, "litert: length of the events of a model of any length.")


if __name__ == "__main__":
    command.run(_run, _define_flags)
