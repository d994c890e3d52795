"""The defaults of every run configuration; each file of this folder changes what its run needs.

`config.model` and `config.head` hold a class's name, of the library or `package.module:Class`, and its arguments; those
that are not listed keep the class's defaults. Any value can be replaced on the command line:
`--config.train.steps=100`.
"""

from ml_collections import config_dict

# Further options of `load_arrays`, each for some kinds of data; unset they keep its defaults.
_DATA = {
    "valid_fraction": float,
    "test_fraction": float,
    "split_seed": int,
    "levels": int,
    "num_labels": int,
    "size": tuple,
    "mode": str,
    "unit": str,
    "window": int,
    "pattern": str,
    "sample_rate": int,
    "encoding": str,
    "hop": int,
}


def get_config() -> config_dict.ConfigDict:
    """Returns the defaults, without a model: not a run by itself."""
    config = config_dict.ConfigDict()
    config.name = config_dict.placeholder(str)  # names the default work directory, runs/<name>
    # Name and options of `tfar.data.load_arrays`; transforms as in `tfar.data.transforms`.
    config.data = config_dict.ConfigDict(
        {"name": config_dict.placeholder(str), "data_dir": config_dict.placeholder(str), "transforms": ()}
    )
    config.data.update({key: config_dict.placeholder(kind) for key, kind in _DATA.items()})
    config.condition = config_dict.placeholder(str)  # the array of the data to condition on, such as "label", or "none"
    config.model = config_dict.ConfigDict(
        {"name": config_dict.placeholder(str), "preset": config_dict.placeholder(str)}, type_safe=False
    )
    config.head = config_dict.ConfigDict({"name": config_dict.placeholder(str)})
    config.train = config_dict.ConfigDict(
        {
            "steps": 1000,
            "batch_size": 64,  # over all replicas
            "seed": 0,  # of initial weights, order of the data, dropout
            # "adam", "adamw", "adagrad" or "rmsprop", with further arguments of the Keras class
            "optimizer": {"name": "adam"},
            "learning_rate": 1e-3,
            # "constant", "cosine", "exponential" or "step", with the arguments of `tfar.training.schedule`
            "schedule": {"name": "constant", "warmup_steps": 0},
            "clip_norm": 1.0,  # of the global norm; 0: no clipping
            "clip_value": 0.0,  # of every element of the gradient; 0: no clipping
            "ema_decay": 0.999,  # of the averaged weights
            "log_every": 20,
            "eval_every": 200,
            "checkpoint_every": 100,
            # Where the newest checkpoint is damaged: "previous" goes on from the one before it, "stop" ends the run.
            "on_damaged": "previous",
            "patience": 0,  # evaluations without a better score until an early stop; 0: never
            "eval_batch_size": 180,
            # Stretches that a validation text is cut into during training, to be scored together; each begins without
            # context. The score at the end is exact.
            "eval_rows": 1,
            # Sequences: a batch goes on where the last one ended, with the state that was left there.
            "carry_state": False,
            # Name of the only part of a chain to train, given the true values of those before it.
            "part": config_dict.placeholder(str),
            # Work directories of runs with a `part` each, whose weights a new run begins with.
            "parts_from": (),
            # "mixed_bfloat16" computes the training in half precision, scores and model.keras stay in float32; faster
            # where the processor has instructions for it (two busy cores with AMX, LSTM: 0.71 s a step against 0.83 s).
            "precision": "float32",
            "strategy": "auto",  # "auto", "one" or "mirrored", see `tfar.training.strategy`
            # XLA compiles the step; for convolutions on two CPU cores it is slower (digits: 365 ms against 97 ms).
            "jit_compile": False,
        }
    )
    # Samples of the report, test images in it, and samples drawn together (as many are drawn at every evaluation).
    config.report = config_dict.ConfigDict({"num_samples": 100, "num_images": 10, "sample_batch_size": 20})
    return config
