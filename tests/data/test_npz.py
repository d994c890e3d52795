"""Tests of the source `npz:FILE`."""

import numpy as np
import pytest

from tfar.data import load_arrays


@pytest.fixture
def save(tmp_path):
    """Writes an archive and returns the name of its source."""

    def write(**arrays):
        np.savez(tmp_path / "data.npz", **arrays)
        return f"npz:{tmp_path / 'data.npz'}"

    return write


@pytest.mark.parametrize("x_key", ["x", "images"])
@pytest.mark.parametrize("label_key", ["label", "labels", "y"])
def test_without_splits(save, x_key, label_key, rng):
    """Three splits are carved, disjoint and complete."""
    x = rng.integers(0, 256, (50, 4, 3), np.uint8)
    name = save(**{x_key: x, label_key: np.arange(50)})
    used = []
    for split in ("train", "valid", "test"):
        arrays, info = load_arrays(name, split)
        assert (info.event_shape, info.levels, info.num_labels) == ((4, 3, 1), 256, 50)
        np.testing.assert_array_equal(arrays["x"][..., 0], x[arrays["label"]])
        used += arrays["label"].tolist()
    assert sorted(used) == list(range(50))


@pytest.mark.parametrize("x_key", ["x_{}", "{}"])
@pytest.mark.parametrize("label_key", ["y_{}", "label_{}", "labels_{}"])
def test_own_splits(save, x_key, label_key):
    """Own splits are taken as they are, in their order."""
    sizes = {"train": 6, "valid": 2, "test": 3}
    arrays = {x_key.format(s): np.full([n, 5], n) for s, n in sizes.items()}
    arrays |= {label_key.format(s): np.arange(n) for s, n in sizes.items()}
    name = save(**arrays)
    for split, num in sizes.items():
        read, info = load_arrays(name, split)
        assert read["x"].tolist() == [[num] * 5] * num and info.num_examples == num
        assert read["label"].tolist() == list(range(num)) and info.num_labels == 6
        assert info.levels == 7 and info.event_shape == (5,)
        assert info.split_note == f"{split}: the source's own split, all {num} examples"


def test_missing_valid_is_carved_from_train(save):
    """Test stays as it is."""
    name = save(x_train=np.arange(40)[:, None], x_test=np.zeros([5, 1], int))
    train, valid, test = (load_arrays(name, s)[0]["x"] for s in ("train", "valid", "test"))
    assert sorted([*train[:, 0], *valid[:, 0]]) == list(range(40))
    assert (len(train), len(valid), len(test)) == (36, 4, 5)
    assert "of the source's split 'train', cut train/valid 36/4" in (load_arrays(name, "valid")[1].split_note)
    assert len(load_arrays(name, "valid", valid_fraction=0.25)[0]["x"]) == 10


def test_large_maps_stay_integers(save):
    """65,536 levels: one int32 per position."""
    name = save(train=np.array([[[0, 65_535]]], np.uint16))
    arrays, info = load_arrays(name, "train", valid_fraction=0, test_fraction=0)
    assert arrays["x"].shape == (1, 1, 2, 1) and arrays["x"].dtype == np.int32
    assert info.levels == 65_536 and info.dtype == "int32"


def test_continuous(save, rng):
    """Floats have no levels, whole floats with levels= are discrete."""
    x = rng.normal(size=(20, 3))
    arrays, info = load_arrays(save(x=x), "test")
    assert info.levels is None and info.dtype == "float32" and arrays["x"].dtype == np.float32
    assert load_arrays(save(x=np.rint(x) + 9), "test", levels=32)[1].dtype == "uint8"


def test_levels_option(save):
    """`levels` overrides what is inferred."""
    assert load_arrays(save(x=np.ones([9, 2], int)), "train", levels=32)[1].levels == 32


def test_other_array_as_condition(save):
    """`condition=` may name any array, whose rows stay beside those of x."""
    x, embedding = np.arange(30)[:, None], np.arange(30)[:, None] * np.ones([1, 4])
    name = save(x=x, embedding=embedding, label=np.zeros(30, int), note=np.array("hello"))
    arrays, info = load_arrays(name, "train", condition="embedding")
    assert set(arrays) == {"x", "condition"} and arrays["condition"].dtype == np.float32
    np.testing.assert_array_equal(arrays["condition"][:, 0], arrays["x"][:, 0])
    assert (info.condition, info.condition_shape) == ("embedding", (4,))
    name = save(x_train=x, x_test=x, map_train=embedding, map_test=embedding)
    assert load_arrays(name, "test", condition="map")[0]["condition"].shape == (30, 4)


def test_errors(save, tmp_path, one_line_error):
    """Each error is one line that names the argument and the value."""

    def check(pattern, split="train", error=ValueError, **arrays):
        options = arrays.pop("options", {})
        one_line_error(error, pattern, load_arrays, save(**arrays), split, **options)

    x = np.zeros([10, 2], np.uint8)
    check("must have keys 'x', 'images'.*found 'a', 'b'", a=x, b=x)
    check("x must be .N, D.*got shape", x=np.zeros(10))
    check("one event shape in all splits.*'test': .3", x_train=x, x_test=np.zeros([2, 3], int))
    check("label must be one integer for each of 10", x=x, label=np.arange(9))
    check("label must not be negative, got -1", x=x, label=np.arange(10) - 1)
    check("num_labels=9., got 9", x=x, label=np.arange(10), options={"num_labels": 9})
    check("num_labels must be .* got 0", x=x, label=np.arange(10), options={"num_labels": 0})
    check("num_labels=9 was given, but", x=x, options={"num_labels": 9})
    check("split 'train' .* is empty", x=x[:0])
    check("split 'test' .* is empty", x=x[:1], split="test")
    check("x must be finite, got 16 .* nan", x=np.full([10, 2], np.nan))
    check("at most 65536 levels.*99999", x=np.full([10, 2], 99_999))
    check("0 to 3 .levels=4., got 9", x=np.full([10, 2], 9), options={"levels": 4})
    check("levels must be .* got 1", x=x, options={"levels": 1})
    check("condition must name .*'h', got 'label'", x=x, h=x, options={"condition": "label"})
    check("condition 'h' must have one entry", x=x, h=x[:3], options={"condition": "h"})
    check("size=8 does not apply", x=x, options={"size": 8})
    check("'valid' can only be carved", split="valid", x_test=x)
    check("key 'x' cannot be read: it holds Python objects", x=np.array([{}, None], object))
    missing = f"npz:{tmp_path / 'missing.npz'}"
    one_line_error(FileNotFoundError, "missing.npz", load_arrays, missing, "train")
    (tmp_path / "text.npz").write_text("no archive")
    one_line_error(ValueError, "not a NumPy", load_arrays, "npz:text.npz", "train", tmp_path)
    (tmp_path / "a.npz").write_bytes(b"\x89PNG\r\n\x1a\n and so on")
    with pytest.raises(ValueError, match="is not a NumPy archive: it begins with b'.x89PNG") as error:
        load_arrays("npz:a.npz", "train", tmp_path)
    assert "allow_pickle" not in str(error.value)
    np.savez(tmp_path / "cut.npz", x=x)
    (tmp_path / "cut.npz").write_bytes((tmp_path / "cut.npz").read_bytes()[:100])
    one_line_error(ValueError, "cut.npz' is damaged", load_arrays, "npz:cut.npz", "train", tmp_path)
    np.save(tmp_path / "x.npy", x)
    one_line_error(ValueError, "single array", load_arrays, "npz:x.npy", "train", tmp_path)


def test_real_archive(shared_data):
    """Images and labels of 40 people, one of each in test."""
    arrays, info = load_arrays("npz:orl_faces_32.npz", "test", shared_data)
    assert info.event_shape == (32, 32, 1) and info.levels == 256
    assert arrays["label"].tolist() == list(range(40))
