"""Checks the settings of a run before TensorFlow and the data are loaded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

_NONE = ("none", "")
# Integers of config.train and the least that each may be.
_AT_LEAST = {
    "steps": 1,
    "batch_size": 1,
    "seed": 0,
    "log_every": 1,
    "eval_every": 1,
    "checkpoint_every": 1,
    "patience": 0,
    "eval_batch_size": 1,
    "eval_rows": 1,
}
_CHOICES = {
    "on_damaged": ("previous", "stop"),
    "strategy": ("auto", "one", "mirrored"),
    "optimizer.name": ("adam", "adamw", "adagrad", "rmsprop"),
    "schedule.name": ("constant", "cosine", "exponential", "step"),
}


def read(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings, with None for a condition that is called "none", in which case the run has none.

    Raises:
        ValueError: a setting is out of range; it is named as its flag is.
    """
    config = dict(config)
    if isinstance(config["condition"], str) and config["condition"].lower() in _NONE:
        config["condition"] = None
    for key in ("name", "data.name"):
        if not _at(config, key):
            raise ValueError(f"config.{key} must be given, got {_at(config, key)!r}")
    train = config["train"]
    for key, least in _AT_LEAST.items():
        value = train[key]
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"config.train.{key} must be an integer of at least {least}, got {value!r}")
    for key, choices in _CHOICES.items():
        value = _at(train, key)
        if value not in choices:
            raise ValueError(f"config.train.{key} must be one of {', '.join(choices)}, got {value!r}")
    rate = train["learning_rate"]
    if not (rate > 0 and math.isfinite(rate)):
        raise ValueError(f"config.train.learning_rate must be a positive number, got {rate!r}")
    if not 0 <= train["ema_decay"] < 1:
        raise ValueError(f"config.train.ema_decay must lie in 0 to 1, 1 excluded, got {train['ema_decay']!r}")
    return config


def _at(config: Mapping[str, Any], key: str) -> Any:
    """Returns the value at "optimizer.name" and the like."""
    value: Any = config
    for part in key.split("."):
        value = value[part]
    return value
