"""Computes activations again in the backward pass instead of storing them, which saves memory."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfar.core import scope as scopes
from tfar.layers.weight_norm import is_initializing


def recomputed(layer: keras.layers.Layer, *inputs: tf.Tensor | None, training: bool | None = None) -> tf.Tensor:
    """Calls `layer(*inputs)` and stores only the inputs for the gradient; the backward pass calls the layer again.

    A network of L blocks of which each is recomputed keeps L inputs and the activations of one block, for one more
    forward pass in a training step. Outputs and gradients are the same, dropout included: both calls read the same
    seeds (`keras.RematScope` draws new ones, and its gradient belongs to another mask than its output).

    Inside of an incremental scope, where there is no gradient, during data-dependent initialization and while weights
    are created this is a plain call.

    Args:
        layer: of floating point tensors; it keeps no state in a parallel pass but the seeds of its dropout.
        *inputs: its positional arguments, tensors or None. Tensors that a layer reads in other ways get no gradient.
        training: the mode; the backward pass happens outside of the call that would hand it on.

    Example:
        >>> layer = keras.layers.Dense(2)
        >>> x = tf.ones([1, 3])
        >>> _ = layer(x)
        >>> with tf.GradientTape() as tape:
        ...     y = recomputed(layer, x)
        >>> [gradient.shape[0] for gradient in tape.gradient(y, [v.value for v in layer.weights])]
        [3, 2]

    References:
        Chen, Xu, Zhang, Guestrin, Training Deep Nets with Sublinear Memory Cost, 2016.
    """
    training = bool(training)
    if not layer.built or scopes.current() is not None or is_initializing():
        return layer(*inputs, training=training)
    weights = {id(weight) for weight in layer.weights}
    # Without dropout the seeds stay as they are, and nothing is to be written: an exported function has no variables.
    seeds = [variable for variable in layer.variables if training and id(variable) not in weights]
    before = [tf.identity(seed.value) for seed in seeds]  # as they are now: the seeds move on below
    after: list[Any] = []

    def call(*tensors: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        given = iter(tensors)
        with keras.StatelessScope(state_mapping=list(zip(seeds, before, strict=True)), collect_losses=True) as scope:
            outputs = layer(*(None if x is None else next(given) for x in inputs), training=training)
        if not after:
            after.extend(scope.get_current_value(seed) for seed in seeds)
        return outputs, list(scope.losses)

    outputs, losses = tf.recompute_grad(call)(*(x for x in inputs if x is not None))
    for seed, value in zip(seeds, after, strict=True):
        seed.assign(value)
    if losses:
        layer.add_loss(losses)
    return outputs
