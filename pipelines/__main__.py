"""The command `tfar`: runs a command by its name.

    tfar COMMAND [FLAGS]      the same as the module below, so `tfar train` is `python -m pipelines.train`

What stands behind the name is handed to the module as it is. Nothing is imported here that takes time, or that an
environment with the client alone lacks.
"""

from __future__ import annotations

import importlib.metadata
import os
import runpy
import sys
from collections.abc import Sequence

from pipelines.program import COMMANDS

_FAILED, _WRONG = 1, 2  # exit codes


def usage() -> str:
    """Lists the commands, one line each."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.help}" for name, command in COMMANDS.items()]
    return "\n".join(
        ["usage: tfar COMMAND [FLAGS]", "", *lines, "", "tfar COMMAND --help lists the flags of a command."]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; what it exits with, this process exits with.

    Args:
        arguments: the command and its flags; those of the process by default.

    Returns:
        The exit code, where no command ran.
    """
    name, *flags = (sys.argv[1:] if arguments is None else arguments) or [""]
    if name in ("--help", "-h", "-help", "help"):
        print(usage())
        return 0
    if name == "--version":
        print(f"tfar {importlib.metadata.version('tfar')}")
        return 0
    if name not in COMMANDS:
        got = f"got {name!r}" if name else "got none"
        print(f"error: the command must be one of {', '.join(COMMANDS)}, {got} (tfar --help)", file=sys.stderr)
        return _WRONG
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # for models of the user's own; `python -m` has it in front
    sys.argv[1:] = flags
    try:
        runpy.run_module(COMMANDS[name].module, run_name="__main__", alter_sys=True)
    except ModuleNotFoundError as error:
        if error.name != "absl":  # what every command but the client's imports first
            raise
        print(f"error: tfar {name} needs what tfar depends on; install it: pip install tfar", file=sys.stderr)
        return _FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
