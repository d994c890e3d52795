"""PixelRNN (Diagonal BiLSTM) on dynamically binarized MNIST, unconditional.

Paper:     van den Oord et al., Pixel Recurrent Neural Networks, ICML 2016, table 4 and section 5.2: 7 layers, h = 16,
           RMSProp, batches of 16; 79.20 nats with a fixed binarization, which is not comparable with a dynamic one.
Data:      tensorflow-datasets must have prepared "mnist" (TFDS_DATA_DIR or --config.data.data_dir).
Command:   python -m pipelines.train --config=pipelines/configs/mnist_pixel_rnn.py
Time:      hours on 2 cores (not yet trained to the end); stop with Ctrl-C and start again at will.
Expected:  not yet measured; the paper reports 79.20 nats with the fixed binarization.
"""

from ml_collections import config_dict

from pipelines.configs import defaults


def get_config() -> config_dict.ConfigDict:
    """Returns the run's configuration."""
    config = defaults.get_config()
    config.name = "mnist_pixel_rnn"
    config.data.name = "mnist"
    config.data.transforms = ("dynamic_binarize",)
    config.model.update({"name": "PixelRNN", "preset": "pixel_rnn_mnist"})
    config.head.name = "Bernoulli"
    config.train.steps = 10000
    config.train.batch_size = 16
    config.train.optimizer.name = "rmsprop"
    config.train.learning_rate = 1e-3
    config.train.schedule.name = "cosine"
    config.train.schedule.warmup_steps = 100
    config.train.log_every = 50
    config.train.eval_every = 1000
    config.train.checkpoint_every = 250
    config.train.eval_batch_size = 100
    config.report.num_samples = 64
    config.report.sample_batch_size = 16
    return config
