"""Subscale Pixel Network on dynamically binarized MNIST, unconditional: four slices of 14x14.

Paper:     Menick, Kalchbrenner, Generating High Fidelity Images with Subscale Pixel Networks and Multidimensional
           Upscaling, 2018, for the model.
Data:      tensorflow-datasets must have prepared "mnist" (TFDS_DATA_DIR or --config.data.data_dir).
Command:   python -m pipelines.train --config=pipelines/configs/mnist_binary_subscale.py
Time:      not measured; stop with Ctrl-C and start again at will.
Expected:  not measured.
"""

from ml_collections import config_dict

from pipelines.configs import mnist_binary_gated


def get_config() -> config_dict.ConfigDict:
    """Returns the run's configuration."""
    config = mnist_binary_gated.get_config()
    config.name = "mnist_binary_subscale"
    config.model = config_dict.ConfigDict(
        {
            "name": "SubscalePixelNetwork",
            "scaling_factor": 2,
            "filters": 32,
            "num_blocks": 4,
            "num_layers": 2,
            "width": 64,
            "embedder_filters": 32,
            "embedder_blocks": 3,
        },
        type_safe=False,
    )
    return config
