"""Starts and ends every command: errors of the user are one line and exit code 1."""

from __future__ import annotations

import os
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

from absl import app, logging

from pipelines import disk_cache
from pipelines.start import start_tensorflow


def import_quietly() -> None:
    """Imports tfar, and with it TensorFlow, without the start-up messages of its C++ parts.

    What the command compiles is kept on disk, where the flag --cache_dir or its default says.
    """
    start_tensorflow("tfar")


def check_workdir(workdir: str | os.PathLike) -> pathlib.Path:
    """Returns the path of a run's configuration, config.json in its work directory.

    Raises:
        ValueError: there is none.
    """
    path = pathlib.Path(workdir) / "config.json"
    if not path.exists():
        raise ValueError(f"--workdir={workdir} holds no run (no config.json); train first: python -m pipelines.train")
    return path


def run(main: Callable[[], int | None], define_flags: Callable[[], None]) -> None:
    """Runs a command's main under absl.

    A ValueError of one line or an OSError was written for the user and is printed as such; `-v=1` shows the traceback.
    Any other exception is a bug and shows its traceback.

    Args:
        main: returns the exit code.
        define_flags: called first. Not at import: several commands have flags of one name.
    """

    def guarded(arguments: Sequence[str]) -> int | None:
        try:
            if len(arguments) > 1:
                raise ValueError(f"no arguments are expected besides flags, got {arguments[1]!r}")
            return main()
        except (ValueError, OSError, ImportError) as error:
            extras = sys.modules.get("tfar.core.extras")
            if isinstance(error, ImportError) and not (extras and isinstance(error, extras.MissingExtra)):
                raise
            message = " ".join(str(error).split())
            if (isinstance(error, ValueError) and "\n" in str(error)) or logging.get_verbosity() > logging.INFO:
                raise
            print(f"error: {message}", file=sys.stderr)
            return 1

    disk_cache.define_flag()
    _or_one_line(define_flags)  # defining the flag of a run configuration reads the file and the overrides
    app.run(guarded, flags_parser=lambda arguments: _or_one_line(lambda: app.parse_flags_with_usage(arguments)))


def _or_one_line(parse: Callable[[], Any]) -> Any:
    """Calls `parse`; a setting that does not exist, or a missing file of settings, ends the command with one line."""
    try:
        return parse()
    except (AttributeError, KeyError, OSError) as error:
        cause: Any = error
        while isinstance(cause, Exception) and cause.args and not isinstance(cause, OSError):
            cause = cause.args[0]
        print(f"error: --config: {' '.join(str(cause).split())}", file=sys.stderr)
        sys.exit(1)
