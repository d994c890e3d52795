"""Gated PixelCNN on dynamically binarized Fashion-MNIST, unconditional: the run of mnist_binary_gated.py on other data.

Paper:     van den Oord et al., Conditional Image Generation with PixelCNN Decoders, NIPS 2016, for the model.
Data:      Debian's package dataset-fashion-mnist; or --config.data.name=idx:FOLDER, or fashion_mnist of TFDS.
Command:   python -m pipelines.train --config=pipelines/configs/fashion_mnist_binary_gated.py
Time:      up to an hour on 2 cores; stop with Ctrl-C and start again at will.
Expected:  not measured yet.
"""

from ml_collections import config_dict

from pipelines.configs import mnist_binary_gated


def get_config() -> config_dict.ConfigDict:
    """Returns the run's configuration."""
    config = mnist_binary_gated.get_config()
    config.name = "fashion_mnist_binary_gated"
    config.data.name = "idx:/usr/share/dataset-fashion-mnist"
    return config
