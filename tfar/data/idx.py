r"""`idx:FOLDER`: MNIST-style files, plain or gzipped (e.g. Debian's dataset-fashion-mnist).

Names: train-images-idx3-ubyte, train-labels-idx1-ubyte, and t10k-... for the test split, also spelt
train-images.idx3-ubyte, each with or without .gz. Labels and t10k files are optional.

A file is big-endian: 0 0 TYPE RANK, RANK sizes of 4 bytes, the values.
(Format: "the IDX file format", http://yann.lecun.com/exdb/mnist.)
"""

import gzip
import math
import pathlib
import re
import zlib

import numpy as np

from tfar.data.source import Source, from_arrays

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_PREFIXES = {"train": "train", "test": "t10k"}


def _find(folder: pathlib.Path, prefix: str, kind: str) -> pathlib.Path | None:
    pattern = re.compile(rf"{prefix}-{kind}[-.]idx\d-[a-z0-9]+(\.gz)?")
    found = sorted(path for path in folder.iterdir() if pattern.fullmatch(path.name))
    # A plain file beside its .gz is the same data; the plain one sorts first and is faster.
    return found[0] if found else None


def read_file(path: pathlib.Path) -> np.ndarray:
    """Reads one idx file.

    Args:
        path: The file, gzipped if its name ends in .gz.

    Returns:
        The array in native byte order.

    Raises:
        ValueError: Not an idx file, or its length does not match its header.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"idx file {str(path)!r} cannot be read: {error}") from error
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in _DTYPES:
        raise ValueError(f"idx file {str(path)!r} must start with bytes 0 0 TYPE RANK, got {data[:4].hex(' ')}")
    dtype, start = np.dtype(_DTYPES[data[2]]), 4 + 4 * data[3]
    shape = tuple(int.from_bytes(data[i : i + 4], "big") for i in range(4, start, 4))
    expected = start + math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        raise ValueError(f"idx file {str(path)!r} must have {expected} bytes for shape {shape}, got {len(data)}")
    array = np.frombuffer(data, dtype, offset=start).reshape(shape)
    return array.astype(dtype.newbyteorder("="))


def open_source(path: pathlib.Path, *, levels: int | None = None, num_labels: int | None = None) -> Source:
    """Opens a folder of idx files.

    Args:
        path: The folder.
        levels: Number of levels of x; default: inferred over all splits (see
            `tfar.data.values.infer_levels`).
        num_labels: Number of classes; default: the largest label + 1.

    Returns:
        The source, with splits `train` and `test`, whichever are there.

    Raises:
        FileNotFoundError: There is no such folder, or no image file in it.
        ValueError: A malformed file, or unacceptable arrays.
    """
    if not path.is_dir():
        raise FileNotFoundError(f"idx:FOLDER needs an existing folder, got {str(path)!r}")
    splits = {}
    for split, prefix in _PREFIXES.items():
        images, labels = _find(path, prefix, "images"), _find(path, prefix, "labels")
        if images is not None:
            splits[split] = {"x": read_file(images)}
            if labels is not None:
                splits[split]["label"] = read_file(labels)
    if not splits:
        raise FileNotFoundError(
            f"idx:FOLDER {str(path)!r} must hold train-images-idx3-ubyte or "
            "t10k-images-idx3-ubyte (or .idx3-ubyte, or .gz), found neither"
        )
    return from_arrays(splits, levels, num_labels)
