"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import pathlib


def write_atomically(path: str | os.PathLike, data: bytes) -> None:
    """Writes a file under a temporary name, then renames it: readers see all of it or the old one."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
