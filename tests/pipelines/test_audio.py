"""Wav files, spectrograms, and the section of a report."""

import base64
import re

import numpy as np
import pytest

from pipelines import audio
from tfar.data.wav import read_wav


def tone(frequency, rate=8000, length=4000):
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(length) / rate)


def test_wav_round_trip(tmp_path):
    audio.write_wav(tmp_path / "a.wav", tone(440), 8000)
    samples, rate = read_wav(tmp_path / "a.wav")
    assert rate == 8000
    np.testing.assert_allclose(samples, tone(440), atol=1e-4)
    audio.write_wav(tmp_path / "b.wav", np.stack([tone(440, length=100)] * 2), 8000)
    assert len(read_wav(tmp_path / "b.wav")[0]) == 100 + 2000 + 100
    with pytest.raises(ValueError, match="samples must be finite"):
        audio.write_wav(tmp_path / "c.wav", np.array([np.nan]), 8000)


def test_spectrogram_shows_the_frequency():
    decibels = audio.spectrogram(tone(1000))
    assert decibels.shape[0] == 129 and decibels.max() == 0
    assert (np.abs(decibels.argmax(0) - 1000 / 4000 * 128) <= 1).all()
    assert audio.spectrogram(np.zeros(10)).shape == (129, 1)


def test_pictures():
    wave = np.asarray(audio.waveform_picture(np.concatenate([np.zeros(2000), tone(50, length=2000)])))
    dark = (wave[..., 0] == 70).sum(0)
    assert dark[:200].max() <= 2 < dark[300:].max()
    assert audio.spectrogram_picture(tone(440)).size == (480, 96)


def test_a_quiet_recording_is_not_flat():
    """One scale for all pictures of a report, that of the recordings."""
    quiet = 0.02 * tone(50)
    flat, drawn, cut = (
        np.asarray(audio.waveform_picture(*given)) for given in ((quiet,), (quiet, 0.01), (quiet, 1e-3))
    )
    heights = [(picture[..., 0] == 70).any(1).sum() for picture in (flat, drawn, cut)]
    assert heights[0] <= 3 and heights[1] >= 90 and heights[2] == 96


def test_playable_without_a_file():
    uri = audio.data_uri(tone(440, length=50), 8000)
    data = base64.b64decode(re.fullmatch(r"data:audio/wav;base64,(.*)", uri)[1])
    assert data[:4] == b"RIFF" and len(data) == 44 + 100


def test_report_section(tmp_path):
    import tfar
    from tfar.data import load_arrays

    arrays, info = load_arrays("plucked_strings", "test", condition="timbre")
    arrays = {key: value[:3] for key, value in arrays.items()}
    arrays["x"], arrays["length"] = arrays["x"][:, :60], np.array([60, 60, 50])
    sizes = {"residual_channels": 4, "dilation_channels": 4, "skip_channels": 8, "num_stacks": 1, "layers_per_stack": 1}
    model = tfar.models.WaveNet((None,), tfar.heads.Categorical(256), condition=tfar.conditions.Label(3), **sizes)
    section = audio.report_section(tmp_path, model, info, arrays, 2)
    assert section.count("<audio") == 4 and section.count("<img") == 8
    assert re.search(r"from -0\.\d+ to 0\.\d+ in all pictures", section)
    assert "timbre=" in section and "bits/sample" in section
    samples, rate = read_wav(tmp_path / "samples.wav")
    assert rate == 8000 and len(samples) == 60 + 2000 + 60
