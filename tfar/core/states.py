"""The state of a network before the first position: names, shapes, types, zeros."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from tfar.core.evaluation import evaluating
from tfar.core.request import call_network
from tfar.core.scope import NO_STATE, Incremental, State

# Results of `state_spec`: they depend on the constructors of a network's layers, which do not change.
_known_specs: weakref.WeakKeyDictionary[Any, dict[str, dict[str, tf.TensorSpec]]] = weakref.WeakKeyDictionary()

_BATCH = 7  # of the examples by which a state is found; few sizes are 7


def state_spec(
    network: keras.layers.Layer, inputs: Mapping[str, tuple[int | None, ...]], context: Any = None
) -> dict[str, tf.TensorSpec]:
    """Shapes and types of a network's state; the batch dimension of an entry, wherever it stands, is None.

    Args:
        network: the network.
        inputs: input shape without the batch of every phase that the network has, in the order of the phases:
            {"step": (1, F)}, or {"row": (1, W, F), "pixel": (1, 1, F)}.
        context: the network's arguments besides its input, see `tfar.core.request.call_network`.
    """

    def create(inputs: dict[str, tf.Tensor], context: Any) -> State:
        state: State | None = None
        called = False
        for phase, x in inputs.items():
            at = (0, 0) if phase == "pixel" else 0
            scope = Incremental(state, at, phase=phase, now=x if phase == "pixel" else None)
            scope.creating = True
            with scope:
                call_network(network, x, context)
            state, called = scope.state, called or scope.called
        if not state and not called:
            raise RuntimeError(NO_STATE)
        return state or {}

    shapes = {phase: tf.TensorSpec([None, *shape], tf.float32) for phase, shape in inputs.items()}
    context = tf.nest.map_structure(_without_batch, context)
    # Every sampler and every test of a network asks for this, and to find it the network runs in all phases.
    known = _known_specs.setdefault(network, {})
    name = repr((shapes, context))
    if name in known:
        return dict(known[name])
    specs = [item for item in tf.nest.flatten((shapes, context)) if item is not None]
    if any(None in item.shape[1:] for item in specs):
        traced = tf.function(create, autograph=False).get_concrete_function(shapes, context).structured_outputs
        found = {key: tf.TensorSpec(value.shape, value.dtype) for key, value in traced.items()}
    else:

        def run(batch: int) -> State:
            # To trace it takes several times as long. Nothing around it, a graph or a compiler, matters here.
            with tf.init_scope(), evaluating(target=None, invariants=None, activations=None):
                return create(*tf.nest.map_structure(functools.partial(_zeros, batch), (shapes, context)))

        state = run(_BATCH)
        # The one size that is the batch's; where another is the same, that which changes with it.
        others = state if all(list(x.shape).count(_BATCH) == 1 for x in state.values()) else run(_BATCH + 1)
        found = {key: _spec(state[key], others[key]) for key in state}
    for key, spec in found.items():
        if spec.shape.rank is None or list(spec.shape).count(None) > 1:
            raise ValueError(f"state entry {key!r} must have a static shape but for the batch, got {spec.shape}")
    known[name] = found
    return dict(found)


def _zeros(batch: int, spec: tf.TensorSpec | None) -> tf.Tensor | None:
    if spec is None:
        return None
    return tf.zeros([batch, *spec.shape[1:]] if spec.shape.rank else [], spec.dtype)


def _spec(a: tf.Tensor, b: tf.Tensor) -> tf.TensorSpec:
    sizes = zip(a.shape, b.shape, strict=True)
    shape = [None if (size == _BATCH if a is b else size != other) else size for size, other in sizes]
    return tf.TensorSpec(shape, a.dtype)


def _without_batch(x: Any) -> Any:
    if x is None:
        return None
    return tf.TensorSpec([None, *x.shape[1:]] if x.shape.rank else [], x.dtype)


def initial_state(
    network: keras.layers.Layer,
    batch: int | tf.Tensor,
    inputs: Mapping[str, tuple[int | None, ...]],
    context: Any = None,
) -> State:
    """Returns the state before the first position: zeros.

    Args:
        network: the network.
        batch: number of examples, an int or a scalar tensor.
        inputs: input shapes by phase, see `state_spec`.
        context: see `state_spec`.
    """
    return {
        key: tf.zeros([batch if size is None else size for size in item.shape], item.dtype)
        for key, item in state_spec(network, inputs, context).items()
    }
