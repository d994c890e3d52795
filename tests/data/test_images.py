"""Tests of the source `images:FOLDER`."""

import numpy as np
import pytest
from PIL import Image

from tfar.data import load_arrays


@pytest.fixture
def write(tmp_path, rng):
    """Writes a random image and returns its pixels."""

    def write_image(name, shape=(6, 5), mode=None):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        x = rng.integers(0, 256, shape, np.uint8)
        image = Image.fromarray(x)
        (image.convert(mode) if mode else image).save(path)
        return x

    return write_image


WHOLE = {"valid_fraction": 0, "test_fraction": 0}


def test_unlabelled_grey(write, tmp_path):
    """Sorted by name, one channel, pixels unchanged; other files are ignored."""
    expected = [write(f"{i}.png") for i in range(3)]
    (tmp_path / "readme.txt").write_text("not an image")
    (tmp_path / ".hidden.png").write_text("not an image")
    arrays, info = load_arrays(f"images:{tmp_path}", "train", **WHOLE)
    np.testing.assert_array_equal(arrays["x"][..., 0], expected)
    assert set(arrays) == {"x"} and (info.event_shape, info.levels) == ((6, 5, 1), 256)


def test_skipped_files_are_counted(write, tmp_path):
    write("a.png")
    for name in ("notes.txt", "list.csv", ".hidden.png"):
        (tmp_path / name).write_text("not an image")
    (tmp_path / "loop.png").symlink_to("loop.png")
    (tmp_path / "folder").symlink_to("folder")
    info = load_arrays(f"images:{tmp_path}", "train", **WHOLE)[1]
    assert info.skipped == "4 files skipped (folder, list.csv, loop.png and 1 more)" and info.skipped in str(info)
    for name in ("notes.txt", "list.csv", "loop.png", "folder"):
        (tmp_path / name).unlink()
    info = load_arrays(f"images:{tmp_path}", "train", **WHOLE)[1]
    assert info.skipped == "" and "files skipped" not in str(info)


def test_class_folders_and_splits(write, tmp_path):
    """Sub-folders are labels, sorted by name; each class is split in proportion."""
    for label in ("dog", "cat"):
        for i in range(10):
            write(f"{label}/{i}.bmp", (4, 4, 3))
    seen = set()
    for split, num in (("train", 16), ("valid", 2), ("test", 2)):
        arrays, info = load_arrays(f"images:{tmp_path}", split)
        assert arrays["x"].shape == (num, 4, 4, 3) and info.label_names == ("cat", "dog")
        assert np.bincount(arrays["label"]).tolist() == [num // 2, num // 2]
        seen |= {row.tobytes() for row in arrays["x"]}
    assert len(seen) == 20


def test_own_splits(write, tmp_path):
    """Folders named train and test are splits; valid is carved from train."""
    for i in range(10):
        write(f"train/a/{i}.png")
    for i in range(3):
        write(f"test/b/{i}.png")
    parts = {s: load_arrays(f"images:{tmp_path}", s) for s in ("train", "valid", "test")}
    assert [info.num_examples for _, info in parts.values()] == [9, 1, 3]
    assert parts["test"][0]["label"].tolist() == [1, 1, 1]
    assert parts["train"][1].label_names == ("a", "b")


def test_mode(write, tmp_path, one_line_error):
    """One colour image among grey ones makes nothing of the others: a mode has to be given."""
    write("a.png")
    write("c.png")
    write("b.png", (6, 5, 3))
    name = f"images:{tmp_path}"
    pattern = "mode must be .* has 2 grey images .such as a.png. and 1 in colour .such as b.png."
    one_line_error(ValueError, pattern, load_arrays, name, "train")
    assert load_arrays(name, "train", mode="rgb", **WHOLE)[1].event_shape == (6, 5, 3)
    assert load_arrays(name, "train", mode="grey", **WHOLE)[1].event_shape == (6, 5, 1)


def test_size(write, tmp_path, one_line_error):
    """Images of differing sizes need a size."""
    write("a.png", (6, 5))
    write("b.png", (8, 9))
    name = f"images:{tmp_path}"
    pattern = "size must be given .*a.png is 5x6, b.png is 9x8"
    one_line_error(ValueError, pattern, load_arrays, name, "train")
    assert load_arrays(name, "train", size=(3, 4), **WHOLE)[0]["x"].shape == (2, 3, 4, 1)
    assert load_arrays(name, "train", size=7, **WHOLE)[1].event_shape == (7, 7, 1)


def test_errors(write, tmp_path, one_line_error):
    """Each error names the argument or the files."""
    name = f"images:{tmp_path}"
    one_line_error(FileNotFoundError, "existing folder", load_arrays, f"{name}/no", "train")
    one_line_error(FileNotFoundError, "must hold images .*found none", load_arrays, name, "train")
    write("a.png")
    (tmp_path / "b.png").write_text("not an image")
    (tmp_path / "c.jpg").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    pattern = r"2 unreadable of 3 files: b.png \(not an image\), c.jpg"
    one_line_error(ValueError, pattern, load_arrays, name, "train")
    (tmp_path / "b.png").unlink()
    (tmp_path / "c.jpg").unlink()
    one_line_error(ValueError, "mode must be .* got 'hsv'", load_arrays, name, "train", mode="hsv")
    for size in (0, (1, 2, 3), "8x8", 2.5):
        one_line_error(ValueError, "size must be .* got", load_arrays, name, "train", size=size)
    write("cat/a.png")
    one_line_error(ValueError, "got both: 'a.png' beside 'cat/'", load_arrays, name, "train")


def test_sixteen_bit_images_are_refused(tmp_path, one_line_error):
    """Conversion to 8 bits would clip them silently."""
    Image.fromarray(np.full([4, 4], 5000, np.uint16)).save(tmp_path / "a.png")
    name = f"images:{tmp_path}"
    one_line_error(ValueError, "a.png .8-bit pixels are accepted", load_arrays, name, "train")
