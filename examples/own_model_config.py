"""A model of the user's own on scikit-learn's 8x8 digits: what `config.model.name=package.module:Class` is for.

Paper:     none; examples/own_model.py, running means of the pixels before.
Command:   python -m pipelines.train --config=examples/own_model_config.py --workdir=runs/own_model
Time:      about a minute on 2 cores.
Expected:  2.41 bits/dim on the test split (180 images), averaged weights. Independent pixels score 2.42.
"""

from ml_collections import config_dict

from pipelines.configs import defaults


def get_config() -> config_dict.ConfigDict:
    """The run's configuration."""
    config = defaults.get_config()
    config.name = "own_model"
    config.data.name = "digits"
    config.condition = "label"
    config.model.update({"name": "examples.own_model:DecayModel", "units": 64})
    config.head.name = "Categorical"
    config.train.steps = 300
    config.train.learning_rate = 1e-2
    config.train.schedule.name = "cosine"
    config.train.ema_decay = 0.9
    config.report.num_samples = 20
    return config
