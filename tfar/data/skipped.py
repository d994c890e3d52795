"""Files of a folder that a source leaves out, in words: nothing is left out in silence."""

import os
import pathlib
from collections.abc import Collection, Sequence

# Names that are shown.
_SHOWN = 3


def first_of(names: Sequence[str]) -> str:
    """Lists the first names, and the number of the others.

    Example:
        >>> first_of(["a", "b", "c", "d", "e"])
        'a, b, c and 2 more'
    """
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"


def describe(folder: pathlib.Path, taken: Collection[pathlib.Path]) -> str:
    """Counts the files below a folder that are not taken; hidden ones do not count.

    Args:
        folder: The folder.
        taken: The files that are read.

    Returns:
        `"2 files skipped (notes.txt, loop.png)"`; empty where there are none.
    """
    known, skipped = set(taken), []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = [pathlib.Path(place) / name for name in names if not name.startswith(".")]
        skipped += [path.relative_to(folder).as_posix() for path in paths if path not in known]
    if not skipped:
        return ""
    plural = "s" if len(skipped) > 1 else ""
    return f"{len(skipped)} file{plural} skipped ({first_of(sorted(skipped))})"
