"""Image Transformer with a mixture of logistics on CIFAR-10, unconditional.

Paper:     Parmar et al., Image Transformer, ICML 2018, table 4: 2.90 bits/dim with 12 layers and local 1-D attention;
           tensor2tensor's `imagetransformer_cifar10_base_dmol`: batches of 8 for each of 8 GPUs, Adam (0.9, 0.98,
           1e-9), warm-up over 4,000 steps, then a rate that falls as 1 / sqrt(step).
Data:      tensorflow-datasets must have prepared "cifar10" (TFDS_DATA_DIR or --config.data.data_dir).
Command:   python -m pipelines.train --config=pipelines/configs/cifar10_image_transformer.py
           --config.model.recompute=True trains with the memory of the blocks' inputs, for one more forward pass.
Time:      days on a GPU (not trained here to the end); stop with Ctrl-C and start again at will.
Expected:  not yet measured; the paper reports 2.90 bits/dim.

Differences: the rate falls along a cosine, and gradients are clipped to a norm of 1.
"""

from ml_collections import config_dict

from pipelines.configs import defaults


def get_config() -> config_dict.ConfigDict:
    """Returns the run's configuration."""
    config = defaults.get_config()
    config.name = "cifar10_image_transformer"
    config.data.name = "cifar10"
    config.model.update({"name": "ImageTransformer", "preset": "image_transformer_cifar10_dmol", "recompute": False})
    config.head = config_dict.ConfigDict({"name": "DiscretizedLogisticMixture", "num_mixtures": 10})
    config.train.steps = 200000
    config.train.batch_size = 64
    config.train.optimizer.beta_2 = 0.98
    config.train.optimizer.epsilon = 1e-9
    config.train.learning_rate = 5e-4
    config.train.schedule.name = "cosine"
    config.train.schedule.warmup_steps = 4000
    config.train.log_every = 100
    config.train.eval_every = 2000
    config.train.checkpoint_every = 500
    config.train.eval_batch_size = 32
    config.report.num_samples = 64
    config.report.sample_batch_size = 16
    return config
