import numpy as np
import pytest

from tfar.core import Vocabulary
from tfar.data import load, load_arrays
from tfar.data import text as text_lib

TEXT = "".join(chr(97 + i * i % 26) for i in range(200)) + "Grüße\n"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def parts(name, **options):
    return {split: load_arrays(name, split, **options) for split in ("train", "valid", "test")}


def test_the_splits_are_the_text_in_order(file):
    found = parts(f"text:{file}")
    vocabulary = Vocabulary(found["train"][1].vocabulary)
    texts = {split: vocabulary.decode(arrays["x"][0]) for split, (arrays, _) in found.items()}
    assert texts["train"] + texts["valid"] == TEXT and texts["test"] == texts["valid"]
    assert len(texts["valid"]) == round(0.1 * len(TEXT))
    for arrays, info in found.values():
        assert arrays["x"].dtype == np.int32 and arrays["x"].shape == (1, info.num_values)
        assert info.event_shape == (None,) and info.levels == len(set(TEXT)) and info.unit == "char"
        assert info.num_examples == 1 and info.is_sequence and "chars" in str(info)
    assert "the same as valid" in found["test"][1].split_note and "in the order" in found["valid"][1].split_note
    assert found["train"][1].fingerprint != found["valid"][1].fingerprint == found["test"][1].fingerprint


def test_a_test_split_of_its_own(file):
    found = parts(f"text:{file}", test_fraction=0.2, valid_fraction=0.3)
    sizes = [info.num_values for _, info in found.values()]
    assert sizes == [len(TEXT) - 62 - 41, 62, 41]
    joined = np.concatenate([arrays["x"][0] for arrays, _ in found.values()])
    assert Vocabulary(found["train"][1].vocabulary).decode(joined) == TEXT


def test_bytes(file):
    arrays, info = load_arrays(f"text:{file.name}", "train", data_dir=file.parent, unit="byte")
    assert bytes(arrays["x"][0].tolist()) == TEXT.encode()[: info.num_values]
    assert (info.levels, info.vocabulary, info.unit) == (256, None, "byte")


def test_windows_for_fit(file):
    dataset = load(f"text:{file}", "train", window=16)
    whole, _ = load_arrays(f"text:{file}", "train")
    x = np.stack([element["x"].numpy() for element in dataset])
    assert dataset.info.event_shape == (16,) and dataset.info.num_examples == len(x) == whole["x"].size // 16
    np.testing.assert_array_equal(x.reshape(-1), whole["x"][0, : x.size])


def test_the_default_text_needs_no_file():
    arrays, info = load_arrays("text", "train")
    again, _ = load_arrays("text", "train")
    np.testing.assert_array_equal(arrays["x"], again["x"])
    assert 1_000_000 < arrays["x"].size <= 2_000_000 and 90 < info.levels < 200
    assert "def " in Vocabulary(info.vocabulary).decode(arrays["x"][0, :20_000])


def test_the_default_text_is_whole_files_in_order(tmp_path, monkeypatch):
    for name, text in (("b.py", "bb"), ("a.py", "a"), ("c.py", "cccccc"), ("x.txt", "no")):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(text_lib.sysconfig, "get_paths", lambda: {"stdlib": str(tmp_path)})
    monkeypatch.setattr(text_lib, "_LIBRARY_BYTES", 5)
    assert text_lib.standard_library() == b"abb"
    monkeypatch.setattr(text_lib.sysconfig, "get_paths", lambda: {"stdlib": str(tmp_path / "none")})
    with pytest.raises(FileNotFoundError, match="use 'text:FILE'"):
        text_lib.standard_library()


@pytest.mark.parametrize(
    ("content", "options", "match"),
    [
        (b"", {}, "is empty"),
        (b"aaaa", {}, "at least 2 different characters"),
        (b"ab\xff", {}, "not UTF-8 .* at byte 2.*unit='byte'"),
        (b"abcabc", {"valid_fraction": 0.0}, None),
        (b"abcabc", {"window": 7}, "window must be 1 to 5 chars.*got 7"),
        (b"abcabc", {"unit": "word"}, "unit must be one of"),
        (b"abcabc", {"levels": 5}, "levels=5 does not apply"),
        (b"abcabc", {"condition": "label"}, "condition"),
        (b"abcabc", {"transforms": "binarize"}, "transforms do not apply to sequences"),
        (b"abcabc", {"valid_fraction": 0.5, "test_fraction": 0.5}, "must be below 1"),
    ],
)
def test_bad_text_is_named(tmp_path, content, options, match):
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    if match is None:
        with pytest.raises(ValueError, match="leaves none for the split 'valid'"):
            load_arrays(f"text:{path}", "valid", **options)
        return
    with pytest.raises(ValueError, match=match) as error:
        load_arrays(f"text:{path}", "train", **options)
    assert "\n" not in str(error.value)
    if not options:
        assert "bad.txt" in str(error.value)


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="no text file .*gone.txt"):
        load_arrays(f"text:{tmp_path}/gone.txt", "train")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        load_arrays(f"text:{tmp_path}", "train")
    with pytest.raises(ValueError, match="'text:FILE'"):
        load_arrays("text:", "train")
