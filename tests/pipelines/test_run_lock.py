import errno
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading

import pytest

from pipelines import run_lock
from pipelines.run_lock import RunLock, RunLocked

ROOT = pathlib.Path(__file__).parents[2]
HOLD = """
import sys, time
from pipelines.run_lock import RunLock
with RunLock(sys.argv[1]):
    print(flush=True)
    time.sleep(60)
"""


@pytest.fixture
def without_kernel_locks(monkeypatch):
    """A file system that has no flock."""

    def refuse(file, operation):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(run_lock.fcntl, "flock", refuse)


def fast(folder):
    return RunLock(folder, pulse=0.02, patience=0.2)


def write(folder, **changes):
    """The lock of a run that has ended without a word, in a process of this machine by default."""
    record = {
        "pid": os.getpid(),
        "host": "there",
        "kernel": run_lock._kernel(),
        "since": "then",
        "run": "a",
        "pulse": 7,
    }
    (folder / run_lock.NAME).write_text(json.dumps(record | changes))


def test_a_second_run_is_refused_and_the_first_goes_on(tmp_path):
    with RunLock(tmp_path):
        held = (tmp_path / ".lock").read_bytes()
        for _ in range(2):
            with pytest.raises(RunLocked, match=rf"in use by process {os.getpid()} on .*, since 20.*another --workdir"):
                RunLock(tmp_path).__enter__()
        assert (tmp_path / ".lock").read_bytes() == held
    assert not list(tmp_path.iterdir())
    with RunLock(tmp_path):
        pass


def test_folders_that_stay_empty_go_again(tmp_path):
    workdir = tmp_path / "runs" / "new"
    with RunLock(workdir):
        assert workdir.is_dir()
    assert not list(tmp_path.iterdir())
    with RunLock(workdir):
        (workdir / "config.json").touch()
    assert [path.name for path in workdir.iterdir()] == ["config.json"]


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "file").touch()
    for workdir in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(ValueError, match=f"--workdir={workdir} cannot be written: .*file"):
            RunLock(workdir).__enter__()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout.readline() == b"\n"
            with pytest.raises(RunLocked, match=f"process {holder.pid} "):
                RunLock(tmp_path).__enter__()
        finally:
            holder.send_signal(signal.SIGKILL)
    assert json.loads((tmp_path / ".lock").read_bytes())["pid"] == holder.pid
    with RunLock(tmp_path, patience=1e6):  # nothing is waited for
        assert json.loads((tmp_path / ".lock").read_bytes())["pid"] == os.getpid()


@pytest.mark.parametrize("content", ["", "{", "3", "null"])
def test_a_half_written_lock_means_nothing(tmp_path, content):
    (tmp_path / ".lock").write_text(content)
    with RunLock(tmp_path, patience=1e6):
        pass


def test_a_number_that_another_process_has_now_means_nothing(tmp_path):
    write(tmp_path)
    with RunLock(tmp_path, patience=1e6):
        pass


def test_another_machine_without_a_pulse_is_dead(tmp_path):
    write(tmp_path, kernel="another")
    with fast(tmp_path) as lock:
        assert json.loads(lock.path.read_bytes())["kernel"] == run_lock._kernel()


def test_another_machine_with_a_pulse_lives(tmp_path):
    write(tmp_path, kernel="another", pid=12)
    beat = threading.Timer(0.1, write, [tmp_path], {"kernel": "another", "pid": 12, "pulse": 8})
    beat.start()
    with pytest.raises(RunLocked, match="process 12 on there, since then"):
        RunLock(tmp_path, pulse=0.02, patience=30).__enter__()
    beat.join()
    assert json.loads((tmp_path / ".lock").read_bytes())["pulse"] == 8


def test_without_locks_of_the_kernel_the_pulse_decides(tmp_path, without_kernel_locks):
    with fast(tmp_path), pytest.raises(RunLocked, match=f"process {os.getpid()}"):
        RunLock(tmp_path, pulse=0.02, patience=30).__enter__()
    write(tmp_path)
    with fast(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_of_two_that_start_at_once_without_locks_one_stays(tmp_path, without_kernel_locks):
    lock = RunLock(tmp_path, pulse=0.3)
    threading.Timer(0.1, write, [tmp_path], {"pid": 12}).start()
    with pytest.raises(RunLocked, match="process 12"):
        lock.__enter__()
    assert json.loads((tmp_path / ".lock").read_bytes())["pid"] == 12


def test_a_full_disk_ends_no_run(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, "disk full")

    with fast(tmp_path) as lock:
        monkeypatch.setattr(run_lock.os, "pwrite", fail)
        pulse = lock._record["pulse"]
        while lock._record["pulse"] < pulse + 2:
            pass
        monkeypatch.undo()
    assert not list(tmp_path.iterdir())
