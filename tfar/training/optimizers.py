"""Optimizers by name."""

from __future__ import annotations

from typing import Any

import keras

_OPTIMIZERS = {
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "adagrad": keras.optimizers.Adagrad,
    "rmsprop": keras.optimizers.RMSprop,
}


def optimizer(name: str, learning_rate: Any, **arguments: Any) -> keras.optimizers.Optimizer:
    """Returns the Keras optimizer called `name`.

    Args:
        name: "adam", "adamw" (weight decay spares biases), "adagrad" or "rmsprop".
        learning_rate: a number or a schedule.
        **arguments: further arguments of the Keras class, e.g. `weight_decay`, `beta_2`, `epsilon`.

    Raises:
        ValueError: an unknown name or argument.

    Example:
        >>> optimizer("adam", 1e-3, beta_2=0.99).beta_2
        0.99
    """
    if name not in _OPTIMIZERS:
        raise ValueError(f"optimizer must be one of {sorted(_OPTIMIZERS)}, got {name!r}")
    try:
        result = _OPTIMIZERS[name](learning_rate, **arguments)
    except (TypeError, ValueError) as error:
        raise ValueError(f"optimizer {name!r} does not take {arguments}: {error}") from error
    if result.weight_decay:
        result.exclude_from_weight_decay(var_names=["bias"])
    return result
