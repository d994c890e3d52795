"""Turns recordings of sound from any source into codes with conditions and splits.

A recording has a name, samples in [-1, 1] and fields, such as digit, speaker and index. Conditions made of fields:

    "speaker"          the number of its value, a label
    "digit+speaker"    a one-hot code of each, side by side, a vector
    "letters"          the letters of the field `word` (or of the English name of the field `digit`), each as long as
                       the others, and how far the recording has got: a slower sequence, a frame per `hop` samples
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from tfar.core.mu_law import mu_law_encode
from tfar.data import splits as splits_lib
from tfar.data.data_info import DataInfo

ENCODINGS = ("mu_law", "pcm16")
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclasses.dataclass(frozen=True)
class Recording:
    """One recording.

    Attributes:
        name: For errors and reports.
        samples: float32 [T] in [-1, 1].
        fields: What is known about it; `index` is no condition.
    """

    name: str
    samples: np.ndarray
    fields: Mapping[str, str]


def encode(samples: np.ndarray, encoding: str) -> np.ndarray:
    """Samples in [-1, 1] as codes: uint8 of 256 (mu-law), or int32 of 65,536 (16 bits)."""
    if encoding == "mu_law":
        return mu_law_encode(samples).astype(np.uint8)
    return np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int32) + 32768


def decode(codes: np.ndarray, levels: int) -> np.ndarray:
    """Codes as float32 samples in [-1, 1]; what has more than 256 levels is linear."""
    from tfar.core.mu_law import mu_law_decode

    if levels <= 256:
        return mu_law_decode(codes, levels)
    return ((codes.astype(np.float64) - levels // 2) / (levels // 2)).astype(np.float32)


def split_of(
    recordings: Sequence[Recording],
    name: str,
    split: str,
    valid_fraction: float,
    test_fraction: float | None,
    sample_rate: int,
    encoding: str = "mu_law",
    condition: str | None = None,
    hop: int = 128,
    dropped: str = "",
) -> tuple[dict[str, np.ndarray], DataInfo]:
    """One split of recordings, whole recordings padded with silence to the longest, the shortest first.

    A recording belongs to one split only; which one depends on its place in the order alone.

    Args:
        recordings: All of them, in the order of their names.
        name: Of the data set.
        split: `"train"`, `"valid"` or `"test"`.
        valid_fraction: Share of the recordings.
        test_fraction: Share of the recordings, 0.1 where `None`.
        sample_rate: Samples per second.
        encoding: `"mu_law"` or `"pcm16"`.
        condition: See the module.
        hop: Samples per frame of `"letters"`.
        dropped: What was left out and why, for the description.

    Returns:
        `{"x": [N, T], "length": int32 [N]}` and `"condition"` where asked for, and the description, without
        fingerprint.

    Raises:
        ValueError: An unknown encoding or condition, an empty split.
    """
    if encoding not in ENCODINGS:
        raise ValueError(f"encoding must be one of {ENCODINGS}, got {encoding!r}")
    chosen, note = _choose(recordings, name, split, valid_fraction, 0.1 if test_fraction is None else test_fraction)
    x, lengths = _padded(chosen, encoding)
    arrays = {"x": x, "length": lengths}
    names: tuple[str, ...] | None = None
    if condition == "letters":
        arrays["condition"] = _letters(recordings, chosen, x.shape[1], hop, name)
    elif condition is not None:
        arrays["condition"], names = _fields(recordings, chosen, condition, name)
    label = condition is not None and arrays["condition"].ndim == 1
    info = DataInfo(
        name=name,
        split=split,
        event_shape=(None,),
        levels=256 if encoding == "mu_law" else 65_536,
        num_examples=len(chosen),
        num_labels=len(names) if label else None,
        label_names=names,
        dtype=str(x.dtype),
        transforms=(),
        split_note=f"{note}; {dropped}" if dropped else note,
        fingerprint="",
        condition=condition,
        condition_shape=None if condition is None else arrays["condition"].shape[1:],
        unit="sample",
        num_values=int(lengths.sum()),
        sample_rate=sample_rate,
        hop=hop if condition == "letters" else None,
    )
    return arrays, info


def _choose(
    recordings: Sequence[Recording], name: str, split: str, valid_fraction: float, test_fraction: float
) -> tuple[list[Recording], str]:
    """Returns the recordings of a split, the shortest first, and a note that says how they were chosen."""
    # Evenly spaced in the order of the recordings: every speaker has a share, with a pattern or without.
    num, places = len(recordings), np.arange(len(recordings), dtype=np.int32)
    parts = splits_lib.carve(num, places, valid_fraction=valid_fraction, test_fraction=test_fraction, seed=0)
    rows = parts[splits_lib.check_split(split)]
    if not len(rows):
        raise ValueError(f"split {split!r} of {name!r} is empty: {num} recordings")
    sizes = "/".join(str(len(parts[key])) for key in splits_lib.SPLITS)
    cut = f"cut train/valid/test {sizes}, evenly spaced in the order of their names"
    note = f"{split}: {len(rows)} of {num} recordings, {cut}"
    return sorted((recordings[row] for row in rows), key=lambda each: (len(each.samples), each.name)), note


def _padded(chosen: Sequence[Recording], encoding: str) -> tuple[np.ndarray, np.ndarray]:
    """Recordings behind which there is silence, [N, T], and their lengths, int32 [N]."""
    lengths = np.array([len(recording.samples) for recording in chosen], np.int32)
    codes = [encode(recording.samples, encoding) for recording in chosen]
    silence = encode(np.zeros(1), encoding)[0]
    x = np.full([len(chosen), int(lengths.max())], silence, codes[0].dtype)
    for row, code in zip(x, codes, strict=True):
        row[: len(code)] = code
    return x, lengths


def _fields(
    recordings: Sequence[Recording], chosen: Sequence[Recording], condition: str, name: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels [N] and their names, or vectors [N, sum of the classes] and the names of their elements."""
    fields = {key for recording in recordings for key in recording.fields} - {"index"}
    keys = condition.split("+")
    if not set(keys) <= fields or len(set(keys)) < len(keys):
        known = ", ".join(map(repr, sorted(fields))) or "none"
        raise ValueError(
            f"condition must be fields of {name!r} ({known}), several of them joined by '+', or 'letters', "
            f"got {condition!r}"
        )
    values = {key: sorted({recording.fields[key] for recording in recordings}) for key in keys}
    numbers = {key: np.array([values[key].index(r.fields[key]) for r in chosen], np.int32) for key in keys}
    if len(keys) == 1:
        return numbers[keys[0]], tuple(values[keys[0]])
    one_hot = [np.eye(len(values[key]), dtype=np.float32)[numbers[key]] for key in keys]
    return np.concatenate(one_hot, 1), tuple(f"{key}={value}" for key in keys for value in values[key])


def word_of(recording: Recording) -> str | None:
    """Returns the word spoken in a recording: its field `word`, or the name of its field `digit`."""
    digit = recording.fields.get("digit")
    if digit is not None and digit.isdigit() and int(digit) < len(_DIGITS):
        return _DIGITS[int(digit)]
    return recording.fields.get("word")


def spread_letters(words: Sequence[str], lengths: Sequence[int], frames: int, hop: int, alphabet: str) -> np.ndarray:
    """Frames of the condition "letters".

    Args:
        words: What is spoken in every recording.
        lengths: Its samples.
        frames: Frames of the longest one.
        hop: Samples per frame.
        alphabet: All letters, in the order of their channels.

    Returns:
        float32 [N, frames, len(alphabet) + 1]: the letter one-hot, and the share of the recording that is over; behind
        the end of a recording 0 and 1.
    """
    out = np.zeros([len(words), frames, len(alphabet) + 1], np.float32)
    for row, word, length in zip(out, words, lengths, strict=True):
        num = -(-int(length) // hop)
        place = (np.arange(num) * len(word)) // num
        row[np.arange(num), [alphabet.index(word[index]) for index in place]] = 1
        row[:, -1] = np.minimum(np.arange(frames) / num, 1)
    return out


def _letters(
    recordings: Sequence[Recording], chosen: Sequence[Recording], longest: int, hop: int, name: str
) -> np.ndarray:
    if hop < 1:
        raise ValueError(f"hop must be at least 1, got {hop}")
    words = [word_of(recording) for recording in recordings]
    if None in words:
        raise ValueError(f"condition 'letters' needs a field 'word', or 'digit' from 0 to 9, in every name of {name!r}")
    alphabet = "".join(sorted(set("".join(words))))
    spoken = [word_of(recording) for recording in chosen]
    lengths = [len(recording.samples) for recording in chosen]
    return spread_letters(spoken, lengths, -(-longest // hop), hop, alphabet)
