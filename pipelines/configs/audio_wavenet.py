"""WaveNet on raw audio, 256 mu-law codes, without a condition.

Source:    van den Oord et al., WaveNet: A Generative Model for Raw Audio, 2016 (there 16 kHz and far larger models).
Data:      synthesized plucked strings, 8 kHz; a folder of your own with --config.data.name=wav:FOLDER.
Command:   python -m pipelines.train --config=pipelines/configs/audio_wavenet.py
               --config.data.name=wav:free_spoken_digits --workdir=runs/audio_wavenet
Time:      about 20 minutes on 2 cores.
"""

from ml_collections import config_dict

from pipelines.configs import defaults


def get_config() -> config_dict.ConfigDict:
    """Returns the run's configuration."""
    config = defaults.get_config()
    config.name = "audio_wavenet"
    config.data.name = "plucked_strings"
    config.data.encoding = "mu_law"  # or "pcm16", with head.name = "DiscretizedLogisticMixture" and head.bits = 16
    # Options of wav:FOLDER, see `tfar.data.wav`.
    config.data.pattern = config_dict.placeholder(str)
    config.data.sample_rate = config_dict.placeholder(int)
    config.data.hop = config_dict.placeholder(int)
    config.data.window = 2048
    # A learned embedding instead of the one-hot codes of the paper: sampling takes half the time.
    config.model.update({"name": "WaveNet", "embedding_dim": 32, "skip_channels": 64})
    config.model.update({"residual_channels": 32, "dilation_channels": 32, "num_stacks": 2, "layers_per_stack": 9})
    config.head.name = "Categorical"
    config.train.steps = 2500
    config.train.batch_size = 8
    config.train.learning_rate = 2e-3
    config.train.schedule.name = "cosine"
    config.train.schedule.warmup_steps = 100
    config.train.ema_decay = 0.99
    config.train.log_every = 25
    config.train.eval_every = 500
    config.train.checkpoint_every = 250
    config.train.eval_batch_size = 16
    config.report.num_samples = 4
    return config
