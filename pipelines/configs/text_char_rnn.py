"""CharRNN on a text: two LSTM layers of 256 units, truncated back-propagation with carried state.

Source:    Karpathy, The Unreasonable Effectiveness of Recurrent Neural Networks, 2015 (there 2 x 128 units and RMSprop:
           the preset char_rnn_karpathy).
Data:      the source files of Python's standard library; a file of your own with --config.data.name=text:FILE.
Command:   python -m pipelines.train --config=pipelines/configs/text_char_rnn.py
               --config.data.name=text:tinyshakespeare.txt --workdir=runs/text_char_rnn
Time:      about 20 minutes on 2 cores; less with --config.train.precision=mixed_bfloat16 on processors that have AMX.
Expected:  tinyshakespeare, last 10%: at most 1.60 nats/char (a 4-gram model scores 1.669).
"""

from ml_collections import config_dict

from pipelines.configs import defaults


def get_config() -> config_dict.ConfigDict:
    """Returns the run's configuration."""
    config = defaults.get_config()
    config.name = "text_char_rnn"
    config.data.name = "text"
    config.data.unit = "char"  # or "byte"
    config.data.window = 64
    config.model.update({"name": "CharRNN", "units": 256, "num_layers": 2, "dropout": 0.2})
    config.head.name = "Categorical"  # its levels, the size of the vocabulary, follow from the text
    config.train.steps = 2500
    config.train.batch_size = 64
    config.train.carry_state = True
    config.train.learning_rate = 3e-3
    config.train.schedule.name = "cosine"
    config.train.schedule.warmup_steps = 100
    config.train.clip_norm = 1.0
    config.train.ema_decay = 0.99
    config.train.log_every = 50
    config.train.eval_every = 500
    config.train.checkpoint_every = 250
    config.train.eval_rows = 64
    return config
