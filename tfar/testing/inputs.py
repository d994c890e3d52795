"""Random weights, events and conditions to test a model with."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfar.core.request import Request
from tfar.models.autoregressive import AutoregressiveModel
from tfar.models.chain import Chain
from tfar.models.density import Density
from tfar.sampling.inputs import cells_in_order


def randomize_weights(model: keras.layers.Layer, seed: int = 0, scale: float = 1.0) -> None:
    """Gives every trainable weight random values that are not zero, biases included.

    A fast path that forgets a bias agrees with the slow one as long as biases are zero, as they are when a model is
    new; so parity is tested with random weights. Kernels are drawn so that features keep their size from layer to
    layer: magnitude `scale * U(0.5, 1.5) / sqrt(fan_in)`, sign at random; biases are `scale * U(0.2, 0.8)`,
    positive so that few ReLUs are dead. Weights that are not trained (masks, counters) keep their values.

    Args:
        model: a model or a layer with weights.
        seed: the same seed gives the same weights.
        scale: factor of all magnitudes.

    Raises:
        ValueError: the model has no trainable weights; was it built?

    Example:
        >>> import tfar
        >>> model = tfar.models.from_preset("gated_pixel_cnn_tiny", event_shape=(3, 3, 1), head=tfar.heads.Bernoulli())
        >>> randomize_weights(model)
        >>> all((abs(weight.numpy()) > 0).all() for weight in model.trainable_weights)
        True
    """
    if not model.trainable_weights:
        raise ValueError(f"model must have trainable weights, {model.name!r} has none; call it once to build it")
    rng = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        shape = tuple(weight.shape)
        if len(shape) < 2:
            value = rng.uniform(0.2, 0.8, shape)
        else:
            # A table of embeddings is looked up, not summed over.
            fan_in = 1 if weight.name.startswith("embedding") else int(np.prod(shape[:-1]))
            value = rng.uniform(0.5, 1.5, shape) / np.sqrt(fan_in) * rng.choice([-1.0, 1.0], shape)
        weight.assign(scale * value)


def random_events(model: AutoregressiveModel, num: int, seed: int = 0, length: int = 8) -> np.ndarray:
    """Random data values in the support of the model's head: uniform over levels, or standard normal.

    Args:
        model: the model.
        num: number of events.
        seed: the same seed gives the same events.
        length: length of the events of a model of any length.

    Returns:
        [num, *event_shape], int32 or float32.
    """
    rng = np.random.default_rng(seed)
    shape = (num, *(length if size is None else size for size in model.event_shape))
    if model.head.levels is None:
        return rng.normal(size=shape).astype(np.float32)
    return rng.integers(0, model.head.levels, shape, np.int32)


def random_condition(model: AutoregressiveModel, num: int, seed: int = 0) -> tf.Tensor | None:
    """Random values of the model's condition: labels, or standard normal numbers; None where it has no condition.

    Args:
        model: the model.
        num: number of values.
        seed: the same seed gives the same values.

    Returns:
        [num, ...], or None.
    """
    condition = model.condition
    if condition is None:
        return None
    rng = np.random.default_rng(seed)
    if condition.num_labels is not None:
        return tf.constant(rng.permutation(np.arange(num) % condition.num_labels), tf.int32)
    sizes = iter(model.event_shape)
    shape = [size if size is not None else next(sizes) for size in condition.shape]
    return tf.constant(rng.normal(size=(num, *shape)), condition.dtype)


def full_condition(model: AutoregressiveModel, condition: Any, num: int) -> Any:
    """`condition` for `num` events, random where it is None and the model needs one; one value stands for all."""
    if condition is None:
        return random_condition(model, num)
    return condition if model.condition is None else model.condition.prepare(condition, num)


def full_request(model: AutoregressiveModel, condition: Any, num: int) -> Request:
    """The request of `num` events with `full_condition`; members of an ensemble in turn. A `Request` is kept."""
    if isinstance(condition, Request):
        return condition
    return model.request(full_condition(model, condition, num), num, **full_choice(model, num))


def full_choice(model: AutoregressiveModel, num: int) -> dict[str, Any]:
    """`member=` for `num` events of an ensemble, in turn; nothing for other models."""
    return {} if model.has_factors else {"member": np.arange(num) % model.num_members}


class Piece(NamedTuple):
    """A model of one stage with values to evaluate it at: a model itself, or a part of a chain.

    Attributes:
        name: of the part; "" of a model that is no chain.
        model: of the values.
        values: [B, *event_shape of the model].
        context: of the model's stage.
    """

    name: str
    model: AutoregressiveModel
    values: Any
    context: Request


def pieces(model: Density, x: Any, request: Request) -> list[Piece]:
    """Returns the parts of a chain at the events `x`, each with what it is told of those before; else the model."""
    context = model.context(request)
    if not isinstance(model, Chain):
        return [Piece("", model, x, context)]
    values = model.split(x)
    return [
        Piece(part.name, part.model, values[index], model.part_context(index, values[:index], context))
        for index, part in enumerate(model.parts)
    ]


def orders(model: AutoregressiveModel, x: Any, context: Request) -> np.ndarray:
    """The cell of every rank for every event of `x`, int [B, N]; they differ where an ensemble has several orders."""
    cells = model.event.to_grid(tf.convert_to_tensor(x)).shape[1:-1].num_elements()
    (stage,) = model.stages
    return cells_in_order(stage, context, len(x), cells)
