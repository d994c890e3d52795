"""Sound out of a trained model: wav files, waveforms and spectrograms, and what report.html shows and plays."""

from __future__ import annotations

import base64
import html
import io
import pathlib
import wave
from typing import Any

import numpy as np
from PIL import Image

from pipelines import pictures
from tfar import training
from tfar.core.files import write_atomically
from tfar.core.units import bits_per_dim
from tfar.data.recordings import decode

_WINDOW, _HOP = 256, 64  # of the short-time Fourier transform, in samples
_QUIETEST = 1e-3  # amplitude of the edge of a picture of silence
_RANGE_DB = 70.0  # what is shown below the loudest point of a spectrogram
_WIDTH, _HEIGHT = 480, 96  # of a picture

# Of the report.
_SHOWN, _SEED = 8, 0
# Compiling the loop with XLA takes 10 seconds and more, so that it pays for many samples only.
_XLA_FROM = 4000


# === Files ===


def wav_bytes(samples: np.ndarray, rate: int) -> bytes:
    """Returns a wav file of 16 bits.

    Args:
        samples: [T] in [-1, 1]; what lies outside is clipped.
        rate: samples per second.

    Raises:
        ValueError: samples are not one recording, or not finite.
    """
    samples = np.asarray(samples, np.float64)
    if samples.ndim != 1 or not np.isfinite(samples).all():
        raise ValueError(f"samples must be finite and of shape [T], got {samples.shape}")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.clip(np.rint(samples * 32768), -32768, 32767).astype("<i2").tobytes())
    return buffer.getvalue()


def write_wav(path: str | pathlib.Path, samples: np.ndarray, rate: int) -> None:
    """Writes a wav file of 16 bits, whole or not at all.

    Args:
        path: of the file.
        samples: [T] in [-1, 1], or [N, T]: one after the other, a quarter of a second of silence in between.
        rate: samples per second.
    """
    samples = np.asarray(samples, np.float64)
    if samples.ndim == 2:
        pause = np.zeros(rate // 4)
        samples = np.concatenate([part for row in samples for part in (row, pause)][:-1])
    write_atomically(path, wav_bytes(samples, rate))


def to_samples(x: Any, levels: int) -> np.ndarray:
    """Codes of a model, of mu-law or of 16 bits, as float32 samples in [-1, 1]."""
    return decode(np.asarray(x), levels)


def data_uri(samples: np.ndarray, rate: int) -> str:
    """Returns the wav file as a `data:` address, which needs no file beside the page."""
    return "data:audio/wav;base64," + base64.b64encode(wav_bytes(samples, rate)).decode()


# === Pictures ===


def spectrogram(samples: np.ndarray) -> np.ndarray:
    """Loudness in dB by frequency and time, float [129, frames], 0 dB the loudest point.

    Args:
        samples: [T] in [-1, 1]; short ones are padded with silence.
    """
    samples = np.pad(samples, (0, max(0, _WINDOW - len(samples))))
    starts = np.arange(0, len(samples) - _WINDOW + 1, _HOP)
    frames = samples[starts[:, None] + np.arange(_WINDOW)] * np.hanning(_WINDOW)
    power = np.abs(np.fft.rfft(frames)).T ** 2
    return 10 * np.log10(np.maximum(power, 1e-10) / max(power.max(), 1e-10))


def spectrogram_picture(samples: np.ndarray) -> Image.Image:
    """Returns the spectrogram, low frequencies at the bottom, loud ones bright."""
    decibels = spectrogram(samples)[::-1]
    return Image.fromarray(pictures.heat(decibels[None], -_RANGE_DB, 0.0)[0]).resize((_WIDTH, _HEIGHT))


def waveform_picture(samples: np.ndarray, most: float = 1.0) -> Image.Image:
    """Amplitude over time: a column shows from the least to the greatest value of its samples.

    Args:
        samples: [T] in [-1, 1].
        most: amplitude at the edge of the picture; what is louder is cut off.
    """
    samples = np.clip(np.asarray(samples, np.float64) / most, -1, 1)
    parts = np.array_split(samples, min(_WIDTH, len(samples)))
    half = _HEIGHT / 2
    rows = np.arange(_HEIGHT)[:, None]
    top = np.array([half - part.max() * half for part in parts])
    bottom = np.array([half - part.min() * half for part in parts])
    inside = (rows >= np.floor(top)) & (rows <= np.ceil(bottom))
    image = np.where(inside[..., None], np.array([70, 110, 170]), np.array([245, 245, 245]))
    return Image.fromarray(image.astype(np.uint8)).resize((_WIDTH, _HEIGHT), Image.Resampling.NEAREST)


# === Report ===


def draw(
    model: Any,
    num: int,
    length: int,
    condition: Any = None,
    seed: int = _SEED,
    temperature: float = 1.0,
    **options: Any,
) -> np.ndarray:
    """Recordings drawn from a model, as float32 samples [num, length] in [-1, 1].

    Args:
        model: of codes of sound, of any length.
        num: number of recordings.
        length: samples of each.
        condition: [num, ...], as the model takes it.
        seed: of the draws.
        temperature: below 1 recordings are more probable ones.
        **options: further arguments of `model.sample`, such as `progress`.
    """
    options.setdefault("jit_compile", num * length >= _XLA_FROM)
    x = model.sample(num, condition=condition, seed=seed, temperature=temperature, length=length, **options)
    return to_samples(x, model.head.levels)


def report_section(
    workdir: pathlib.Path, model: Any, info: Any, arrays: dict[str, np.ndarray], num_samples: int
) -> str:
    """Shows samples, also written to samples.wav, recordings of the split, and the nats of their elements.

    Args:
        workdir: where samples.wav is written.
        model: trained on sound.
        info: of the split that is shown.
        arrays: of the split, {"x": [N, T], "length": [N], "condition": [N, ...]}.
        num_samples: samples, at most 8 are shown.

    Returns:
        HTML.
    """
    rate, num = info.sample_rate, min(num_samples, _SHOWN, len(arrays["x"]))
    # Recordings spread over the split, which is in the order of lengths; samples are as long as the middle one.
    rows = np.linspace(0, len(arrays["x"]) - 1, num + 2).astype(int)[1:-1] if num < len(arrays["x"]) else np.arange(num)
    length = int(np.median(arrays["length"]))
    condition = arrays["condition"][rows] if "condition" in arrays else None
    drawn = draw(model, num, length, condition, batch_size=num)
    write_wav(workdir / "samples.wav", drawn, rate)
    cut = {key: value[rows] for key, value in arrays.items() if key in ("x", "length", "condition")}
    cut["x"] = cut["x"][:, : int(cut["length"].max())]
    nats = training.sequence_log_probs(model, cut, batch_size=num)
    real = to_samples(cut["x"], model.head.levels)
    names = [_name(info, arrays, int(row)) for row in rows]
    # One scale for all, that of the recordings: a quiet one would be flat beside a sample that is too loud.
    most = max(_QUIETEST, *(float(np.abs(row[:size]).max()) for row, size in zip(real, cut["length"], strict=True)))
    samples = "".join(
        _figure(row, rate, most, f"sample {number + 1}{f', {name}' if name else ''}")
        for number, (row, name) in enumerate(zip(drawn, names, strict=True))
    )
    recordings = "".join(
        _figure(
            row[:size],
            rate,
            most,
            f"recording{f', {name}' if name else ''}: {bits_per_dim(part.mean(), 1):.2f} bits/sample",
        )
        for row, size, part, name in zip(real, cut["length"], nats, names, strict=True)
    )
    return f"""<section><h2>Samples</h2>
{samples}<p class="quiet">Drawn from the averaged weights at temperature 1, seed {_SEED}. None was selected. Left the
amplitude over time, from -{most:.2g} to {most:.2g} in all pictures, as in the loudest of the recordings; what is louder
is cut off. Right the spectrogram up to {rate // 2} Hz, {_RANGE_DB:g} dB from bright to dark.</p></section>

<section><h2>Recordings of the test split</h2>
{recordings}</section>
"""


def _figure(samples: np.ndarray, rate: int, most: float, caption: str) -> str:
    images = "".join(
        f'<img src="{pictures.data_uri(picture)}" alt="{alt}" style="width:49.5%">'
        for picture, alt in (
            (waveform_picture(samples, most), "waveform"),
            (spectrogram_picture(samples), "spectrogram"),
        )
    )
    player = f'<audio controls preload="none" src="{data_uri(samples, rate)}"></audio>'
    return f"<figure>{images}<br>{player}<figcaption>{html.escape(caption)}</figcaption></figure>\n"


def _name(info: Any, arrays: dict[str, np.ndarray], row: int) -> str:
    """Returns the condition of a recording in words; empty where it has no name."""
    names = info.label_names
    if names is None or "condition" not in arrays:
        return ""
    condition = arrays["condition"][row]
    if condition.ndim == 0:
        return f"{info.condition}={names[int(condition)]}"
    return ", ".join(names[index] for index in np.flatnonzero(condition))
