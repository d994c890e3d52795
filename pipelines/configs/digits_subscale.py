"""Subscale Pixel Network on scikit-learn's 8x8 digits, conditioned on the label: four slices of 4x4.

Paper:     Menick, Kalchbrenner, Generating High Fidelity Images with Subscale Pixel Networks and Multidimensional
           Upscaling, 2018, for the model.
Command:   python -m pipelines.train --config=pipelines/configs/digits_subscale.py
Time:      not measured.
Expected:  not measured.
"""

from ml_collections import config_dict

from pipelines.configs import digits


def get_config() -> config_dict.ConfigDict:
    """Returns the run's configuration."""
    config = digits.get_config()
    config.name = "digits_subscale"
    config.model = config_dict.ConfigDict(
        {
            "name": "SubscalePixelNetwork",
            "scaling_factor": 2,
            "filters": 32,
            "num_blocks": 2,
            "first_kernel_size": 3,
            "num_layers": 2,
            "width": 32,
            "embedder_filters": 32,
            "embedder_blocks": 2,
            "dropout": 0.3,
        },
        type_safe=False,
    )
    return config
