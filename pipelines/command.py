"""How every command starts and ends: errors of the user are one line and exit code 1."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from absl import app, logging


def run(main: Callable[[Sequence[str]], int | None]) -> None:
    """Runs a command's main under absl.

    A ValueError or OSError of one line was written for the user and is printed as such; `-v=1` shows the traceback. Any
    other exception is a bug and shows its traceback.

    Args:
        main: takes the arguments that are no flags, returns the exit code.
    """

    def guarded(arguments: Sequence[str]) -> int | None:
        try:
            if len(arguments) > 1:
                raise ValueError(f"no arguments are expected besides flags, got {arguments[1]!r}")
            return main(arguments)
        except (ValueError, OSError) as error:
            message = str(error)
            if "\n" in message or logging.get_verbosity() > logging.INFO:
                raise
            print(f"error: {message}", file=sys.stderr)
            return 1

    app.run(guarded)
