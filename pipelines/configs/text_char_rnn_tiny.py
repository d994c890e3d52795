"""The smallest run of `text_char_rnn`: seconds, for tests and to see that everything works."""

from ml_collections import config_dict

from pipelines.configs import text_char_rnn


def get_config() -> config_dict.ConfigDict:
    """Returns the run's configuration."""
    config = text_char_rnn.get_config()
    config.name = "text_char_rnn_tiny"
    config.data.window = 16
    config.model.units = 16
    config.model.num_layers = 1
    config.train.steps = 60
    config.train.batch_size = 8
    config.train.learning_rate = 1e-2
    config.train.schedule.warmup_steps = 5
    config.train.log_every = 10
    config.train.eval_every = 30
    config.train.checkpoint_every = 20
    config.report.num_samples = 2
    return config
