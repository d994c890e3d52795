"""Starts and ends every command: errors of the user are one line, exit codes are those of docs/commands.md."""

from __future__ import annotations

import errno
import os
import pathlib
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

from absl import app, flags, logging

from pipelines import disk_cache
from pipelines.run_lock import RunLocked
from pipelines.start import start_tensorflow

# Exit codes; a command that a signal stops returns STOPPED + the number of the signal.
FAILED, WRONG, NOT_FINITE, STOPPED = 1, 2, 3, 128

# Errors of the system that name a wrong path; others, such as a full disk, are failures of the run.
_WRONG_PATHS = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError)


class RunFailed(RuntimeError):
    """A run failed although its flags and data are right; the message is one line for the user."""


def import_quietly() -> None:
    """Imports tfar, and with it TensorFlow, without the start-up messages of its C++ parts.

    What the command compiles is kept on disk, where the flag --cache_dir or its default says.
    """
    start_tensorflow("tfar")


def check_out(flag: str, path: str | os.PathLike | None) -> None:
    """Checks, before anything is loaded, a flag that names a file to write.

    Args:
        flag: its name.
        path: its value; None writes no file.

    Raises:
        ValueError: it is a folder, there is no folder to write it into, or it may not be written.
    """
    if path is None:
        return
    path = pathlib.Path(path)
    if path.is_dir():
        raise ValueError(f"--{flag} must be a file, {path} is a folder")
    if not path.parent.is_dir():
        raise ValueError(f"--{flag}={path} cannot be written: there is no folder {path.parent}")
    try:
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, "permission denied")
        with tempfile.TemporaryFile(dir=path.parent):  # asks the file system, which knows more than permissions
            pass
    except OSError as error:
        raise ValueError(f"--{flag}={path} cannot be written: {error.strerror}") from error


def run(main: Callable[[], int | None], define_flags: Callable[[], None]) -> None:
    """Runs a command's main under absl.

    A ValueError of one line, an OSError and a RunFailed were written for the user and are printed as such; `-v=1` shows
    the traceback. Any other exception is a bug and shows its traceback.

    Args:
        main: returns the exit code.
        define_flags: called first. Not at import: several commands have flags of one name.
    """

    def guarded(arguments: Sequence[str]) -> int | None:
        try:
            if len(arguments) > 1:
                raise ValueError(f"no arguments are expected besides flags, got {arguments[1]!r}")
            return main()
        except (ValueError, OSError, ImportError, RunFailed, RunLocked) as error:
            extras = sys.modules.get("tfar.core.extras")
            if isinstance(error, ImportError) and not (extras and isinstance(error, extras.MissingExtra)):
                raise
            message = " ".join(str(error).split())
            if (isinstance(error, ValueError) and "\n" in str(error)) or logging.get_verbosity() > logging.INFO:
                raise
            print(f"error: {message}", file=sys.stderr)
            return _exit_code(error)
        except KeyboardInterrupt:
            print("\nstopped by SIGINT", file=sys.stderr)
            return STOPPED + signal.SIGINT

    disk_cache.define_flag()
    with _SigtermEnds():
        _or_one_line(define_flags)  # defining the flag of a run configuration reads the file and the overrides
        app.run(guarded, flags_parser=lambda arguments: _or_one_line(lambda: flags.FLAGS(list(arguments))))


class _SigtermEnds:
    """Ends the command at SIGTERM by an exception, so that it removes its lock and temporary files."""

    def __enter__(self) -> None:
        self._previous: Any = None
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, self._end)

    def __exit__(self, *error: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)

    def _end(self, number: int, frame: FrameType | None) -> None:
        del frame
        print("\nstopped by SIGTERM", file=sys.stderr)
        sys.exit(STOPPED + number)


def _exit_code(error: Exception) -> int:
    # Of what tfar raises, the damaged file alone is no mistake of the user; without tfar there was none.
    training = sys.modules.get("tfar.training")
    if training and isinstance(error, training.DamagedCheckpoint):
        return FAILED
    if isinstance(error, RunFailed | RunLocked | ImportError):
        return FAILED
    return FAILED if isinstance(error, OSError) and not isinstance(error, _WRONG_PATHS) else WRONG


def _or_one_line(parse: Callable[[], Any]) -> Any:
    """Calls `parse`; a wrong flag, a setting that does not exist, or a missing configuration ends with one line."""
    try:
        return parse()
    except flags.Error as error:
        message = str(error)
    except ValueError as error:
        message = str(error)
        if "\n" in message:  # a traceback of the file of settings; its last line says what is wrong
            message = f"--config: {message.strip().splitlines()[-1]}"
    except (AttributeError, KeyError, TypeError, SyntaxError, NameError, ImportError, OSError) as error:
        cause: Any = error
        while isinstance(cause, KeyError | AttributeError) and cause.args:
            cause = cause.args[0]
        message = f"--config: {cause}"
    except SystemExit:  # --help, which absl ends with 1
        sys.exit(0)
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(WRONG)
