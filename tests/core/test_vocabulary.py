import numpy as np
import pytest

from tfar.core import Vocabulary


def test_characters_are_sorted_and_round_trip():
    text = "Grüße,\nworld\t🙂 hello"
    vocabulary = Vocabulary.of(text)
    assert list(vocabulary.characters) == sorted(set(text)) and len(vocabulary) == vocabulary.size == len(set(text))
    symbols = vocabulary.encode(text)
    assert symbols.dtype == np.int32 and symbols.shape == (len(text),)
    assert vocabulary.decode(symbols) == text and vocabulary.decode(symbols.tolist()) == text
    assert vocabulary.encode("").shape == (0,) and vocabulary.decode([]) == ""


def test_bytes_encode_everything():
    vocabulary = Vocabulary()
    symbols = vocabulary.encode("é🙂")
    assert symbols.tolist() == list("é🙂".encode()) and vocabulary.size == 256
    assert vocabulary.decode(symbols) == "é🙂"
    assert vocabulary.decode([0xFF, 65]) == "�A"


def test_an_unknown_character_is_named():
    with pytest.raises(ValueError, match=r"'z' \(U\+007A\) at position 2"):
        Vocabulary("abc").encode("abz")


def test_an_error_shows_the_beginning_of_a_long_vocabulary():
    many = "".join(chr(0x4E00 + index) for index in range(5000))
    with pytest.raises(ValueError, match="5000 characters.*'z' .U.007A. at position 1.* and 4960 more$") as error:
        Vocabulary(many).encode(many[0] + "z")
    assert len(str(error.value)) < 200


@pytest.mark.parametrize(
    ("characters", "match"), [("", "at least one"), ("aba", "'a' .U.0061. is there twice"), (7, "must be a string")]
)
def test_bad_characters(characters, match):
    with pytest.raises(ValueError, match=match):
        Vocabulary(characters)


@pytest.mark.parametrize(
    ("symbols", "match"), [([0, 3], "0 .. 2, got 3"), ([-1], "got -1"), ([0.5], "integers"), ([[0]], r"\[n\]")]
)
def test_bad_symbols(symbols, match):
    with pytest.raises(ValueError, match=match):
        Vocabulary("abc").decode(symbols)


def test_of_a_model():
    assert Vocabulary.of_model("abc", 3) == Vocabulary("abc") != Vocabulary("acb")
    assert Vocabulary.of_model(None, 256) == Vocabulary() and Vocabulary.of_model(None, 17) is None
    with pytest.raises(ValueError, match="each of 4 levels, got 3"):
        Vocabulary.of_model("abc", 4)
    assert {Vocabulary("ab"): 1}[Vocabulary("ab")] == 1 and eval(repr(Vocabulary("a'b"))) == Vocabulary("a'b")


def test_text_must_be_a_string():
    with pytest.raises(ValueError, match="text must be a string, got bytes"):
        Vocabulary().encode(b"a")
