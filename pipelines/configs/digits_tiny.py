"""The smallest run of `digits`, for tests and a first look.

Paper:     as digits.py.
Command:   python -m pipelines.train --config=pipelines/configs/digits_tiny.py --workdir=runs/digits_tiny
Time:      about 20 seconds, most of it for starting.
Expected:  below 3.2 bits/dim on the test split (untrained: 4.1): it shows that everything works, and no more.
"""

from ml_collections import config_dict

from pipelines.configs import digits


def get_config() -> config_dict.ConfigDict:
    """Returns the run's configuration."""
    config = digits.get_config()
    config.name = "digits_tiny"
    config.model.filters = 8
    config.model.num_blocks = 1
    config.model.first_kernel_size = 3
    config.model.dropout = 0.1
    config.train.steps = 60
    config.train.batch_size = 32
    config.train.learning_rate = 1e-2
    config.train.schedule.warmup_steps = 5
    config.train.ema_decay = 0.9
    config.train.log_every = 10
    config.train.eval_every = 20
    config.train.checkpoint_every = 10
    config.report.num_samples = 10
    return config
