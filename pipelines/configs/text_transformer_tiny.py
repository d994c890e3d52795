"""The smallest run of a transformer on text, for continuous integration: a few steps of `text_transformer`.

Command:   python -m pipelines.train --config=pipelines/configs/text_transformer_tiny.py --workdir=runs/text_tiny
Time:      under a minute on 2 cores.
Expected:  a score below that of equally probable characters; nothing more.
"""

from ml_collections import config_dict

from pipelines.configs import text_transformer


def get_config() -> config_dict.ConfigDict:
    """Returns the run's configuration."""
    config = text_transformer.get_config()
    config.name = "text_transformer_tiny"
    config.data.valid_fraction = 0.002
    config.data.window = 16
    config.model.update({"width": 16, "num_layers": 2, "num_heads": 2, "max_length": 16})
    config.train.steps = 20
    config.train.batch_size = 8
    config.train.log_every = 5
    config.train.eval_every = 10
    config.train.checkpoint_every = 10
    config.train.jit_compile = False
    return config
