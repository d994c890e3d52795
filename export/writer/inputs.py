"""The inputs of signatures, and their checks inside the graph.

TensorFlow Serving compares no fed shape with the signature, so a graph checks its inputs itself, with texts that do
not change. Every input has B examples, or one that stands for all.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from export.writer.limits import Limits
from tfar.models import AutoregressiveModel

Tensors = dict[str, tf.Tensor]

FRESH_SEED = -1


@dataclasses.dataclass(frozen=True)
class Input:
    """One input of a signature.

    Attributes:
        name: as in requests.
        spec: type and shape; the first dimension is the examples.
        meaning: one line for the reference.
        accepted: which values are, as it stands in the refusal: "hold labels from 0 to 9"; None where all are.
        wrong: values -> bool of the same shape, True where one is not accepted.
        default: value of an input that is left out, of one example; None where it must be given.
        early: values as they were fed -> a check that must come before they are repeated for all examples.
    """

    name: str
    spec: tf.TensorSpec
    meaning: str
    accepted: str | None = None
    wrong: Callable[[tf.Tensor], tf.Tensor] | None = None
    default: Any = None
    early: Callable[[tf.Tensor], tf.Operation] | None = None

    @property
    def refusals(self) -> list[str]:
        """Returns the first words of the messages that refuse a request."""
        sizes = ["examples", *("any" if size is None else str(size) for size in self.spec.shape[1:])]
        texts = [f"{self.name} must have shape [{', '.join(sizes)}], at least one example; shape:"]
        return texts if self.accepted is None else [*texts, f"{self.name} must {self.accepted}; values:"]

    def check_shape(self, x: tf.Tensor) -> tf.Operation:
        """Fails unless the fed tensor has this shape, whatever the signature promises, and at least one example."""
        # Not tf.shape, tf.rank or tf.size: they answer from the signature. A text can be compared whatever the rank is.
        fed = tf.raw_ops.Shape(input=x)
        sizes = tf.strings.reduce_join(tf.strings.as_string(fed), separator=",")
        wanted = [r"[1-9]\d*", *(r"\d+" if size is None else str(size) for size in self.spec.shape[1:])]
        return require(tf.strings.regex_full_match(sizes, ",".join(wanted)), self.refusals[0], fed)

    def check_values(self, x: tf.Tensor, unless: tf.Tensor | None = None) -> list[tf.Operation]:
        """Fails with the first wrong values in the message; those where `unless` is True may be anything."""
        if self.wrong is None:
            return []
        wrong = self.wrong(x)
        return [require_none(wrong if unless is None else wrong & ~unless, x, self.refusals[1])]


def require(condition: tf.Tensor, message: str, *values: Any) -> tf.Operation:
    """Fails the request with INVALID_ARGUMENT unless the condition holds."""
    return tf.debugging.Assert(condition, [message, *values], summarize=8)


def require_none(wrong: tf.Tensor, values: tf.Tensor, message: str) -> tf.Operation:
    """Fails where anything is wrong, with the first wrong values in the message."""
    return require(~tf.reduce_any(wrong), message, tf.boolean_mask(values, wrong))


def checked(inputs: Sequence[Input], values: Mapping[str, tf.Tensor], limits: Limits) -> Tensors:
    """Returns the values with B examples each, once their shapes and sizes are checked.

    Args:
        inputs: of the signature.
        values: as they were fed, by name.
        limits: of a request; nothing is repeated before they are checked.
    """
    with tf.control_dependencies([item.check_shape(values[item.name]) for item in inputs]):
        shapes = {item.name: tf.raw_ops.Shape(input=values[item.name]) for item in inputs}
    counts = {name: tf.reduce_prod(shape[:1]) for name, shape in shapes.items()}
    most = f"must have at most {limits.examples} examples; examples:"
    few = [require(count <= limits.examples, f"{name} {most}", count) for name, count in counts.items()]
    with tf.control_dependencies(few):
        batch = tf.reduce_max(tf.stack(list(counts.values())))
    checks = [
        require(
            tf.equal(count, batch) | tf.equal(count, 1),
            f"{name} must have an entry for every example, or one for all; entries, examples:",
            count,
            batch,
        )
        for name, count in counts.items()
    ]
    for item in inputs:
        if None in item.spec.shape[1:].as_list() and item.early is None:
            size = tf.reduce_max(shapes[item.name][1:])
            checks.append(require_positions(item.name, batch, size, limits))
    if "seed" in counts:
        with tf.control_dependencies(checks):
            fresh = tf.reduce_all(tf.equal(values["seed"], FRESH_SEED), -1, keepdims=True)
        alone = tf.equal(counts["seed"], batch) | tf.reduce_all(fresh)
        message = "seed must have an entry for every example, or be [[-1, -1]]; entries, examples:"
        checks.append(require(alone, message, counts["seed"], batch))
    with tf.control_dependencies(checks):
        checks += [item.early(tf.identity(values[item.name])) for item in inputs if item.early is not None]
    with tf.control_dependencies(checks):
        return {name: tf.broadcast_to(x, tf.concat([[batch], tf.shape(x)[1:]], 0)) for name, x in values.items()}


def require_positions(name: str, examples: tf.Tensor, size: tf.Tensor, limits: Limits) -> tf.Operation:
    """Fails the request where its examples have too many positions together.

    Args:
        name: of the input that says how many.
        examples: int32 [], their number.
        size: int32 [], positions of the longest.
        limits: of a request.
    """
    right = tf.cast(examples, tf.int64) * tf.cast(size, tf.int64) <= limits.positions
    return require(right, positions_refusal(name, limits), examples, size)


def positions_refusal(name: str, limits: Limits) -> str:
    """Returns the first words of the message of `require_positions`."""
    return f"{name} must ask for at most {limits.positions} positions in all examples together; examples, positions:"


def after(checks: Sequence[tf.Operation], values: Tensors) -> Tensors:
    """Returns the values after the checks have passed."""
    with tf.control_dependencies(checks):
        return {name: tf.identity(x) for name, x in values.items()}


def fresh_seeds(seed: tf.Tensor) -> tf.Tensor:
    """Seeds of -1, -1 replaced by entropy of the operating system, below 2^31 so that every client can write them."""
    random = tf.raw_ops.NonDeterministicInts(shape=tf.shape(seed), dtype=tf.int64)
    random = tf.bitwise.bitwise_and(random, tf.constant(2**31 - 1, tf.int64))
    return tf.where(tf.reduce_all(tf.equal(seed, FRESH_SEED), -1, keepdims=True), random, seed)


def function_of(inputs: Sequence[Input], compute: Callable[[Tensors], Tensors]) -> Any:
    """Returns a `tf.function` with these inputs as its arguments, for `signatures=` of `tf.saved_model.save`.

    Those with a default come last. Only a tensor as the default of an argument becomes one of the signature.
    """
    ordered = sorted(inputs, key=lambda item: item.default is not None)

    def function(*values: tf.Tensor) -> Tensors:
        return compute({item.name: value for item, value in zip(ordered, values, strict=True)})

    kind, empty = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.empty
    function.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                item.name, kind, default=empty if item.default is None else tf.constant(item.default, item.spec.dtype)
            )
            for item in ordered
        ]
    )
    specs = [tf.TensorSpec(item.spec.shape, item.spec.dtype, item.name) for item in ordered]
    return tf.function(function, autograph=False, input_signature=specs)


# The inputs of a model.


def event_input(model: AutoregressiveModel) -> Input:
    """`x`: events."""
    wrong, accepted = _wrong_values(model)
    spec = tf.TensorSpec([None, *model.event_shape], model.head.dtype)
    return Input("x", spec, "events, values as stored in the data", accepted, wrong)


def prefix_input(model: AutoregressiveModel) -> Input:
    """`prefix`: the first values of an event."""
    wrong, accepted = _wrong_values(model)
    most = None if None in model.event_shape else model.event.num_dimensions
    return Input(
        "prefix",
        tf.TensorSpec([None, None], model.head.dtype),
        "first values of the event in the order of drawing, kept as they are",
        accepted,
        wrong,
        np.zeros([1, 0], model.head.dtype.as_numpy_dtype),
        None if most is None else lambda prefix: require_prefix(prefix, most),
    )


PREFIX_TOO_LONG = "prefix must be no longer than the event; values:"


def require_prefix(prefix: tf.Tensor, most: Any) -> tf.Operation:
    """Fails where a prefix has more than `most` values."""
    size = tf.shape(prefix)[1]
    return require(size <= most, PREFIX_TOO_LONG, size)


def _wrong_values(model: AutoregressiveModel) -> tuple[Callable[[tf.Tensor], tf.Tensor], str]:
    levels = model.head.levels
    if levels is None:
        return lambda x: ~tf.math.is_finite(x), "hold finite numbers"
    return lambda x: (x < 0) | (x >= levels), f"hold whole numbers from 0 to {levels - 1}"


def seed_input() -> Input:
    """`seed`: one pair per example."""
    return Input(
        "seed",
        tf.TensorSpec([None, 2], tf.int64),
        "seed of every example; -1, -1 asks for entropy of the operating system",
        default=np.full([1, 2], FRESH_SEED),
    )


def temperature_input() -> Input:
    """`temperature`: one per example."""
    return Input(
        "temperature",
        tf.TensorSpec([None], tf.float32),
        "below 1 draws likelier values, 1 draws from the model itself",
        "be positive and finite",
        lambda t: ~(tf.math.is_finite(t) & (t > 0)),
        np.ones([1], np.float32),
    )


def count_input(name: str, meaning: str, most: int, default: int | None = None, least: int = 1) -> Input:
    """Returns a whole number per example, from `least` to `most`."""
    return Input(
        name,
        tf.TensorSpec([None], tf.int32),
        meaning,
        f"lie between {least} and {most}",
        lambda n: (n < least) | (n > most),
        None if default is None else np.full([1], default, np.int32),
    )


def condition_names(model: AutoregressiveModel) -> list[str]:
    """`condition`; for several conditions at once `condition_0`, `condition_1`, ..."""
    count = 0 if model.condition is None else len(model.condition.parts)
    return ["condition"] if count == 1 else [f"condition_{index}" for index in range(count)]


def condition_inputs(
    model: AutoregressiveModel, event_shape: Sequence[Any] | None = None, batch_size: int | None = None
) -> list[Input]:
    """Returns the inputs of the model's condition, one for each of its parts; empty without a condition.

    Args:
        model: the model.
        event_shape: replaces the model's, whose length may be open.
        batch_size: number of examples; None leaves it open.
    """
    parts = () if model.condition is None else model.condition.parts
    return [
        Input(
            name,
            tf.TensorSpec([batch_size, *part.value_shape(event_shape or model.event_shape)], part.dtype, name),
            part.meaning,
            part.accepted,
            part.wrong,
        )
        for name, part in zip(condition_names(model), parts, strict=True)
    ]


def condition_of(model: AutoregressiveModel, inputs: Mapping[str, tf.Tensor]) -> Any:
    """Returns the condition among the inputs, as models take it; None without one."""
    values = tuple(inputs[name] for name in condition_names(model))
    return values if len(values) > 1 else next(iter(values), None)
