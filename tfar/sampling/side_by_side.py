"""Parts of a batch, drawn at the same time, one on each processor.

A step of a sampler is a chain of small operations: within it a second processor finds little to do, and handing over
costs more than it saves (docs/results.md, "What limits sampling"). Examples do not depend on each other, so a batch is
cut into equal parts and each runs its own loop on a thread of its own.
"""

from __future__ import annotations

import concurrent.futures
import os
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

# Products of matrices with fewer rows take as long as with so many: their time goes into reading the weights.
LEAST_ROWS = 4


def num_parts(batch_size: int) -> int:
    """Number of parts into which a batch is cut: 1 where something else than processors draws it, or in a graph.

    Args:
        batch_size: examples drawn together.

    Example:
        >>> num_parts(LEAST_ROWS)
        1
    """
    if tf.config.functions_run_eagerly() or not tf.executing_eagerly():
        return 1
    if any(device.device_type != "CPU" for device in tf.config.list_logical_devices()):
        return 1
    return max(1, min(num_threads(), batch_size // LEAST_ROWS))


def num_threads() -> int:
    """Threads with which TensorFlow computes an operation: as configured, or one for each processor of this process."""
    configured = tf.config.threading.get_intra_op_parallelism_threads()
    return configured or int(os.environ.get("TF_NUM_INTRAOP_THREADS") or 0) or _num_processors()


def _num_processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_side_by_side(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Results of calls that run at the same time, each on a thread of its own; the error of the first that failed."""
    if len(calls) == 1:
        return [calls[0]()]
    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]
