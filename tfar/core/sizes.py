"""Sizes of tensors, as numbers where the graph knows them."""

from __future__ import annotations

import tensorflow as tf


def batch_size(x: tf.Tensor) -> int | tf.Tensor:
    """Examples of a tensor [B, ...]: an int where its shape says so, so that shapes that follow from it are constants.

    Example:
        >>> batch_size(tf.zeros([3, 4]))
        3
    """
    size = x.shape[0]
    return tf.shape(x)[0] if size is None else size


def batch_axis(spec: tf.TensorSpec) -> int | None:
    """Where the examples of the batch stand in an entry of the state; None where it holds none."""
    return spec.shape.as_list().index(None) if None in spec.shape else None
