"""Runs functions op by op instead of compiled: tracing does not pay for a function that runs once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import tensorflow as tf


@contextlib.contextmanager
def eagerly() -> Iterator[None]:
    """Functions of TensorFlow, and those of models, run op by op inside of this context.

    Example:
        >>> import tfar
        >>> model = tfar.models.MADE((3,), tfar.heads.Bernoulli(), hidden=(4,))
        >>> with eagerly():
        ...     tuple(model.log_prob([[0, 1, 1]]).shape)
        (1,)
    """
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)
