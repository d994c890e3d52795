"""`npz:FILE`: arrays in a NumPy archive, in one of four layouts.

    keys                                         labels, if any (per split: with _train, ...)
    x                                            label, labels or y
    images                                       label, labels or y
    x_train, x_valid, x_test (any of them)       y_train, label_train or labels_train, ...
    train, valid, test (any of them)             y_train, label_train or labels_train, ...

Any other array of the same length can be named by `condition=`: `embedding`, or with splits
`embedding_train`, `embedding_valid`, ..., named without the ending.
"""

import contextlib
import pathlib
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tfar.data.source import Source, from_arrays
from tfar.data.splits import SPLITS

_LABELS = ("label", "labels", "y")
_ACCEPTED = "'x', 'images', 'x_train|x_valid|x_test' or 'train|valid|test'"


class _Archive(Mapping):
    """The arrays of an archive, each read once, with one-line errors; the file is not kept open."""

    def __init__(self, path: pathlib.Path):
        self._path = path
        self._read: dict[str, np.ndarray] = {}
        with self._open() as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ValueError(
                    f"npz file {str(path)!r} holds a single array (.npy); save it by numpy.savez(FILE, x=array)"
                )
            self._keys = tuple(file.files)

    @contextlib.contextmanager
    def _open(self) -> Iterator[Any]:
        with contextlib.ExitStack() as stack:
            try:
                # Opened here: NumPy leaves a damaged file open.
                file = np.load(stack.enter_context(self._path.open("rb")), allow_pickle=False)
            except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
                raise ValueError(f"npz file {str(self._path)!r} {_fault(self._path)}") from error
            yield stack.enter_context(file) if isinstance(file, np.lib.npyio.NpzFile) else file

    def __getitem__(self, key: str) -> np.ndarray:
        if key not in self._read:
            try:
                with self._open() as file:
                    self._read[key] = file[key]
            except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
                if "allow_pickle" in str(error):
                    error = ValueError("it holds Python objects, not numbers")
                raise ValueError(f"npz file {str(self._path)!r}: key {key!r} cannot be read: {error}") from error
        return self._read[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def _fault(path: pathlib.Path) -> str:
    """Why NumPy does not open a file; its own advice is meant for programs."""
    with path.open("rb") as file:
        start = file.read(8)
    if start.startswith((b"PK", b"\x93NUMPY")):
        return "is damaged: it begins as an archive of NumPy does, but cannot be read to its end"
    return f"is not a NumPy archive: it begins with {start!r}" if start else "is not a NumPy archive: it is empty"


class _Split(Mapping):
    """One split's arrays under the names of a source: x, label, and the rest as they are."""

    def __init__(self, archive: _Archive, names: Mapping[str, str]):
        self._archive, self._names = archive, names

    def __getitem__(self, key: str) -> np.ndarray:
        return self._archive[self._names[key]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _names(keys: list[str], x: str, ending: str) -> dict[str, str]:
    names = {"x": x}
    for key in keys:
        if key != x and key.endswith(ending):
            names.setdefault(key.removesuffix(ending), key)
    labels = [names.pop(label) for label in _LABELS if label in names]
    if labels:
        names["label"] = labels[0]
    return names


def open_source(path: pathlib.Path, *, levels: int | None = None, num_labels: int | None = None) -> Source:
    """Opens an archive.

    Args:
        path: The file.
        levels: Number of levels of x; default: inferred over all splits (see
            `tfar.data.values.infer_levels`).
        num_labels: Number of classes; default: the largest label + 1.

    Returns:
        The source, with the archive's own splits or one split `all`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: Not an archive, none of the accepted keys, or unacceptable arrays.
    """
    if not path.is_file():
        raise FileNotFoundError(f"npz:FILE needs an existing file, got {str(path)!r}")
    archive = _Archive(path)
    keys = list(archive)
    own = {s: f"x_{s}" for s in SPLITS if f"x_{s}" in keys}
    own = own or {s: s for s in SPLITS if s in keys}
    if own:
        splits = {split: _names(keys, x, f"_{split}") for split, x in own.items()}
    elif "x" in keys or "images" in keys:
        splits = {"all": _names(keys, "x" if "x" in keys else "images", "")}
    else:
        found = ", ".join(map(repr, keys)) or "none"
        raise ValueError(f"npz file {str(path)!r} must have keys {_ACCEPTED}, found {found}")
    arrays = {split: _Split(archive, names) for split, names in splits.items()}
    return from_arrays(arrays, levels, num_labels)
