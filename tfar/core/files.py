"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import pathlib
import re

_SUFFIX = ".tmp"


def write_atomically(path: str | os.PathLike, data: bytes) -> None:
    """Writes a file under a temporary name, then renames it: readers see all of it or the old one."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_SUFFIX}")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def remove_temporary(folder: str | os.PathLike, names: str) -> None:
    """Removes what writers that were killed have left; call it where no other process writes such files.

    Args:
        folder: where the files would lie; it may be missing.
        names: regular expression of their names.
    """
    pattern = re.compile(rf"\.(?:{names})\.\d+{re.escape(_SUFFIX)}")
    folder = pathlib.Path(folder)
    for path in folder.iterdir() if folder.is_dir() else ():
        if pattern.fullmatch(path.name):
            path.unlink(missing_ok=True)
