"""Gated PixelCNN on dynamically binarized MNIST, unconditional.

Paper:     van den Oord et al., Conditional Image Generation with PixelCNN Decoders, NIPS 2016, for the model. For MNIST
           with a fixed binarization 81.3 nats are published for PixelCNN, 79.2 for the Diagonal BiLSTM.
Data:      tensorflow-datasets must have prepared "mnist" (TFDS_DATA_DIR or --config.data.data_dir).
Command:   python -m pipelines.train --config=pipelines/configs/mnist_binary_gated.py
Time:      up to an hour on 2 cores; stop with Ctrl-C and start again at will.
Expected:  see docs/results.md, Likelihoods.
"""

from ml_collections import config_dict

from pipelines.configs import defaults


def get_config() -> config_dict.ConfigDict:
    """Returns the run's configuration."""
    config = defaults.get_config()
    config.name = "mnist_binary_gated"
    config.data.name = "mnist"
    config.data.transforms = ("dynamic_binarize",)
    config.model.update(
        {"name": "GatedPixelCNN", "filters": 32, "num_blocks": 6, "kernel_size": 3, "first_kernel_size": 7}
    )
    config.head.name = "Bernoulli"
    config.train.steps = 6000
    config.train.batch_size = 32
    config.train.learning_rate = 2e-3
    config.train.schedule.name = "cosine"
    config.train.schedule.warmup_steps = 100
    config.train.ema_decay = 0.999
    config.train.log_every = 50
    config.train.eval_every = 1000
    config.train.checkpoint_every = 250
    config.train.eval_batch_size = 100
    config.report.num_samples = 64
    config.report.sample_batch_size = 16
    return config
