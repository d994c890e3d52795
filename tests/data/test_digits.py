"""Tests of the source `digits`."""

import numpy as np

from tfar.data import load_arrays
from tfar.data.splits import SPLITS


def test_digits():
    """1,797 images in three stratified, disjoint splits."""
    parts = {split: load_arrays("digits", split) for split in SPLITS}
    assert [info.num_examples for _, info in parts.values()] == [1437, 180, 180]
    for split, (arrays, info) in parts.items():
        assert arrays["x"].shape == (info.num_examples, 8, 8, 1)
        assert arrays["x"].dtype == np.uint8 and arrays["label"].dtype == np.int32
        assert (info.event_shape, info.levels, info.num_labels) == ((8, 8, 1), 17, 10)
        assert info.label_names == tuple("0123456789") and info.dtype == "uint8"
        assert f"{split}: {info.num_examples} of the 1797" in info.split_note
        counts = np.bincount(arrays["label"], minlength=10)
        assert counts.min() >= 0.09 * info.num_examples
    rows = [row.tobytes() for arrays, _ in parts.values() for row in arrays["x"]]
    assert len(rows) == 1797 and len({info.fingerprint for _, info in parts.values()}) == 3


def test_split_is_frozen():
    """A reported number refers to this very split; it must not change with a release."""
    assert load_arrays("digits", "train")[1].fingerprint == "92e34e450f3c354b"
    other = load_arrays("digits", "train", split_seed=1)[1]
    assert other.fingerprint != "92e34e450f3c354b" and "split_seed=1" in other.split_note


def test_no_options(one_line_error):
    """Options of files do not apply."""
    one_line_error(ValueError, "levels=4 does not apply", load_arrays, "digits", "train", levels=4)
