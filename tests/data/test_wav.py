"""Folders of wav files, and the synthesized default."""

import os
import pathlib
import struct
import wave

import numpy as np
import pytest

from tfar.data import load_arrays, recordings
from tfar.data.wav import read_wav

PATTERN = "{digit}_{speaker}_{index}.wav"
SHARED = pathlib.Path(os.environ.get("TFAR_SHARED_DATA", pathlib.Path(__file__).resolve().parents[3] / "shared/data"))


def write(path, samples, rate=8000, width=2, channels=1):
    samples = np.asarray(samples, np.float64)
    if width == 1:
        data = np.rint(samples * 127 + 128).astype(np.uint8).tobytes()
    else:
        wide = np.rint(samples * (2**31 - 1)).astype("<i4").view(np.uint8).reshape(-1, 4)
        data = np.ascontiguousarray(wide[:, 4 - width :]).tobytes()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(data)


@pytest.fixture
def folder(tmp_path):
    """20 recordings of 2 digits by 2 speakers, 10 to 29 samples long."""
    rng = np.random.default_rng(0)
    for number in range(20):
        digit, speaker = number % 2, ("ann", "bob")[number // 2 % 2]
        write(tmp_path / f"{digit}_{speaker}_{number}.wav", rng.uniform(-0.9, 0.9, 10 + number))
    return tmp_path


def load(folder, split="train", **kwargs):
    return load_arrays(f"wav:{folder}", split, **kwargs)


# === Files ===


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_widths(tmp_path, width):
    samples = np.array([0.0, 0.5, -0.5, 0.99])
    write(tmp_path / "a.wav", samples, 11025, width)
    found, rate = read_wav(tmp_path / "a.wav")
    assert rate == 11025 and found.dtype == np.float32
    np.testing.assert_allclose(found, samples, atol=2.0 ** (1 - 8 * min(width, 3)) * 2)


def test_channels_are_averaged(tmp_path):
    write(tmp_path / "a.wav", [0.5, 0.1, -0.5, 0.5], channels=2)
    np.testing.assert_allclose(read_wav(tmp_path / "a.wav")[0], [0.3, 0.0], atol=1e-4)


def float_wav(path, bits, samples=4):
    data = np.zeros(samples, f"<f{bits // 8}").tobytes()
    header = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 3, 1, 8000, 8000 * bits // 8, bits // 8, bits)
    body = header + b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)


def test_bad_files(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match="needs an existing folder"):
        load(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="must hold wav files, found none"):
        load(tmp_path / "empty")
    write(tmp_path / "empty" / "a.wav", [])
    with pytest.raises(ValueError, match=r"no recording that can be used: dropped 1 of 1 files: no samples \(a.wav\)"):
        load(tmp_path / "empty")
    float_wav(folder / "z.wav", 64)
    with pytest.raises(ValueError, match="it holds floating point numbers of 64 bits; PCM wav files are accepted"):
        load(folder)
    (folder / "z.wav").write_bytes(b"no sound")
    with pytest.raises(ValueError, match="it is no wav file; PCM wav files are accepted"):
        load(folder)
    with pytest.raises(ValueError, match="'plucked_strings' needs no files"):
        load_arrays("wav", "train")


def test_another_rate_is_refused_or_resampled(folder):
    tone = np.sin(2 * np.pi * 440 * np.arange(1600) / 16000) * 0.5
    write(folder / "9_ann_99.wav", tone, rate=16000)
    with pytest.raises(ValueError, match="files of 8000 Hz, but '9_ann_99.wav' has 16000 Hz; give sample_rate=8000"):
        load(folder)
    parts = [load(folder, split, sample_rate=8000, encoding="pcm16") for split in ("train", "valid", "test")]
    assert {info.sample_rate for _, info in parts} == {8000}
    longest = max((arrays["x"][-1] for arrays, _ in parts), key=len)
    assert len(longest) == 800
    expected = np.sin(2 * np.pi * 440 * np.arange(800) / 8000) * 0.5
    np.testing.assert_allclose(recordings.decode(longest, 65536)[50:-50], expected[50:-50], atol=0.01)


# === Arrays ===


def test_whole_recordings_with_their_lengths(folder):
    arrays, info = load(folder)
    assert arrays["x"].dtype == np.uint8 and arrays["x"].shape == (16, int(arrays["length"].max()))
    assert (np.diff(arrays["length"]) >= 0).all()
    for row, length in zip(arrays["x"], arrays["length"], strict=True):
        assert (row[length:] == 128).all() and (row[:length] != 128).any()
    assert info.event_shape == (None,) and info.unit == "sample" and info.levels == 256
    assert info.num_values == arrays["length"].sum() and info.sample_rate == 8000


def test_a_recording_is_in_one_split(folder):
    lengths = [load(folder, split)[0]["length"].tolist() for split in ("train", "valid", "test")]
    assert [len(part) for part in lengths] == [16, 2, 2]
    assert sorted(sum(lengths, [])) == list(range(10, 30))  # every recording has a length of its own
    with_fields = [load(folder, s, pattern=PATTERN)[0]["length"].tolist() for s in ("train", "valid", "test")]
    assert with_fields == lengths, "a pattern changes nothing about the splits"


def test_sixteen_bits(folder):
    arrays, info = load(folder, encoding="pcm16")
    assert info.levels == 65536 and arrays["x"].dtype == np.int32
    assert arrays["x"][0, arrays["length"][0] :].tolist() == [32768] * (arrays["x"].shape[1] - arrays["length"][0])


def test_files_whose_name_does_not_fit_are_reported(folder):
    write(folder / "notes.wav", np.zeros(5))
    write(folder / "1_ann_77.wav", [])
    note = load(folder, pattern=PATTERN)[1].split_note
    assert "dropped 2 of 22 files" in note
    assert "no samples (1_ann_77.wav)" in note
    assert f"name does not fit {PATTERN!r} (notes.wav)" in note
    with pytest.raises(ValueError, match="pattern must name different fields in braces"):
        load(folder, pattern="*.wav")


# === Conditions ===


def rows_by_length(folder, condition, **kwargs):
    """Condition of every recording, by its length, over all splits; and the descriptions."""
    found, infos = {}, []
    for split in ("train", "valid", "test"):
        arrays, info = load(folder, split, pattern=PATTERN, condition=condition, **kwargs)
        found |= dict(zip(arrays["length"].tolist(), arrays["condition"], strict=True))
        infos.append(info)
    return found, infos[0]


def test_label_and_vector(folder):
    digits, info = rows_by_length(folder, "digit")
    assert info.num_labels == 2 and info.label_names == ("0", "1") and info.condition_shape == ()
    speakers, info = rows_by_length(folder, "speaker")
    assert info.label_names == ("ann", "bob")
    both, info = rows_by_length(folder, "digit+speaker")
    assert info.condition_shape == (4,) and info.num_labels is None
    assert info.label_names == ("digit=0", "digit=1", "speaker=ann", "speaker=bob")
    for number in range(20):
        length = 10 + number
        assert digits[length] == number % 2 and speakers[length] == number // 2 % 2
        assert np.flatnonzero(both[length]).tolist() == [number % 2, 2 + number // 2 % 2]
    for wrong in ("label", "digit+digit", "index"):
        with pytest.raises(ValueError, match="condition must be fields of"):
            load(folder, pattern=PATTERN, condition=wrong)


def test_letters(folder):
    letters, info = rows_by_length(folder, "letters", hop=2)
    alphabet = "enorz"  # of "zero" and "one"
    assert info.hop == 2 and info.condition_shape[-1] == len(alphabet) + 1
    frames = letters[16]  # digit 0, 16 samples, 8 frames
    assert "".join(alphabet[index] for index in frames[:8, :-1].argmax(1)) == "zzeerroo"
    np.testing.assert_allclose(frames[:9, -1], np.arange(9) / 8)
    assert not frames[8:, :-1].any() and (frames[8:, -1] == 1).all()
    with pytest.raises(ValueError, match="'letters' needs a field 'word', or 'digit'"):
        load(folder, condition="letters")


# === The synthesized default ===


def test_plucked_strings():
    arrays, info = load_arrays("plucked_strings", "train", condition="timbre")
    assert info.num_labels == 3 and info.label_names == ("bright", "muted", "soft")
    assert len(arrays["x"]) == 576 and info.sample_rate == 8000
    np.testing.assert_array_equal(arrays["x"], load_arrays("plucked_strings", "train")[0]["x"])
    arrays, info = load_arrays("plucked_strings", "test", condition="pitch", encoding="pcm16")
    assert info.num_labels == 12
    # The pitch is the one that the label says: the spectrum repeats at multiples of the fundamental.
    samples = recordings.decode(arrays["x"], info.levels)
    for row, label in zip(samples[:24], arrays["condition"][:24], strict=True):
        period = round(8000 / (110 * 2 ** (label / 12)))
        correlation = [row[lag:1600] @ row[: 1600 - lag] for lag in range(20, 100)]
        assert abs(20 + int(np.argmax(correlation)) - period) <= 1
    with pytest.raises(ValueError, match="name must be 'plucked_strings' alone"):
        load_arrays("plucked_strings:x", "train")


@pytest.mark.skipif(not (SHARED / "free_spoken_digits").is_dir(), reason="the Free Spoken Digit Dataset is absent")
def test_free_spoken_digits():
    arrays, info = load_arrays(
        f"wav:{SHARED / 'free_spoken_digits'}", "test", pattern=PATTERN, condition="digit+speaker"
    )
    assert arrays["x"].shape[0] == 300 and info.condition_shape == (16,)
    assert (arrays["condition"][:, :10].sum(0) == 30).all() and (arrays["condition"][:, 10:].sum(0) == 50).all()
    assert "no file dropped of 3000" in info.split_note
