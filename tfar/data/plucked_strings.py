"""`plucked_strings`: synthesized recordings of plucked strings, which need no file.

Every combination of 12 pitches (a chromatic scale from 110 Hz) and 3 timbres is plucked 20 times, 0.4 seconds each at
8 kHz, by the algorithm of Karplus and Strong: a delay line as long as the string's period begins with noise, and every
turn averages neighbours,

    y_t = g ((1 - b) y_(t-p) + b y_(t-p-1))

The timbres differ in the filter of the noise, in b and in g. Fields: pitch, timbre, index.

Reference: Karplus and Strong, Digital Synthesis of Plucked-String and Drum Timbres, Computer Music Journal, 1983.
"""

import pathlib

import numpy as np

from tfar.data import recordings as recordings_lib
from tfar.data import streams
from tfar.data.data_info import DataInfo
from tfar.data.recordings import Recording

SAMPLE_RATE = 8000
NUM_PITCHES = 12
TIMBRES = {"bright": (1, 0.5, 0.998), "muted": (6, 0.5, 0.96), "soft": (6, 0.3, 0.998)}  # filter taps, b, g
_TAKES = 20
_LENGTH = 3200


def load_split(
    name: str,
    path: pathlib.Path | None,
    split: str,
    valid_fraction: float = 0.1,
    test_fraction: float | None = None,
    encoding: str = "mu_law",
    condition: str | None = None,
) -> tuple[dict[str, np.ndarray], DataInfo]:
    """One split; see `tfar.data.recordings.split_of` for the arguments and the result.

    Raises:
        ValueError: There is something behind the name, or a bad option.
    """
    if path is not None:
        raise ValueError(f"name must be 'plucked_strings' alone, got {name!r}")
    return recordings_lib.split_of(
        synthesize(), name, split, valid_fraction, test_fraction, SAMPLE_RATE, encoding, condition
    )


def synthesize() -> list[Recording]:
    """Synthesizes all recordings."""
    made = []
    for pitch in range(NUM_PITCHES):
        period = round(SAMPLE_RATE / (110 * 2 ** (pitch / 12)))
        for number, (timbre, (taps, blend, gain)) in enumerate(TIMBRES.items()):
            generator = streams.generator(streams.FIXED_NOISE, number, pitch)
            for take in range(_TAKES):
                noise = generator.uniform(-1, 1, period + taps - 1)
                samples = pluck(np.convolve(noise, np.ones(taps) / taps, "valid"), _LENGTH, blend, gain)
                samples *= generator.uniform(0.3, 0.9) / np.abs(samples).max()
                fields = {"pitch": f"{pitch:02d}", "timbre": timbre, "index": str(take)}
                made.append(Recording("_".join(fields.values()), samples.astype(np.float32), fields))
    return made


def pluck(noise: np.ndarray, length: int, blend: float, gain: float) -> np.ndarray:
    """Synthesizes a plucked string.

    Args:
        noise: What the string begins with, one period, [p].
        length: Samples.
        blend: b, share of the neighbour.
        gain: g, what a turn leaves of it.

    Returns:
        float64 [length].
    """
    period = len(noise)
    y = np.zeros(length + 2 * period)
    y[:period] = noise
    for start in range(period, length, period):
        # One period at a time: all that it depends on is older, but for its first element's neighbour.
        before = y[start - period - 1 : start - 1] if start > period else np.roll(noise, 1)
        y[start : start + period] = gain * ((1 - blend) * y[start - period : start] + blend * before)
    return y[:length]
