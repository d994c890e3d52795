"""WaveNet on spoken digits, conditional on the speaker and the digit.

Source:    van den Oord et al., WaveNet: A Generative Model for Raw Audio, 2016, section 2.5 (global conditioning).
Data:      a folder of wav files {digit}_{speaker}_{index}.wav, such as the Free Spoken Digit Dataset.
Command:   python -m pipelines.train --config=pipelines/configs/audio_wavenet_speaker.py
               --config.data.name=wav:free_spoken_digits --workdir=runs/audio_wavenet_speaker
Time:      about 20 minutes on 2 cores.
Expected:  on the Free Spoken Digits 4.66 bits/sample, `audio_wavenet` with the same field 4.73. Conditions to choose
           from: digit, speaker, digit+speaker, and letters (the letters of the spoken word, a slower sequence).
"""

from ml_collections import config_dict

from pipelines.configs import audio_wavenet


def get_config() -> config_dict.ConfigDict:
    """Returns the run's configuration."""
    config = audio_wavenet.get_config()
    config.name = "audio_wavenet_speaker"
    config.data.name = "wav:free_spoken_digits"
    config.data.pattern = "{digit}_{speaker}_{index}.wav"
    config.condition = "digit+speaker"
    # A receptive field of 128 samples, too short to tell the speaker by: with 1,024 samples the network recognises the
    # speaker by itself, and 600 steps of training with labels were worse than without (docs/results.md).
    config.model.layers_per_stack = 6
    return config
