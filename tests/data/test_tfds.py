"""Tests of TFDS names."""

import pathlib
import socket

import numpy as np
import pytest

from tfar.data import load, load_arrays

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 4, 3, 1), np.uint8)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> pathlib.Path:
    """A folder with two tiny prepared data sets, made without a network."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    folder = tmp_path_factory.mktemp("tfds")

    def store(name, splits, features, config=None):
        tfds.dataset_builders.store_as_tfds_dataset(
            name=name,
            version="1.0.0",
            features=tfds.features.FeaturesDict(features),
            split_datasets={s: tf.data.Dataset.from_tensor_slices(d) for s, d in splits.items()},
            data_dir=folder,
            config=config,
            disable_shuffling=True,
        )

    image = tfds.features.Image(shape=(4, 3, 1))
    names = tfds.features.ClassLabel(names=["ant", "bee"])
    vector = tfds.features.Tensor(shape=(2,), dtype=np.float32)
    index = np.arange(40)
    data = {
        "image": IMAGES,
        "label": index % 2,
        "place": np.stack([index, -index], 1).astype(np.float32),
    }
    parts = {"train": slice(0, 30), "validation": slice(30, 35), "test": slice(35, 40)}
    parts = {split: {k: v[rows] for k, v in data.items()} for split, rows in parts.items()}
    store("tiny", parts, {"image": image, "label": names, "place": vector})
    data.pop("place")
    store("only_train", {"train": data}, {"image": image, "label": names})
    words = {"train": {"word": np.array([b"a", b"b"])}}
    store("words", words, {"word": tfds.features.Text()})
    return folder


@pytest.fixture
def no_network(monkeypatch):
    """Any connection fails the test."""

    def refuse(*args, **kwargs):
        raise AssertionError(f"a connection was opened: {args}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("name", ["tiny", "tiny:1.0.0"])
def test_own_splits(prepared, name):
    """Images in the order in which they were written; `validation` is `valid`."""
    for split, rows in (("train", slice(30)), ("valid", slice(30, 35)), ("test", slice(35, 40))):
        arrays, info = load_arrays(name, split, prepared)
        np.testing.assert_array_equal(arrays["x"], IMAGES[rows])
        np.testing.assert_array_equal(arrays["label"], np.arange(40)[rows] % 2)
        assert (info.event_shape, info.levels, info.num_labels) == ((4, 3, 1), 256, 2)
        assert info.label_names == ("ant", "bee") and "own split" in info.split_note


def test_missing_splits_are_carved(prepared):
    """From train, disjoint and complete; only the chosen images are decoded."""
    parts = [load_arrays("only_train", s, prepared) for s in ("train", "valid", "test")]
    assert [info.num_examples for _, info in parts] == [32, 4, 4]
    assert "cut train/valid/test 32/4/4" in parts[0][1].split_note
    rows = [row.tobytes() for arrays, _ in parts for row in arrays["x"]]
    assert sorted(rows) == sorted(row.tobytes() for row in IMAGES)
    assert [np.bincount(arrays["label"]).tolist() for arrays, _ in parts] == [
        [16] * 2,
        [2] * 2,
        [2] * 2,
    ]


def test_conditions(prepared):
    """The label, or any feature of a fixed shape."""
    element = next(iter(load("tiny", "test", prepared, condition="label")))
    assert set(element) == {"x", "condition"} and element["condition"].dtype == "int32"
    arrays, info = load_arrays("tiny", "test", prepared, condition="place")
    np.testing.assert_array_equal(arrays["condition"][:, 0], np.arange(35, 40))
    assert info.condition_shape == (2,)


def test_data_dir_from_the_environment(prepared, monkeypatch):
    """TFDS_DATA_DIR is where TFDS itself looks."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
    assert load_arrays("tiny", "test")[1].num_examples == 5


@pytest.mark.usefixtures("no_network")
def test_errors(prepared, tmp_path, one_line_error):
    """Not prepared, unknown, wrong version, no images."""
    pattern = r"'mnist' is not prepared in data_dir=.*tfds.load\('mnist', data_dir="
    one_line_error(FileNotFoundError, pattern, load_arrays, "mnist", "train", tmp_path)
    pattern = "name must be 'digits'.* got 'mnits' .did you mean 'mnist'"
    one_line_error(ValueError, pattern, load_arrays, "mnits", "train", tmp_path)
    pattern = "'tiny:2.0.0' is not prepared"
    one_line_error(FileNotFoundError, pattern, load_arrays, "tiny:2.0.0", "train", prepared)
    pattern = "'words' must have a numeric feature 'image' .*'word'"
    one_line_error(ValueError, pattern, load_arrays, "words", "train", prepared)


@pytest.mark.usefixtures("no_network")
def test_mnist(shared_data):
    """The real MNIST."""
    arrays, info = load_arrays("mnist", "test", shared_data / "tfds")
    assert arrays["x"].shape == (10_000, 28, 28, 1) and arrays["x"].dtype == np.uint8
    assert (info.levels, info.num_labels, info.label_names) == (256, 10, tuple("0123456789"))
    assert info.fingerprint == "2dee29b518557963"
    assert np.bincount(arrays["label"]).tolist()[:3] == [980, 1135, 1032]


def test_tfds_keeps_its_remarks_to_itself(prepared, caplog):
    """Neither what it loads from where nor advice to its own authors, at the level that commands have."""
    from absl import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.INFO)
    try:
        load_arrays("tiny", "train", prepared, condition="place")
        assert logging.get_verbosity() == logging.INFO
    finally:
        logging.set_verbosity(before)
    assert not caplog.records
