r"""`wav:FOLDER`: the wav files of a folder, mixed to mono, as mu-law codes or 16-bit samples.

    wav:spoken_digits    7_jackson_32.wav, ...       pattern "{digit}_{speaker}_{index}.wav"

Fields in braces stand for letters, digits and other characters but "_"; the files of sub-folders are found too, and the
pattern is matched against the file's name. Files are PCM of 8, 16, 24 or 32 bits.
"""

import pathlib
import re
import struct
import wave

import numpy as np

from tfar.data import recordings as recordings_lib
from tfar.data import skipped, values
from tfar.data.data_info import DataInfo
from tfar.data.recordings import Recording


def load_split(
    name: str,
    path: pathlib.Path | None,
    split: str,
    valid_fraction: float = 0.1,
    test_fraction: float | None = None,
    pattern: str | None = None,
    sample_rate: int | None = None,
    encoding: str = "mu_law",
    condition: str | None = None,
    hop: int = 128,
) -> tuple[dict[str, np.ndarray], DataInfo]:
    """One split of a folder.

    Args:
        name: For the description and for errors.
        path: The folder.
        split: `"train"`, `"valid"` or `"test"`.
        valid_fraction: Share of the recordings.
        test_fraction: Share of the recordings; 0.1 where `None`.
        pattern: Names of the files, with fields, such as `"{digit}_{speaker}_{index}.wav"`. Files that do not fit are
            dropped. Without it every file is taken, and there are no fields.
        sample_rate: Files of another rate are resampled to this one. Without it all must have one rate.
        encoding: `"mu_law"` (256 codes) or `"pcm16"` (65,536 values).
        condition: Fields, or `"letters"`; see `tfar.data.recordings`.
        hop: Samples per frame of `"letters"`.

    Returns:
        See `tfar.data.recordings.split_of`. The description's `split_note` says what was dropped and why.

    Raises:
        FileNotFoundError: There is no such folder, or no wav file in it.
        ValueError: A file that is no PCM wav, files of differing rates, nothing left, a bad option.
    """
    if path is None:
        raise ValueError("name must be 'wav:FOLDER'; 'plucked_strings' needs no files")
    if not path.is_dir():
        raise FileNotFoundError(f"wav:FOLDER needs an existing folder, got {str(path)!r}")
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() == ".wav" and file.is_file())
    if not files:
        raise FileNotFoundError(f"wav:FOLDER {str(path)!r} must hold wav files, found none")
    if sample_rate is not None:
        values.check_integer("sample_rate", sample_rate, 1)
    kept, rate, report = _read(path, files, pattern, sample_rate)
    if not kept:
        raise ValueError(f"wav:FOLDER {str(path)!r} has no recording that can be used: {report}")
    return recordings_lib.split_of(
        kept, name, split, valid_fraction, test_fraction, rate, encoding, condition, hop, report
    )


def _read(
    path: pathlib.Path, files: list[pathlib.Path], pattern: str | None, sample_rate: int | None
) -> tuple[list[Recording], int, str]:
    """Reads the files of a folder whose names fit; returns recordings, their rate, and a report of dropped files."""
    matcher = None if pattern is None else _matcher(pattern)
    kept: list[Recording] = []
    dropped: dict[str, list[str]] = {}
    rate = sample_rate or 0
    for file in files:
        relative = file.relative_to(path).as_posix()
        match = None if matcher is None else matcher.fullmatch(file.name)
        if matcher is not None and match is None:
            dropped.setdefault(f"name does not fit {pattern!r}", []).append(relative)
            continue
        samples, own_rate = read_wav(file)
        if not len(samples):
            dropped.setdefault("no samples", []).append(relative)
            continue
        rate = rate or own_rate
        if own_rate != rate:
            if sample_rate is None:
                raise ValueError(
                    f"wav:FOLDER {str(path)!r} has files of {rate} Hz, but {relative!r} has {own_rate} Hz; "
                    f"give sample_rate={rate} (or another) to resample"
                )
            samples = resample(samples, own_rate, rate)
        kept.append(Recording(relative, samples, {} if match is None else match.groupdict()))
    return kept, rate, _report(dropped, len(files))


def _matcher(pattern: str) -> re.Pattern[str]:
    """Returns the regular expression of a pattern with {fields}."""
    parts = re.split(r"\{(\w+)\}", pattern)
    fields = parts[1::2]
    if not fields or len(set(fields)) < len(fields):
        raise ValueError(f"pattern must name different fields in braces, '{{speaker}}_{{index}}.wav', got {pattern!r}")
    return re.compile("".join(f"(?P<{p}>[^_/]+?)" if i % 2 else re.escape(p) for i, p in enumerate(parts)))


def _report(dropped: dict[str, list[str]], num: int) -> str:
    count = sum(map(len, dropped.values()))
    reasons = [f"{reason} ({skipped.first_of(files)})" for reason, files in dropped.items()]
    return f"dropped {count} of {num} files: {'; '.join(reasons)}" if count else f"no file dropped of {num}"


def read_wav(file: pathlib.Path) -> tuple[np.ndarray, int]:
    """Samples of a wav file in [-1, 1], float32 [T], channels averaged, and its sample rate.

    Raises:
        ValueError: It is no wav file, or not PCM of 8, 16, 24 or 32 bits.
    """
    try:
        with wave.open(str(file), "rb") as stream:
            rate, channels, width = stream.getframerate(), stream.getnchannels(), stream.getsampwidth()
            data = stream.readframes(stream.getnframes())
    except (wave.Error, EOFError, OSError) as error:
        raise ValueError(
            f"{str(file)!r} cannot be read: {_format(file) or error}; PCM wav files are accepted"
        ) from None
    raw = np.frombuffer(data[: len(data) // (width * channels) * width * channels], np.uint8)
    raw = raw.reshape(-1, channels, width)
    if width == 1:
        samples = (raw[..., 0].astype(np.float32) - 128) / 128
    else:
        # The bytes of a sample become the highest ones of 32 bits.
        wide = np.zeros([*raw.shape[:2], 4], np.uint8)
        wide[..., 4 - width :] = raw
        samples = wide.view("<i4")[..., 0] / 2.0**31
    return samples.mean(1).astype(np.float32), rate


def _format(file: pathlib.Path) -> str:
    """Returns what is wrong with a file that has a wav header; an empty text where it has none."""
    head = file.read_bytes()[:4096]
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return "it is no wav file"
    place = head.find(b"fmt ")
    if place < 0 or len(head) < place + 24:
        return ""
    code, _, _, _, _, bits = struct.unpack("<HHIIHH", head[place + 8 : place + 24])
    kind = {1: "integers", 3: "floating point numbers", 6: "A-law", 7: "mu-law"}.get(code, f"format {code}")
    return f"it holds {kind} of {bits} bits"


def resample(samples: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """Samples at another rate, low-pass filtered (polyphase, Kaiser window); float32, clipped to [-1, 1]."""
    # Imported here: it takes a second.
    from scipy.signal import resample_poly

    divisor = int(np.gcd(rate, new_rate))
    resampled = resample_poly(samples, new_rate // divisor, rate // divisor)
    return np.clip(resampled, -1, 1).astype(np.float32)
