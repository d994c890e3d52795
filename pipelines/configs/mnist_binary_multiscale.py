"""Multiscale PixelCNN on dynamically binarized MNIST, unconditional: a 7x7 base, doubled twice.

Paper:     Reed et al., Parallel Multiscale Autoregressive Density Estimation, ICML 2017, for the model.
Data:      tensorflow-datasets must have prepared "mnist" (TFDS_DATA_DIR or --config.data.data_dir).
Command:   python -m pipelines.train --config=pipelines/configs/mnist_binary_multiscale.py
Time:      up to an hour on 2 cores; stop with Ctrl-C and start again at will.
Expected:  not measured.
"""

from ml_collections import config_dict

from pipelines.configs import mnist_binary_gated


def get_config() -> config_dict.ConfigDict:
    """Returns the run's configuration."""
    config = mnist_binary_gated.get_config()
    config.name = "mnist_binary_multiscale"
    config.model = config_dict.ConfigDict(
        {
            "name": "MultiscalePixelCNN",
            "num_doublings": 2,
            "filters": 32,
            "num_blocks": 4,
            "upscaler_filters": 32,
            "upscaler_blocks": 4,
        },
        type_safe=False,
    )
    return config
