"""Text: a file, or by default the source of Python's standard library; characters or bytes, cut in order.

`text:FILE` is any UTF-8 file. `text` needs no download: the modules of the standard library that are single files, in
the order of their names, whole files up to 2,000,000 bytes (which files these are depends on the version of Python; the
fingerprint tells).

The beginning of a text is its training split and the end, by default the last 10%, its validation split. Unless a
fraction is given for it, the test split is the validation split, as is usual for texts of this kind.
"""

import pathlib
import sysconfig

import numpy as np

from tfar.core.vocabulary import Vocabulary
from tfar.data import splits as splits_lib
from tfar.data.data_info import DataInfo

_LIBRARY_BYTES = 2_000_000
UNITS = ("char", "byte")


def standard_library() -> bytes:
    """Returns the default text.

    Raises:
        FileNotFoundError: Python was installed without its source files.
    """
    folder, parts, size = pathlib.Path(sysconfig.get_paths()["stdlib"]), [], 0
    for path in sorted(folder.glob("*.py"), key=lambda path: path.name):
        data = path.read_bytes()
        if size + len(data) > _LIBRARY_BYTES:
            break
        parts.append(data)
        size += len(data)
    if not parts:
        raise FileNotFoundError(f"no source files of the standard library in {folder}; use 'text:FILE'")
    return b"".join(parts)


def load_split(
    name: str,
    path: pathlib.Path | None,
    split: str,
    valid_fraction: float = 0.1,
    test_fraction: float | None = None,
    unit: str = "char",
    window: int | None = None,
) -> tuple[dict[str, np.ndarray], DataInfo]:
    """One split of a text.

    Args:
        name: For the description and for errors.
        path: The file; `None` for the default text.
        split: `"train"`, `"valid"` or `"test"`.
        valid_fraction: Share of the symbols, at the end (in front of an own test split).
        test_fraction: Share of the symbols at the very end; `None` or 0: test is valid.
        unit: `"char"`: the symbols are the characters that occur, by code point; `"byte"`: the bytes of UTF-8.
        window: Cut the split into windows of so many symbols, for `model.fit`; the rest of less than a window is
            dropped. By default it is one sequence.

    Returns:
        `{"x": int32 [1, symbols]}` (or [N, window]) and the description, without fingerprint.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is empty, no UTF-8 or of one character only; a split is empty or shorter than a
            window; an unknown unit.
    """
    if unit not in UNITS:
        raise ValueError(f"unit must be one of {UNITS}, got {unit!r}")
    text = standard_library() if path is None else _read(path)
    source = f"{name}: the text"
    if not text:
        raise ValueError(f"{source} is empty")
    symbols, vocabulary = _symbols(text, unit, source)
    symbols, note = _part(symbols, split, valid_fraction, test_fraction or 0.0, unit, source)
    x = symbols[None] if window is None else _windows(symbols, window, f"{unit}s, the split {split!r} of {name!r}")
    info = DataInfo(
        name=name,
        split=split,
        event_shape=(window,),
        levels=vocabulary.size,
        num_examples=len(x),
        num_labels=None,
        label_names=None,
        dtype="int32",
        transforms=(),
        split_note=note,
        fingerprint="",
        unit=unit,
        num_values=x.size,
        vocabulary=vocabulary.characters,
    )
    return {"x": x}, info


def _symbols(text: bytes, unit: str, source: str) -> tuple[np.ndarray, Vocabulary]:
    """Returns the symbols of a text, int32 [symbols], and what they stand for; `source` is for errors."""
    if unit == "byte":
        return np.frombuffer(text, np.uint8).astype(np.int32), Vocabulary()
    try:
        characters = text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{source} is not UTF-8 ({error.reason} at byte {error.start}); use unit='byte'") from None
    vocabulary = Vocabulary.of(characters)
    if vocabulary.size < 2:
        raise ValueError(f"{source} must have at least 2 different characters, got {vocabulary.characters!r} only")
    return vocabulary.encode(characters), vocabulary


def _part(
    symbols: np.ndarray, split: str, valid_fraction: float, test_fraction: float, unit: str, source: str
) -> tuple[np.ndarray, str]:
    """Returns the symbols of a split, and a note that says where it begins and ends."""
    num = len(symbols)
    num_test, num_valid = round(num * test_fraction), round(num * valid_fraction)
    cuts = {
        "train": (0, num - num_valid - num_test),
        "valid": (num - num_valid - num_test, num - num_test),
        "test": (num - num_test, num) if num_test else (num - num_valid, num),
    }
    begin, end = cuts[splits_lib.check_split(split)]
    if begin == end:
        raise ValueError(f"{source} of {num} {unit}s leaves none for the split {split!r}")
    what = "the same as valid" if split == "test" and not num_test else "in the order of the text"
    return symbols[begin:end], f"{split}: {unit}s {begin:,} to {end:,} of {num:,}, {what}"


def _windows(symbols: np.ndarray, window: int, what: str) -> np.ndarray:
    """Cuts symbols into windows, [N, window]; `what` names the symbols in errors."""
    num = len(symbols)
    if not 1 <= window <= num:
        raise ValueError(f"window must be 1 to {num} {what}, got {window}")
    return symbols[: num // window * window].reshape(-1, window)


def _read(path: pathlib.Path) -> bytes:
    if path.is_dir():
        raise IsADirectoryError(f"text:FILE must be a file, {path} is a folder")
    if not path.exists():
        raise FileNotFoundError(f"there is no text file {path}")
    return path.read_bytes()
