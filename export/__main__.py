"""Writes a trained model in a form that runs without Python.

python -m export --workdir=runs/digits --out=runs/digits/export --format=saved_model

--workdir   work directory of a training; its model.keras (averaged weights) is exported
--model     a .keras file, instead of --workdir
--out       folder of the versions; by default `export` in the work directory
--format    saved_model
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from absl import app, flags, logging

from export.quiet import quietly, set_log_level

FORMATS = ("saved_model",)
LATER = ("litert", "tflite")


def main(workdir: str | None, model: str | None, out: str | None, format: str) -> int:
    """Runs the command; a mistake of the user is one line on stderr.

    Args:
        workdir: work directory of a training, or None.
        model: a .keras file, or None.
        out: folder of the versions; None for `export` in the work directory.
        format: one of `FORMATS`.

    Returns:
        The exit status.
    """
    message = _wrong(workdir, model, out, format)
    if message is None:
        # TensorFlow takes seconds to import, which no mistyped flag should cost.
        saved_model = quietly(lambda: importlib.import_module("export.saved_model"))
        from export.errors import ExportError

        try:
            loaded = saved_model.load_model(model or os.path.join(workdir or "", "model.keras"))
            version, report = saved_model.export(loaded, out or os.path.join(workdir or "", "export"))
        except ExportError as error:
            message = str(error)
        else:
            print(saved_model.describe(version, report))
            return 0
    print(f"error: {message}", file=sys.stderr)
    return 1


def _wrong(workdir: str | None, model: str | None, out: str | None, format: str) -> str | None:
    """What is wrong with the flags, or None."""
    if format in LATER:
        return f"--format={format} comes with a later version of tfar; this one writes {', '.join(FORMATS)}"
    if format not in FORMATS:
        return f"--format must be one of {', '.join(FORMATS)}, got {format!r}"
    if (workdir is None) == (model is None):
        return "give either --workdir or --model"
    if workdir is None:
        if out is None:
            return "--model needs --out, the folder of the versions"
        return None if os.path.isfile(model or "") else f"--model={model} does not exist"
    if not os.path.isdir(workdir):
        return f"--workdir={workdir} does not exist"
    if not os.path.isfile(os.path.join(workdir, "model.keras")):
        return f"{workdir} holds no model.keras; train one: python -m pipelines.train --workdir={workdir}"
    return None


def _run(arguments: Sequence[str]) -> int:
    if len(arguments) > 1:
        print(f"error: no arguments are expected besides flags, got {arguments[1]!r}", file=sys.stderr)
        return 1
    values = flags.FLAGS
    if logging.get_verbosity() == logging.INFO:
        # TensorFlow tells at this level which names of inputs it changed and how long a file took; -v=1 shows all.
        logging.set_verbosity(logging.WARNING)
    return main(values.workdir, values.model, values.out, values.format)


if __name__ == "__main__":
    set_log_level()
    # Here, not at import: other commands have flags of these names.
    flags.DEFINE_string("workdir", None, "Work directory of a training; its model.keras is exported.")
    flags.DEFINE_string("model", None, "A .keras file, instead of --workdir.")
    flags.DEFINE_string("out", None, "Folder of the versions; by default `export` in the work directory.")
    flags.DEFINE_string("format", "saved_model", f"One of {', '.join(FORMATS)}.")
    app.run(_run)
