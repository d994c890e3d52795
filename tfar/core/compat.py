"""Wraps each private name of Keras and TensorFlow that the project uses in one function.

A new version may change any of these; tests/core/test_compat.py then fails and names it. Nothing else of this
repository reads a private name of theirs (tests/test_layering.py), but for the development server, which does not
import the library: export/server/compat.py.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from tensorflow.compiler.tf2xla.ops import gen_xla_ops
from tensorflow.core.framework import function_pb2
from tensorflow.python.eager import context


def entry_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
    """Returns the outermost layer of the running call that contains `layer`; `layer` itself outside of a call."""
    return layer._get_call_context().entry_layer or layer


def all_layers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """`layer` and every layer inside of it, each once; `Model.layers` has the direct ones alone, a layer none."""
    return layer._flatten_layers()


def own_weights(layer: keras.layers.Layer) -> list[keras.Variable]:
    """Returns the weights of `layer` without those of the layers inside of it, trainable ones first."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def learning_rate(optimizer: keras.optimizers.Optimizer, step: int) -> float:
    """Returns the learning rate of a step; `Optimizer.learning_rate` has that of the next one alone."""
    rate = optimizer._learning_rate  # a schedule or a variable
    return float(rate(step) if callable(rate) else np.asarray(rate))


def dynamic_update_slice(x: tf.Tensor, update: tf.Tensor, begin: tf.Tensor) -> tf.Tensor:
    """`x` with the block `update` at `begin` [rank]: XLA's DynamicUpdateSlice, which only compiled functions run."""
    return tf.ensure_shape(gen_xla_ops.xla_dynamic_update_slice(x, update, begin), x.shape)


def add_function(definition: function_pb2.FunctionDef) -> None:
    """Makes a function known to this process, so that operations may call it by its name."""
    context.context().add_function_def(definition)


def call_function(name: str, inputs: list[tf.Tensor], num_outputs: int) -> list[tf.Tensor]:
    """Runs a known function on tensors, op by op around it; its definition says whether XLA compiles it."""
    return context.context().call_function(name.encode(), inputs, num_outputs)
