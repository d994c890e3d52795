"""Masked attention over all orders on scikit-learn's 8x8 digits: one model that completes any mask exactly.

Paper:     Yu et al., Randomized Autoregressive Visual Generation, 2024, for random orders; here without annealing.
Command:   python -m pipelines.train --config=pipelines/configs/digits_masked_attention.py
           --config.model.ordering=raster trains raster order alone, --config.model.order_annealing="(500,1500)" lets
           random orders give way to it.
"""

from ml_collections import config_dict

from pipelines.configs import digits


def get_config() -> config_dict.ConfigDict:
    """Returns the run's configuration."""
    config = digits.get_config()
    config.name = "digits_masked_attention"
    config.model = config_dict.ConfigDict(
        {
            "name": "MaskedAttention",
            "ordering": "random",
            "order_annealing": config_dict.placeholder(tuple),
            "num_layers": 4,
            "width": 64,
            "num_heads": 4,
            "dropout": 0.1,
            "embedding_dim": 16,
        },
        type_safe=False,
    )
    config.train.steps = 2000
    config.train.batch_size = 32
    return config
