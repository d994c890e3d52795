"""The signatures of an exported model: pure functions of their inputs, one row per example.

    sample     (condition?, seed, temperature)                      -> samples, seed
    complete   (x, observed_length, condition?, seed, temperature)  -> samples, seed
    log_prob   (x, condition?)                                      -> log_prob, bits_per_dim, score

Every input has B rows, or one row that stands for all. TensorFlow Serving compares no fed shape with the signature
and leaves XLA switched off, so the graphs check their inputs themselves, with texts that do not change, and are plain.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfar.core import noise as noises
from tfar.core.conditions import Label
from tfar.core.units import bits_per_dim
from tfar.models import AutoregressiveModel
from tfar.models.ensemble import Ensemble

Outputs = dict[str, tf.Tensor]

# Only a tensor as the default of an argument becomes a default of the signature; Python numbers are dropped.
FRESH_SEED = -1
_SEED = tf.TensorSpec([None, 2], tf.int64, "seed")
_TEMPERATURE = tf.TensorSpec([None], tf.float32, "temperature")
_OBSERVED_LENGTH = tf.TensorSpec([None], tf.int32, "observed_length")


def signatures(model: AutoregressiveModel) -> dict[str, Callable[..., Outputs]]:
    """The signatures of a model as `tf.function`s, for the argument of that name of `tf.saved_model.save`.

    Args:
        model: a model for events of known shape.

    Returns:
        "sample" (again as "serving_default"), "log_prob" and "complete"; an ensemble has no factors, so it has no
        "complete" and no output "score".

    Raises:
        ValueError: the event shape is not known.
    """
    if None in model.event_shape:
        raise ValueError(f"event_shape must be known for an export, got {model.event_shape}")
    x_spec = tf.TensorSpec([None, *model.event_shape], model.head.dtype, "x")
    condition_spec = _condition_spec(model)
    seed_default = tf.constant([[FRESH_SEED, FRESH_SEED]], tf.int64)
    temperature_default = tf.constant([1.0])

    def sample(seed: tf.Tensor = seed_default, temperature: tf.Tensor = temperature_default) -> Outputs:
        return _sample(model, _checked(model, seed=seed, temperature=temperature))

    def sample_given(
        condition: tf.Tensor, seed: tf.Tensor = seed_default, temperature: tf.Tensor = temperature_default
    ) -> Outputs:
        return _sample(model, _checked(model, condition=condition, seed=seed, temperature=temperature))

    def complete(
        x: tf.Tensor,
        observed_length: tf.Tensor,
        seed: tf.Tensor = seed_default,
        temperature: tf.Tensor = temperature_default,
    ) -> Outputs:
        inputs = {"x": x, "observed_length": observed_length, "seed": seed, "temperature": temperature}
        return _sample(model, _checked(model, **inputs))

    def complete_given(
        x: tf.Tensor,
        observed_length: tf.Tensor,
        condition: tf.Tensor,
        seed: tf.Tensor = seed_default,
        temperature: tf.Tensor = temperature_default,
    ) -> Outputs:
        inputs = {"x": x, "observed_length": observed_length, "seed": seed, "temperature": temperature}
        return _sample(model, _checked(model, **inputs, condition=condition))

    def log_prob(x: tf.Tensor) -> Outputs:
        return _log_prob(model, _checked(model, x=x))

    def log_prob_given(x: tf.Tensor, condition: tf.Tensor) -> Outputs:
        return _log_prob(model, _checked(model, x=x, condition=condition))

    given = [] if condition_spec is None else [condition_spec]
    draws = [*given, _SEED, _TEMPERATURE]
    drawn = tf.function(sample_given if given else sample, autograph=False, input_signature=draws)
    scored = tf.function(log_prob_given if given else log_prob, autograph=False, input_signature=[x_spec, *given])
    every = {"sample": drawn, "serving_default": drawn, "log_prob": scored}
    if _has_factors(model):
        observed = [x_spec, _OBSERVED_LENGTH]
        every["complete"] = tf.function(
            complete_given if given else complete, autograph=False, input_signature=[*observed, *draws]
        )
    return every


# What the signatures compute, from checked inputs.


def _sample(model: AutoregressiveModel, inputs: dict[str, tf.Tensor]) -> Outputs:
    """Draws what is not observed."""
    seed = inputs["seed"]
    noise = noises.uniform(seed, model.event.num_positions, model.head.noise_size)
    values = observed = None
    if "observed_length" in inputs:
        values, length = inputs["x"], inputs["observed_length"]
        observed = _rank_of_values(model)[None] < tf.reshape(length, [-1, *[1] * len(model.event_shape)])
        values = tf.where(observed, values, tf.zeros_like(values))
    samples = model.sample_from_noise(noise, inputs.get("condition"), inputs["temperature"], values, observed)
    return {"samples": samples, "seed": seed}


def _log_prob(model: AutoregressiveModel, inputs: dict[str, tf.Tensor]) -> Outputs:
    x, condition = inputs["x"], inputs.get("condition")
    if not _has_factors(model):
        nats, score = model.log_prob(x, condition), {}
    else:
        score = {"score": model.score(x, condition)}
        nats = tf.reduce_sum(tf.reshape(score["score"], [tf.shape(x)[0], -1]), -1)
    return {"log_prob": nats, "bits_per_dim": bits_per_dim(nats, model.event.num_dimensions), **score}


def _has_factors(model: AutoregressiveModel) -> bool:
    """Whether the model has one order of drawing; an ensemble has one per member."""
    return not isinstance(model, Ensemble) or model.num_members == 1


def _rank_of_values(model: AutoregressiveModel) -> tf.Tensor:
    """Place of every value in the order of drawing, int32 [*event_shape]: cell by cell, channels in their order."""
    channels = model.event.channels
    ranks = tf.constant(model.ordering.ranks)[..., None] * channels + tf.range(channels)
    return tf.reshape(ranks, model.event_shape)


# Checks in the graph.


def _condition_spec(model: AutoregressiveModel) -> tf.TensorSpec | None:
    if model.condition is None:
        return None
    sizes = iter(model.event_shape)
    shape = [next(sizes) if size is None else size for size in model.condition.shape]
    return tf.TensorSpec([None, *shape], model.condition.dtype, "condition")


def _checked(model: AutoregressiveModel, **inputs: tf.Tensor) -> dict[str, tf.Tensor]:
    """The inputs with B rows each, handed on only when everything about them is right; fresh seeds are drawn here."""
    specs = {
        "x": tf.TensorSpec([None, *model.event_shape], model.head.dtype),
        "seed": _SEED,
        "temperature": _TEMPERATURE,
        "observed_length": _OBSERVED_LENGTH,
        "condition": _condition_spec(model),
    }
    with tf.control_dependencies([_check_shape(name, x, specs[name].shape) for name, x in inputs.items()]):
        rows = {name: tf.reduce_prod(tf.raw_ops.Shape(input=x)[:1]) for name, x in inputs.items()}
    batch = tf.reduce_max(tf.stack(list(rows.values())))
    checks = [
        _require(
            (count == batch) | (count == 1),
            f"{name} must have one row, or one per example; rows, examples:",
            count,
            batch,
        )
        for name, count in rows.items()
    ]
    if "seed" in inputs:
        with tf.control_dependencies(checks):
            fresh = tf.reduce_all(tf.equal(inputs["seed"], FRESH_SEED), -1, keepdims=True)
        alone = (rows["seed"] == batch) | tf.reduce_all(fresh)
        checks.append(
            _require(
                alone, "seed must have one row per example, or be [[-1, -1]]; rows, examples:", rows["seed"], batch
            )
        )
    with tf.control_dependencies(checks):
        full = {name: tf.broadcast_to(x, tf.concat([[batch], tf.shape(x)[1:]], 0)) for name, x in inputs.items()}
    with tf.control_dependencies(_check_values(model, full)):
        full = {name: tf.identity(x) for name, x in full.items()}
    if "seed" in full:
        full["seed"] = _fresh_seeds(full["seed"], batch)
    return full


def _check_shape(name: str, x: tf.Tensor, shape: tf.TensorShape) -> tf.Operation:
    """Fails unless the tensor that was fed has this shape, whatever the signature promises, and at least one row."""
    # Not tf.shape, tf.rank or tf.size: they answer from the signature. A text can be compared whatever the rank is.
    fed = tf.raw_ops.Shape(input=x)
    sizes = tf.strings.reduce_join(tf.strings.as_string(fed), separator=",")
    wanted = [str(size) for size in shape[1:]]
    return _require(
        tf.strings.regex_full_match(sizes, ",".join([r"[1-9]\d*", *wanted])),
        f"{name} must have shape [{', '.join(['rows', *wanted])}], at least one row; shape:",
        fed,
    )


def _check_values(model: AutoregressiveModel, inputs: dict[str, tf.Tensor]) -> list[tf.Operation]:
    """Fails where a value lies outside of what the model accepts."""
    checks = []
    if "x" in inputs:
        x = inputs["x"]
        levels = model.head.levels
        if levels is None:
            wrong, accepted = ~tf.math.is_finite(x), "finite numbers"
        else:
            wrong, accepted = (x < 0) | (x >= levels), f"whole numbers from 0 to {levels - 1}"
        if "observed_length" in inputs:
            length = tf.reshape(inputs["observed_length"], [-1, *[1] * len(model.event_shape)])
            wrong &= _rank_of_values(model)[None] < length
        checks.append(_require_none(wrong, x, f"x must hold {accepted}; values:"))
    if "observed_length" in inputs:
        length, most = inputs["observed_length"], model.event.num_dimensions
        wrong = (length < 0) | (length > most)
        checks.append(_require_none(wrong, length, f"observed_length must lie between 0 and {most}; values:"))
    if "temperature" in inputs:
        temperature = inputs["temperature"]
        wrong = ~(tf.math.is_finite(temperature) & (temperature > 0))
        checks.append(_require_none(wrong, temperature, "temperature must be positive and finite; values:"))
    if "condition" in inputs:
        condition = inputs["condition"]
        if isinstance(model.condition, Label):
            num_labels = model.condition.num_labels
            wrong, accepted = (condition < 0) | (condition >= num_labels), f"labels from 0 to {num_labels - 1}"
        else:
            wrong, accepted = ~tf.math.is_finite(condition), "finite numbers"
        checks.append(_require_none(wrong, condition, f"condition must hold {accepted}; values:"))
    return checks


def _require(condition: tf.Tensor, message: str, *values: Any) -> tf.Operation:
    return tf.debugging.Assert(condition, [message, *values], summarize=8)


def _require_none(wrong: tf.Tensor, values: tf.Tensor, message: str) -> tf.Operation:
    """Fails with the first wrong values in the message."""
    return _require(~tf.reduce_any(wrong), message, tf.boolean_mask(values, wrong))


def _fresh_seeds(seed: tf.Tensor, batch: tf.Tensor) -> tf.Tensor:
    """Rows of -1, -1 replaced by entropy of the operating system, below 2^31 so that every client can write them."""
    random = tf.raw_ops.NonDeterministicInts(shape=tf.stack([batch, 2]), dtype=tf.int64)
    random = tf.bitwise.bitwise_and(random, tf.constant(2**31 - 1, tf.int64))
    return tf.where(tf.reduce_all(tf.equal(seed, FRESH_SEED), -1, keepdims=True), random, seed)
