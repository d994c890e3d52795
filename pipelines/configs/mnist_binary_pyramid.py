"""Pyramid PixelCNN on dynamically binarized MNIST, unconditional: averages of 7x7 and 14x14, then the image.

Paper:     Kolesnikov, Lampert, PixelCNN Models with Auxiliary Variables, ICML 2017, section 3.2, for the model.
Data:      tensorflow-datasets must have prepared "mnist" (TFDS_DATA_DIR or --config.data.data_dir).
Command:   python -m pipelines.train --config=pipelines/configs/mnist_binary_pyramid.py
Time:      up to an hour on 2 cores; stop with Ctrl-C and start again at will.
Expected:  see docs/results.md, Likelihoods. Averages of binary images have five levels.
"""

from ml_collections import config_dict

from pipelines.configs import mnist_binary_gated


def get_config() -> config_dict.ConfigDict:
    """Returns the run's configuration."""
    config = mnist_binary_gated.get_config()
    config.name = "mnist_binary_pyramid"
    config.model = config_dict.ConfigDict(
        {
            "name": "PyramidPixelCNN",
            "num_doublings": 2,
            "average_levels": 5,
            "filters": 24,
            "num_resnets": 2,
            "unet_stages": 2,
            "unet_resnets": 1,
            "top_resnets": 3,
        },
        type_safe=False,
    )
    return config
