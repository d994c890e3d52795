"""Models of about a million parameters each on small colour images, compared.

Papers:    van den Oord et al., 2016 (Gated PixelCNN); Salimans et al., 2017 (PixelCNN++); Chen et al., 2018
           (PixelSNAIL); Reed et al., 2017 (Multiscale PixelCNN); Kolesnikov, Lampert, 2017 (Grayscale PixelCNN,
           Pyramid PixelCNN); Menick, Kalchbrenner, 2018 (Subscale Pixel Network).
Data:      npz:FILE with x_train and x_test of 32x32x3 bytes, or a prepared TFDS set ("cifar10").
Command:   python -m pipelines.train --config=pipelines/configs/cifar10_small.py:pixel_cnn_pp
               --config.data.name=npz:cifar10_subset.npz --workdir=runs/cifar10_small_pixel_cnn_pp
           and likewise with :gated_pixel_cnn, :pixel_snail, :multiscale_pixel_cnn, :grayscale_pixel_cnn,
           :pyramid_pixel_cnn and :subscale_pixel_network
Time:      about 20 minutes each on 2 cores.
Expected:  see docs/results.md, Likelihoods. All have the same head, a mixture of 5 logistics.
"""

from ml_collections import config_dict

from pipelines.configs import defaults

MODELS = {
    "gated_pixel_cnn": {"name": "GatedPixelCNN", "filters": 64, "num_blocks": 11},
    "pixel_cnn_pp": {"name": "PixelCNNPP", "filters": 32, "num_resnets": 2, "dropout": 0.0},
    "pixel_snail": {"name": "PixelSNAIL", "filters": 80, "num_blocks": 4, "num_resnets": 2, "dropout": 0.0},
    "multiscale_pixel_cnn": {
        "name": "MultiscalePixelCNN",
        "num_doublings": 2,
        "filters": 48,
        "num_blocks": 5,
        "upscaler_filters": 40,
        "upscaler_blocks": 4,
    },
    "grayscale_pixel_cnn": {
        "name": "GrayscalePixelCNN",
        "filters": 40,
        "num_resnets": 3,
        "gray_filters": 32,
        "gray_resnets": 2,
    },
    "pyramid_pixel_cnn": {
        "name": "PyramidPixelCNN",
        "num_doublings": 2,
        "filters": 28,
        "num_resnets": 2,
        "unet_resnets": 1,
        "top_resnets": 3,
    },
    # 16 slices of 8 x 8.
    "subscale_pixel_network": {
        "name": "SubscalePixelNetwork",
        "scaling_factor": 4,
        "filters": 72,
        "num_blocks": 4,
        "num_layers": 3,
        "width": 96,
        "embedder_filters": 72,
        "embedder_blocks": 3,
    },
}


def get_config(model: str = "pixel_cnn_pp") -> config_dict.ConfigDict:
    """Returns the run's configuration.

    Args:
        model: a key of `MODELS`.
    """
    if model not in MODELS:
        raise ValueError(f"the configuration's argument must be one of {', '.join(MODELS)}; got {model!r}")
    config = defaults.get_config()
    config.name = f"cifar10_small_{model}"
    config.data.name = "cifar10"
    config.model.update(MODELS[model])
    config.head.update({"name": "DiscretizedLogisticMixture", "num_mixtures": 5})
    config.train.steps = 600
    config.train.batch_size = 16
    config.train.learning_rate = 2e-3
    config.train.schedule.update({"name": "cosine", "warmup_steps": 50})
    config.train.ema_decay = 0.99
    config.train.eval_every = 600
    config.train.checkpoint_every = 100
    config.train.eval_batch_size = 32
    config.report.num_samples = 16
    return config
