"""The smallest run of `audio_wavenet_speaker`: seconds, for tests and to see that everything works."""

from ml_collections import config_dict

from pipelines.configs import audio_wavenet_speaker


def get_config() -> config_dict.ConfigDict:
    """Returns the run's configuration."""
    config = audio_wavenet_speaker.get_config()
    config.name = "audio_wavenet_speaker_tiny"
    config.data.window = 256
    config.model.update({"embedding_dim": 4, "skip_channels": 8, "residual_channels": 4, "dilation_channels": 4})
    config.model.update({"num_stacks": 1, "layers_per_stack": 4})
    config.train.steps = 20
    config.train.batch_size = 4
    config.train.schedule.warmup_steps = 5
    config.train.log_every = 5
    config.train.eval_every = 10
    config.train.checkpoint_every = 10
    config.train.eval_batch_size = 8
    config.report.num_samples = 1
    return config
