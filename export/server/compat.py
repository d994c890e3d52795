"""Wraps each private name of TensorFlow that the development server uses in one function.

A new version may change any of these; tests/export/server/test_compat.py then fails and names it. They stand here
and not in tfar/core/compat.py because the server runs any SavedModel and does not import the library.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.client import pywrap_tf_session
from tensorflow.python.framework import c_api_util


def extend_session(session: tf.compat.v1.Session) -> None:
    """Hands the operations that were added to the graph to the session; `Session.run` does so by itself."""
    session._extend_graph()


def tensor_handle(graph: tf.Graph, operation: str, index: int) -> Any:
    """Handle of an output of an operation for `run_session`, whether or not there are so many outputs.

    Raises:
        KeyError: the graph has no such operation.
        ValueError: this is no name.
    """
    return c_api_util.tf_output(graph.get_operation_by_name(operation)._c_op, index)


def has_operation(graph: tf.Graph, name: str) -> bool:
    """Returns whether a graph has an operation of this name."""
    try:
        graph.get_operation_by_name(name)
    except (KeyError, ValueError):
        return False
    return True


def operation_handle(operation: tf.Operation) -> Any:
    """Handle of an operation for the targets of `run_session`."""
    return operation._c_op


def run_session(
    session: tf.compat.v1.Session,
    feeds: Mapping[Any, np.ndarray],
    fetches: Sequence[Any],
    timeout_ms: int = 0,
    targets: Sequence[Any] = (),
    own_threads: bool = True,
) -> list[np.ndarray]:
    """One `Session::Run` without what `tf.compat.v1.Session.run` adds: no cast of feeds, no check of their shapes.

    Args:
        session: its graph was handed over by `extend_session`.
        feeds: values by `tensor_handle`.
        fetches: values of `tensor_handle`.
        timeout_ms: milliseconds after which a loop is stopped; 0 for never.
        targets: values of `operation_handle` of operations that run as well.
        own_threads: whether operations run in the threads of the session, or else in the caller's.
    """
    targets = list(targets)
    if not timeout_ms and own_threads:
        return session._call_tf_sessionrun(None, feeds, fetches, targets, None)
    data = tf.compat.v1.RunOptions(
        timeout_in_ms=timeout_ms, inter_op_thread_pool=0 if own_threads else -1
    ).SerializeToString()
    options = pywrap_tf_session.TF_NewBufferFromString(data)
    try:
        return session._call_tf_sessionrun(options, feeds, fetches, targets, None)
    finally:
        pywrap_tf_session.TF_DeleteBuffer(options)


def disable_xla() -> bool:
    """Makes functions with `jit_compile=True` fail with INTERNAL "XLA compilation disabled", in this whole process.

    Returns:
        Whether this build of TensorFlow has the switch.
    """
    for path in sorted(Path(tf.__file__).parent.glob("libtensorflow_cc*")):
        try:
            # void tensorflow::DisableXlaCompilation(), which the released server calls.
            switch = ctypes.CDLL(str(path))._ZN10tensorflow21DisableXlaCompilationEv
        except (OSError, AttributeError):
            continue
        switch.restype = None
        switch()
        return True
    return False
