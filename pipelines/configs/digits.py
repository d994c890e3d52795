"""Gated PixelCNN on scikit-learn's 8x8 digits, 17 grey levels, conditional on the label: the main job.

Paper:     van den Oord et al., Conditional Image Generation with PixelCNN Decoders, NIPS 2016, for the model.
Command:   python -m pipelines.train --config=pipelines/configs/digits.py --workdir=runs/digits
Time:      about 3 minutes on 2 cores.
Expected:  at most 1.80 bits/dim on the test split (180 images), averaged weights. Independent pixels score 2.42.
"""

from ml_collections import config_dict

from pipelines.configs import defaults


def get_config() -> config_dict.ConfigDict:
    """Returns the run's configuration."""
    config = defaults.get_config()
    config.name = "digits"
    config.data.name = "digits"
    config.condition = "label"
    config.model.update(
        {
            "name": "GatedPixelCNN",
            "filters": 32,
            "num_blocks": 5,
            "kernel_size": 3,
            "first_kernel_size": 5,
            "dropout": 0.4,
        }
    )
    config.head.name = "Categorical"  # its 17 levels follow from the data
    config.train.steps = 1600
    config.train.batch_size = 64
    config.train.optimizer.name = "adamw"
    config.train.optimizer.weight_decay = 0.01
    config.train.learning_rate = 2e-3
    config.train.schedule.name = "cosine"
    config.train.schedule.warmup_steps = 50
    config.train.ema_decay = 0.995
    config.train.eval_every = 100
    return config
