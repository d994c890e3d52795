"""Writes a trained model in a form that runs without Python.

python -m export --workdir=runs/digits --out=runs/digits/export --format=saved_model
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

FORMATS = ("saved_model",)
LATER = ("litert", "tflite")


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Flags of the command."""
    parser = argparse.ArgumentParser(prog="python -m export", description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", help="work directory of a training; its model.keras is exported")
    parser.add_argument("--model", help="a .keras file, instead of --workdir")
    parser.add_argument("--out", help="folder of the versions; by default export in the work directory")
    parser.add_argument("--format", default="saved_model", help=f"one of {', '.join(FORMATS)}")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    arguments = parse(argv)
    message = _wrong(arguments)
    if message is None:
        # TensorFlow takes seconds to import, which no mistyped flag should cost.
        from export import saved_model
        from export.errors import ExportError

        try:
            model = saved_model.load_model(arguments.workdir or arguments.model)
            version, report = saved_model.export(model, arguments.out or os.path.join(arguments.workdir, "export"))
        except ExportError as error:
            message = str(error)
        else:
            print(saved_model.describe(version, report))
            return 0
    print(f"error: {message}", file=sys.stderr)
    return 1


def _wrong(arguments: argparse.Namespace) -> str | None:
    """What is wrong with the flags, or None."""
    if arguments.format in LATER:
        return f"--format={arguments.format} comes with a later version of tfar; this one writes {', '.join(FORMATS)}"
    if arguments.format not in FORMATS:
        return f"--format must be one of {', '.join(FORMATS)}, got {arguments.format!r}"
    if (arguments.workdir is None) == (arguments.model is None):
        return "give either --workdir or --model"
    if arguments.out is None and arguments.workdir is None:
        return "--model needs --out, the folder of the versions"
    if arguments.workdir is not None and not os.path.isdir(arguments.workdir):
        return f"--workdir={arguments.workdir} does not exist"
    return None


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.exit(main())
