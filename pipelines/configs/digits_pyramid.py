"""Pyramid PixelCNN on scikit-learn's 8x8 digits, conditioned on the label: averages of 4x4, then the image.

Paper:     Kolesnikov, Lampert, PixelCNN Models with Auxiliary Variables, ICML 2017, section 3.2, for the model.
Command:   python -m pipelines.train --config=pipelines/configs/digits_pyramid.py
Time:      about 5 minutes on 2 cores.
Expected:  see docs/results.md, Likelihoods. The score is a lower bound of the likelihood, in two parts.
"""

from ml_collections import config_dict

from pipelines.configs import digits


def get_config() -> config_dict.ConfigDict:
    """Returns the run's configuration."""
    config = digits.get_config()
    config.name = "digits_pyramid"
    config.model = config_dict.ConfigDict(
        {
            "name": "PyramidPixelCNN",
            "num_doublings": 1,
            "filters": 24,
            "num_resnets": 2,
            "unet_stages": 2,
            "unet_resnets": 1,
            "dropout": 0.3,
        },
        type_safe=False,
    )
    return config
