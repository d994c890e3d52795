"""Locally masked PixelCNN over eight snake orders on scikit-learn's 8x8 digits; their average is scored.

Paper:     Jain, Abbeel, Pathak, Locally Masked Convolution for Autoregressive Models, UAI 2020, for model and orders.
Command:   python -m pipelines.train --config=pipelines/configs/digits_locally_masked.py
"""

from ml_collections import config_dict

from pipelines.configs import digits


def get_config() -> config_dict.ConfigDict:
    """Returns the run's configuration."""
    config = digits.get_config()
    config.name = "digits_locally_masked"
    config.model = config_dict.ConfigDict(
        {
            "name": "LocallyMaskedPixelCNN",
            "ordering": "snakes",
            "order_annealing": config_dict.placeholder(tuple),
            "filters": 32,
            "num_resnets": 1,
            "num_stages": 2,
            "dropout": 0.2,
        },
        type_safe=False,
    )
    config.train.batch_size = 32
    return config
