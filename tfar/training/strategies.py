"""Where training runs: the tf.distribute strategy by name."""

from __future__ import annotations

import tensorflow as tf

NAMES = ("auto", "one", "mirrored")


def strategy(name: str = "auto") -> tf.distribute.Strategy:
    """Returns the strategy called `name`; build the model and the optimizer inside of its `scope()`.

    Args:
        name: "auto": all GPUs that are visible, or the CPU; "one": one device; "mirrored": every GPU, or where there is
            none every logical CPU, each with a copy of the weights.

    Raises:
        ValueError: an unknown name.

    Example:
        >>> strategy("one").num_replicas_in_sync
        1
    """
    if name not in NAMES:
        raise ValueError(f"strategy must be one of {NAMES}, got {name!r}")
    gpus = [device.name for device in tf.config.list_logical_devices("GPU")]
    devices = gpus or [device.name for device in tf.config.list_logical_devices("CPU")]
    if name == "mirrored" or (name == "auto" and len(gpus) > 1):
        return tf.distribute.MirroredStrategy(devices)
    return tf.distribute.OneDeviceStrategy(devices[0])
