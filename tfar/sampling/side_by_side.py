"""Parts of a batch, drawn at the same time, one on each processor.

A step of a sampler is a chain of small operations: within it a second processor finds little to do, and handing over
costs more than it saves (docs/results.md, "What limits sampling"). Examples do not depend on each other, so a batch is
cut into equal parts and each runs its own loop on a thread of its own.
"""

from __future__ import annotations

import concurrent.futures
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfar.core import compat

# Products of matrices with fewer rows take as long as with so many: their time goes into reading the weights.
LEAST_ROWS = 4

# Below, a step takes as long with half of the rows: samplers of MADE took 1.7 times the processor time in two parts,
# those of CharRNN (2 x 128) 1.04 times.
LEAST_WEIGHTS = 100_000


def num_parts(network: keras.layers.Layer, batch_size: int) -> int:
    """Returns into how many parts a batch is cut: 1 where steps are small, in a graph, and on other devices.

    Args:
        network: what a step evaluates.
        batch_size: examples drawn together.

    Example:
        >>> num_parts(keras.layers.Dense(2), 100)
        1
    """
    if tf.config.functions_run_eagerly() or not tf.executing_eagerly():
        return 1
    if any(device.device_type != "CPU" for device in tf.config.list_logical_devices()):
        return 1
    if _weights_of_step(network) < LEAST_WEIGHTS:
        return 1
    return max(1, min(num_threads(), batch_size // LEAST_ROWS))


def _weights_of_step(network: keras.layers.Layer) -> int:
    """Returns how many weights every step reads: of layers with weights for each position it reads few."""
    layers = [layer for layer in compat.all_layers(network) if getattr(layer, "positions_share_weights", True)]
    return sum(math.prod(weight.shape) for layer in layers for weight in compat.own_weights(layer))


def num_threads() -> int:
    """Returns how many threads TensorFlow computes an operation with: as configured, or one for each processor."""
    configured = tf.config.threading.get_intra_op_parallelism_threads()
    return configured or int(os.environ.get("TF_NUM_INTRAOP_THREADS") or 0) or _num_processors()


def _num_processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_side_by_side(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Runs calls at the same time, each on its own thread; returns their results or raises the error of the first."""
    if len(calls) == 1:
        return [calls[0]()]
    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]
