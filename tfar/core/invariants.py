"""Computes values that depend on weights alone once, in front of a sampling loop, instead of in every step.

    with invariants():                    # in front of the loop, where the loop's graph is built
        tf.while_loop(..., body)          # layers call invariant(...) inside of the body

A masked, normalized or rearranged kernel does not depend on the step. XLA moves some of this out of a loop by itself,
a plain graph nothing. Inside of `invariants`, `invariant` builds the value in the graph around the loop, and the body
captures it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import tensorflow as tf

from tfar.core.evaluation import evaluating, evaluation


@contextlib.contextmanager
def invariants() -> Iterator[None]:
    """Lets loops that are built inside of the block capture invariant values from the graph around the block."""
    graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
    with evaluating(invariants=(graph, {})):
        yield


def invariant(owner: Any, name: Hashable, compute: Callable[[], tf.Tensor]) -> tf.Tensor:
    """Returns `compute()`, or its earlier result inside of the same `invariants`.

    Args:
        owner: the layer.
        name: tells values of one owner apart, with all that they depend on (such as the type).
        compute: of weights and constants alone.

    Example:
        >>> with invariants():
        ...     a, b = (invariant(None, "a", lambda: tf.zeros([2])) for _ in range(2))
        >>> a is b
        True
    """
    store = evaluation().invariants
    if store is None:
        return compute()
    graph, values = store
    key = (id(owner), name)
    if key not in values:
        context = tf.init_scope() if graph is None else graph.as_default()
        with context, tf.control_dependencies(None):
            values[key] = compute()
    return values[key]
