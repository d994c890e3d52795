"""Tests of the source `idx:FOLDER`."""

import gzip

import numpy as np
import pytest

from tfar.data import idx, load_arrays


def encode(array: np.ndarray, code: int = 8) -> bytes:
    """An idx file."""
    header = bytes([0, 0, code, array.ndim])
    return header + np.array(array.shape, ">u4").tobytes() + array.tobytes()


@pytest.fixture
def write(tmp_path, rng):
    """Writes an MNIST-style folder and returns its training images."""

    def write_files(separator, ending, labels=True):
        for prefix, num in (("train", 40), ("t10k", 7)):
            x = rng.integers(0, 256, (num, 5, 4), np.uint8)
            files = {f"{prefix}-images{separator}idx3-ubyte": x}
            if labels:
                files[f"{prefix}-labels{separator}idx1-ubyte"] = np.arange(num, dtype=np.uint8)
            for name, array in files.items():
                data = encode(array)
                data = gzip.compress(data) if ending else data
                (tmp_path / (name + ending)).write_bytes(data)
            if prefix == "train":
                train = x
        return train

    return write_files


@pytest.mark.parametrize("separator", ["-", "."])
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_folder(write, tmp_path, separator, ending):
    """Both spellings, plain and gzipped; valid is carved from train."""
    x = write(separator, ending)
    seen = []
    for split, num in (("train", 36), ("valid", 4), ("test", 7)):
        arrays, info = load_arrays(f"idx:{tmp_path}", split)
        assert arrays["x"].shape == (num, 5, 4, 1) and info.levels == 256
        assert info.num_labels == 40
        if split != "test":
            np.testing.assert_array_equal(arrays["x"][..., 0], x[arrays["label"]])
            seen += arrays["label"].tolist()
    assert sorted(seen) == list(range(40))


def test_without_labels(write, tmp_path):
    """Labels are optional."""
    write("-", "", labels=False)
    arrays, info = load_arrays(f"idx:{tmp_path}", "train")
    assert set(arrays) == {"x"} and info.num_labels is None


def test_other_dtypes(tmp_path):
    """Values are big-endian."""
    array = np.array([[1, 2], [3, 400]])
    (tmp_path / "a").write_bytes(encode(array.astype(">i4"), 0x0C))
    assert idx.read_file(tmp_path / "a").tolist() == array.tolist()
    (tmp_path / "a").write_bytes(encode(array.astype(">f8"), 0x0E))
    assert idx.read_file(tmp_path / "a").dtype == np.float64


def test_errors(tmp_path, one_line_error):
    """Each error names the file or the folder."""
    name = f"idx:{tmp_path}"
    one_line_error(FileNotFoundError, "existing folder", load_arrays, f"{name}/no", "train")
    one_line_error(FileNotFoundError, "train-images-idx3", load_arrays, name, "train")
    file = tmp_path / "train-images-idx3-ubyte"
    file.write_bytes(b"\x89PNG")
    one_line_error(ValueError, "0 0 TYPE RANK, got 89 50 4e 47", load_arrays, name, "train")
    data = encode(np.zeros([9, 2, 2], np.uint8))
    file.write_bytes(data[:-1])
    one_line_error(ValueError, "must have 52 bytes .* got 51", load_arrays, name, "train")
    file.write_bytes(data[:6])
    one_line_error(ValueError, "train-images-idx3-ubyte", load_arrays, name, "train")
    file.unlink()
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(data)[:-9])
    one_line_error(ValueError, "cannot be read", load_arrays, name, "train")
    one_line_error(ValueError, "mode='rgb' does not apply", load_arrays, name, "train", mode="rgb")
