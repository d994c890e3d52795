"""How commands end: exit codes and what is on stderr."""

import errno
import os
import signal
import sys
from unittest import mock

import pytest

from pipelines import command
from pipelines.run_lock import RunLocked
from tests.commands import own_flags
from tfar import training


def end_of(main, *arguments):
    """The exit code of a command."""
    with own_flags(), mock.patch.object(sys, "argv", ["command", *arguments]), pytest.raises(SystemExit) as end:
        command.run(main, lambda: None)
    return end.value.code or 0


def raises(error):
    def main():
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("config.x must be y"), 2),
        (FileNotFoundError(errno.ENOENT, "no such file", "a.npz"), 2),
        (PermissionError(errno.EACCES, "permission denied", "a.png"), 2),
        (training.CheckpointError("another architecture"), 2),
        (training.DamagedCheckpoint("a.ckpt is truncated"), 1),
        (OSError(errno.ENOSPC, "no space left on device", "a.ckpt"), 1),
        (command.RunFailed("the server is away"), 1),
        (RunLocked("in use"), 1),
    ],
)
def test_an_error_is_one_line_and_a_code(error, code, capsys):
    assert end_of(raises(error)) == code
    assert capsys.readouterr() == ("", f"error: {error}\n")


def test_done():
    assert end_of(lambda: 0) == end_of(lambda: None) == 0
    assert end_of(lambda: 3) == 3


def test_wrong_flags_are_2(capsys):
    assert end_of(lambda: 0, "--nope=3") == 2
    assert capsys.readouterr().err == "error: Unknown command line flag 'nope'\n"
    assert end_of(lambda: 0, "nope") == 2
    assert "got 'nope'" in capsys.readouterr().err


def test_a_bug_shows_where_it_is(capsys):
    with own_flags(), mock.patch.object(sys, "argv", ["command"]), pytest.raises(ZeroDivisionError):
        command.run(lambda: 1 // 0, lambda: None)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals(number, code, capsys):
    # As in a shell; who starts tests in the background has SIGINT ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        others = signal.getsignal(signal.SIGTERM)
        assert end_of(lambda: os.kill(os.getpid(), number)) == code
        assert signal.getsignal(signal.SIGTERM) is others
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == f"\nstopped by {signal.Signals(number).name}\n"
