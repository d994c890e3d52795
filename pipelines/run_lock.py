"""Locks a work directory, so that one run at a time writes into it.

The kernel's lock (flock) decides between processes of one machine, in containers too: the kernel drops it when the
process ends, in whatever way. It may not reach other machines that share the folder over a network, and some file
systems have none. There a pulse decides: the holder writes the file anew every few seconds, and whoever finds a file of
another machine watches it for a while. The file also names the process and its machine, for errors.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import pathlib
import platform
import threading
import time
import uuid
from typing import Any

NAME = ".lock"
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)


class RunLocked(RuntimeError):
    """Another run holds the work directory; the message says which."""


class RunLock:
    """Locks a work directory, in a `with` statement.

    Missing folders are made; those that are empty at the end are removed.

    Args:
        folder: the work directory.
        pulse: seconds between signs of life.
        patience: seconds for which a lock of another machine is watched before it is taken over.

    Raises:
        RunLocked: another run holds it.
        ValueError: the folder cannot be made or written.
    """

    def __init__(self, folder: str | os.PathLike, pulse: float = 5.0, patience: float = 20.0):
        self.folder, self.path = pathlib.Path(folder), pathlib.Path(folder) / NAME
        self._pulse, self._patience = pulse, patience
        self._file: int | None = None
        self._made: list[pathlib.Path] = []
        self._record: dict[str, Any] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> RunLock:
        try:
            self._make_folder()
            self._take()
        except BaseException as error:
            self._close(remove=False)
            if isinstance(error, OSError):
                raise ValueError(f"--workdir={self.folder} cannot be written: {error}") from error
            raise
        self._thread = threading.Thread(target=self._live, name="run lock", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._close(remove=True)

    def _make_folder(self) -> None:
        missing = [path for path in (self.folder, *self.folder.parents) if not path.exists()]
        for path in reversed(missing):
            path.mkdir(exist_ok=True)
            self._made.append(path)

    def _take(self) -> None:
        while True:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            kernel_decides = self._flock()
            # Who held it may have removed the file between the two calls.
            if not kernel_decides or _same_file(self._file, self.path):
                break
            os.close(self._file)
        before = _read(self.path)
        elsewhere = bool(before) and before.get("kernel") != _kernel()
        if before and (elsewhere or not kernel_decides):
            self._watch(before)
        self._record = {
            "pid": os.getpid(),
            "host": platform.node(),
            "kernel": _kernel(),
            "since": time.strftime("%Y-%m-%d %H:%M:%S %z"),
            "run": uuid.uuid4().hex,
            "pulse": 0,
        }
        self._write()
        if not kernel_decides:
            # Two that start at once both find nothing; the one that wrote last stays.
            time.sleep(min(1.0, self._pulse))
            found = _read(self.path)
            if found.get("run") != self._record["run"]:
                raise RunLocked(self._held(found))

    def _flock(self) -> bool:
        """Takes the kernel's lock; returns whether the file system has such locks."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunLocked(self._held(_read(self.path))) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            return False
        return True

    def _watch(self, before: dict[str, Any]) -> None:
        """Watches the file of a holder that the kernel's lock may not reach; raises RunLocked where it changes."""
        end = time.monotonic() + self._patience
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, self._pulse / 2))
            # Opened anew: file systems of a network look at the server again only then.
            if _read(self.path) != before:
                raise RunLocked(self._held(before))

    def _live(self) -> None:
        while not self._stop.wait(self._pulse):
            self._record["pulse"] += 1
            with contextlib.suppress(OSError):  # a disk that is full, or a network that is away, ends no run
                self._write()

    def _write(self) -> None:
        data = json.dumps(self._record).encode()
        os.pwrite(self._file, data, 0)
        os.ftruncate(self._file, len(data))
        os.fsync(self._file)

    def _held(self, record: dict[str, Any]) -> str:
        who = "another run"
        if record:
            who = f"process {record.get('pid')} on {record.get('host')}, since {record.get('since')}"
        return f"--workdir={self.folder} is in use by {who}; wait for it, stop it, or use another --workdir"

    def _close(self, remove: bool) -> None:
        if self._file is not None:
            if remove:
                self.path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = None
        with contextlib.suppress(OSError):  # not empty: a run lies there
            while self._made:
                self._made.pop().rmdir()


def _read(path: pathlib.Path) -> dict[str, Any]:
    """Reads a lock file; returns {} where it is missing, empty or half written."""
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _same_file(file: int, path: pathlib.Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


def _kernel() -> str:
    """Returns a name of the running kernel, another one after every boot; containers of one machine share it."""
    try:
        return pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return platform.node()
