"""Tests of `load` and `load_arrays` that do not depend on the source."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest

import tfar.data
from tfar.data import load, load_arrays


@pytest.fixture
def grey(tmp_path):
    """A data set of 2,500 mid-grey pixels, and more than one chunk of rows."""
    np.savez(tmp_path / "grey.npz", train=np.full([2500, 3], 128, np.uint8))
    return f"npz:{tmp_path / 'grey.npz'}"


def test_elements():
    """Single examples with x and label, in the order of the arrays."""
    arrays, info = load_arrays("digits", "test")
    dataset = load("digits", "test")
    assert dataset.info == info and len(dataset) == info.num_examples
    assert set(dataset.element_spec) == {"x", "label"}
    batch = next(iter(dataset.batch(1000)))
    np.testing.assert_array_equal(batch["x"], arrays["x"])
    np.testing.assert_array_equal(batch["label"], arrays["label"])


def test_condition_and_info():
    """`condition="label"` renames the label."""
    dataset, info = load("digits", "valid", condition="label", with_info=True)
    assert set(dataset.element_spec) == {"x", "condition"}
    assert dataset.element_spec["condition"].dtype == "int32"
    assert (info.condition, info.condition_shape, info.num_labels) == ("label", (), 10)
    unconditional = load_arrays("digits", "valid")[1]
    assert info.fingerprint == unconditional.fingerprint


def test_static_transforms():
    """Levels, dtype and description follow the transforms."""
    arrays, info = load_arrays("digits", "test", transforms="binarize")
    assert set(np.unique(arrays["x"])) == {0, 1}
    assert (info.levels, info.dtype) == (2, "uint8")
    assert info.transforms == ("binarization=threshold(0.5)",)
    plain, plain_info = load_arrays("digits", "test")
    np.testing.assert_array_equal(arrays["x"], plain["x"] >= 8)
    assert info.fingerprint == plain_info.fingerprint
    assert "binarization=threshold(0.5)" in str(info) and "180 examples" in str(info)


def test_dynamic_binarization_is_redrawn_in_training(grey):
    """Each pass over train has new noise, and two data sets have the same passes."""
    dataset, info = load(grey, "train", transforms="dynamic_binarize", with_info=True)
    again = load(grey, "train", transforms="dynamic_binarize")
    first, second = (np.stack([e["x"] for e in dataset.batch(10_000)]) for _ in range(2))
    assert first.shape == (1, info.num_examples, 3) == (1, len(dataset), 3)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, np.stack([e["x"] for e in again.batch(10_000)]))
    assert info.transforms == ("binarization=dynamic (redrawn every pass, seed=0)",)
    assert info.levels == 2 and dataset.element_spec["x"].dtype == "uint8"


def test_dynamic_binarization_is_fixed_in_evaluation(grey):
    """One draw from the seed, the same in every pass and from both functions."""
    dataset = load(grey, "test", transforms="dynamic_binarize", seed=5)
    first, second = (np.stack([e["x"] for e in dataset]) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert 0.4 < first.mean() < 0.6
    arrays, info = load_arrays(grey, "test", transforms="dynamic_binarize", seed=5)
    np.testing.assert_array_equal(arrays["x"], first)
    assert info.transforms == ("binarization=dynamic (drawn once, seed=5)",)


def test_relative_names_start_from_data_dir(grey, tmp_path):
    """`data_dir` is where files are looked up."""
    assert load_arrays("npz:grey.npz", "train", tmp_path)[1].num_examples == 2000


def test_fingerprint(tmp_path):
    """It follows the data, not the name."""
    prints = []
    for i, change in enumerate((0, 0, 1)):
        x = np.zeros([20, 3], np.uint8)
        x[0, 0] = change
        np.savez(tmp_path / f"{i}.npz", train=x, valid=x, test=x)
        prints.append(load_arrays(f"npz:{i}.npz", "train", tmp_path)[1].fingerprint)
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize("function", [load, load_arrays])
def test_errors(function, one_line_error):
    """Each error names the argument and its value."""
    for name in ("Digits", "npz:", "nope:file", "", None, 3, "../x"):
        one_line_error(ValueError, "name must be 'digits', 'npz:FILE'", function, name, "train")
    one_line_error(ValueError, "split must be .* got 'validation'", function, "digits", "validation")
    pattern = "condition must name an array of 'digits': 'label', got 'h'"
    one_line_error(ValueError, pattern, function, "digits", "train", condition="h")
    one_line_error(ValueError, "transforms must", function, "digits", "train", transforms="blur")
    one_line_error(ValueError, "power of two", function, "digits", "train", transforms="bits:2")
    one_line_error(ValueError, "seed must", function, "digits", "train", seed=-1)
    one_line_error(ValueError, "valid_fraction", function, "digits", "train", valid_fraction=1)
    pattern = "split 'valid' of 'digits' is empty"
    one_line_error(ValueError, pattern, function, "digits", "valid", valid_fraction=0)


def test_import_is_cheap():
    """Neither TensorFlow nor the sources' libraries are imported by `tfar.data` itself."""
    package = pathlib.Path(tfar.data.__file__).parents[1]
    heavy = ["tensorflow", "tensorflow_datasets", "sklearn", "PIL"]
    # A bare parent package: `tfar/__init__.py` imports TensorFlow for other reasons.
    code = (
        "import sys, types\n"
        "sys.modules['tfar'] = types.ModuleType('tfar')\n"
        f"sys.modules['tfar'].__path__ = [{str(package)!r}]\n"
        "import tfar.data\n"
        f"print([name for name in {heavy} if name in sys.modules])\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
