"""PixelCNN++ on CIFAR-10, the paper's architecture: 53,659,080 parameters.

Paper:     Salimans et al., PixelCNN++, 2017: 2.92 bits/dim after about 5 days on 8 GPUs.
Data:      tensorflow-datasets must have prepared "cifar10" (TFDS_DATA_DIR or --config.data.data_dir), or npz:FILE.
Command:   python -m pipelines.train --config=pipelines/configs/cifar10_pixel_cnn_pp.py
Time:      for GPUs; a step of 16 images takes about a minute on 2 cores.
Expected:  2.92 bits/dim on the test split, averaged weights (published; not reproduced here).
"""

from ml_collections import config_dict

from pipelines.configs import defaults


def get_config() -> config_dict.ConfigDict:
    """Returns the run's configuration."""
    config = defaults.get_config()
    config.name = "cifar10_pixel_cnn_pp"
    config.data.name = "cifar10"
    config.model.update({"name": "PixelCNNPP", "preset": "pixel_cnn_pp_cifar10"})
    config.head.update({"name": "DiscretizedLogisticMixture", "num_mixtures": 10})
    config.train.steps = 1_500_000
    config.train.batch_size = 128
    config.train.optimizer.update({"name": "adam", "beta_1": 0.95, "beta_2": 0.9995})
    config.train.learning_rate = 1e-3
    config.train.schedule.update({"name": "exponential", "decay": 0.999995})
    config.train.clip_norm = 0.0
    config.train.ema_decay = 0.9995
    config.train.log_every = 100
    config.train.eval_every = 5000
    config.train.checkpoint_every = 1000
    config.train.eval_batch_size = 100
    return config
