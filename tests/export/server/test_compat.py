"""A version of TensorFlow that changes what export/server/compat.py reads fails here."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from export.server import compat


@pytest.fixture(name="session")
def _session():
    graph = tf.Graph()
    with graph.as_default():
        x = tf.compat.v1.placeholder(tf.float32, [2], "x")
        tf.identity(x * 2, "y")
        tf.identity(tf.while_loop(lambda i: i >= 0.0, lambda i: i * 1.0, [x[0]])[0], "loop")
    with tf.compat.v1.Session(graph=graph) as session:
        compat.extend_session(session)
        yield session


def handles(session, *names):
    return [compat.tensor_handle(session.graph, name, 0) for name in names]


def test_run_compares_no_shapes_and_casts_nothing(session):
    x, y = handles(session, "x", "y")
    # Three values where the placeholder says two: Session.run would refuse them.
    (found,) = compat.run_session(session, {x: np.ones([3], np.float32)}, [y])
    np.testing.assert_array_equal(found, [2, 2, 2])
    with pytest.raises(tf.errors.InvalidArgumentError):
        compat.run_session(session, {x: np.ones([2], np.float64)}, [y])


def test_extend(session):
    with session.graph.as_default():
        tf.constant(3, name="new")
    compat.extend_session(session)
    assert compat.run_session(session, {}, handles(session, "new")) == [3]


def test_handles_of_what_is_not_there(session):
    with pytest.raises(KeyError):
        handles(session, "other")
    x, beyond = handles(session, "x")[0], compat.tensor_handle(session.graph, "y", 7)
    with pytest.raises(tf.errors.OutOfRangeError):
        compat.run_session(session, {x: np.ones([2], np.float32)}, [beyond])


def test_timeout(session):
    x, loop = handles(session, "x", "loop")
    with pytest.raises(tf.errors.DeadlineExceededError):
        compat.run_session(session, {x: np.ones([2], np.float32)}, [loop], timeout_ms=200)


@pytest.mark.large
def test_disable_xla():
    """In a process of its own: there is no way back."""
    program = """
import tensorflow as tf
from export.server.compat import disable_xla
assert disable_xla()
try:
    tf.function(lambda x: x + 1, jit_compile=True)(tf.constant(1))
except tf.errors.OpError as error:
    print(error.message)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert "XLA compilation disabled" in done.stdout, done.stderr
