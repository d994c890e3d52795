"""The base class of every model: a density p(x | h) that is scored and sampled."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfar.core.compiled import CompiledFunctions
from tfar.core.conditions import Condition
from tfar.core.configured import NAMED, Configured, serialized
from tfar.core.stage import Stage
from tfar.core.units import bits_per_dim
from tfar.models.distribution import ModelDistribution

# Of `keras.Model.fit`: y, batch_size, epochs, verbose, callbacks, validation_split, validation_data.
_ARGUMENTS_BEFORE_SHUFFLE = 7


class _Completed(type(keras.Model)):  # type: ignore[misc]
    """Calls `complete_construction` when the whole constructor has run, those of subclasses included."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        model = super().__call__(*args, **kwargs)
        model.complete_construction()
        return model

    @property
    def __signature__(cls) -> inspect.Signature:
        """The constructor's signature, for `help` and `inspect`, which would show that of `__call__`."""
        _, *parameters = inspect.signature(cls.__init__).parameters.values()  # type: ignore[misc]
        return inspect.Signature(parameters)


def _keeping_arguments(constructor: Callable[..., None]) -> Callable[..., None]:
    """Wraps a constructor: afterwards each of its named arguments that has no attribute becomes one."""
    signature = inspect.signature(constructor)

    @functools.wraps(constructor)
    def construct(self: Density, *args: Any, **kwargs: Any) -> None:
        constructor(self, *args, **kwargs)
        given = signature.bind(self, *args, **kwargs)
        given.apply_defaults()
        for name in list(given.arguments)[1:]:
            if signature.parameters[name].kind in NAMED and not hasattr(self, name):
                setattr(self, name, given.arguments[name])

    # Keras asks `inspect.getfullargspec`, which does not look behind a wrapper.
    construct.__signature__ = signature  # type: ignore[attr-defined]
    return construct


class Density(Configured, keras.Model, metaclass=_Completed):
    """A density over events; the base of autoregressive models and of models with several parts.

    Subclasses define `log_prob`, `sample`, `sample_from_noise` and `stages`. Exports, tests and training rely on these
    and on the attributes and methods declared here.

    After a constructor has run, each of its arguments is an attribute of the same name. The constructor, or that of a
    base class, may set the attribute itself, to a checked or converted value. `get_config` reads these attributes; an
    attribute with an underscore in front of the name comes first.

    Attributes:
        condition: kind of side information h, from `tfar.conditions`, or None.
        text_vocabulary: a `tfar.core.Vocabulary` that encodes and decodes text, or None.
    """

    PRESETS: dict[str, dict[str, Any]] = {}

    condition: Condition | None = None
    text_vocabulary: Any = None

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls):
            cls.__init__ = _keeping_arguments(cls.__init__)  # type: ignore[method-assign]

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self._compiled = CompiledFunctions(self)

    def build(self, *shapes: Any) -> None:
        """Nothing to create: every layer has been called when a model is complete. Keras would trace `call` again."""

    def complete_construction(self) -> None:
        """Runs the model once on zeros, which creates every weight: a model is complete when it is constructed."""
        shape = [1, *(2 if size is None else size for size in self.event_shape)]
        condition = None if self.condition is None else self.condition.example(self.event_shape)
        self._example(tf.zeros(shape, self.head.dtype), condition)
        self.built = True

    def _example(self, x: tf.Tensor, condition: Any) -> None:
        self(x, condition)

    def get_config(self) -> dict[str, Any]:
        """Arguments that make an equal model."""
        return {**{name: serialized(self._argument(name)) for name in self.arguments()}, "name": self.name}

    # Properties.

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The parts of the model in the order in which they are drawn; usually one."""
        raise NotImplementedError

    @property
    def event_shape(self) -> tuple[Any, ...]:
        """Shape of one example."""
        raise NotImplementedError

    @property
    def head(self) -> Any:
        """The head, bound to the channels of the event."""
        raise NotImplementedError

    @property
    def longest_event(self) -> int | None:
        """Elements of the longest event that the model is defined for; None where its events have a length, or none."""
        return None

    @property
    def num_members(self) -> int:
        """Number of factorisations that are averaged: 1 but for ensembles."""
        return 1

    @property
    def has_factors(self) -> bool:
        """Whether there is one factorisation: a score, and prefixes that can be completed, without `member=`."""
        return self.num_members == 1

    @property
    def compiled_functions(self) -> CompiledFunctions:
        """The functions that were compiled for this model."""
        return self._compiled

    # Likelihood.

    def log_prob(self, x: Any, condition: Any = None, **choice: Any) -> tf.Tensor:
        """Log-likelihood in nats, float32 [B]."""
        raise NotImplementedError

    def bits_per_dim(self, x: Any, condition: Any = None, **choice: Any) -> tf.Tensor:
        """Negative log-likelihood in bits per dimension, [B]."""
        return bits_per_dim(self.log_prob(x, condition, **choice), int(np.prod(np.shape(x)[1:])))

    def distribution(self, condition: Any = None) -> Any:
        """Returns the model as a `tfp.distributions.Distribution` over events.

        Args:
            condition: values of the condition for a batch of distributions [B, ...], or of a single one.
        """
        return ModelDistribution(self, condition)

    # Training.

    def fit(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.fit`, without its warning that it shuffles no data set: that is done where one is made."""
        if isinstance(x, tf.data.Dataset) and len(args) <= _ARGUMENTS_BEFORE_SHUFFLE:
            kwargs.setdefault("shuffle", False)
        return super().fit(x, *args, **kwargs)

    # Checks.

    def check_shape(self, x: Any, name: str = "x") -> None:
        """Raises ValueError unless `x` is a batch of events."""
        shape = tf.TensorShape(np.shape(x))
        if not shape.is_compatible_with([None, *self.event_shape]):
            accepted = ", ".join("any" if size is None else str(size) for size in self.event_shape)
            raise ValueError(f"{name} must have shape [batch, {accepted}], got {tuple(shape)}")

    def check_events(self, x: Any) -> tf.Tensor:
        """Checks concrete events, [B, *event_shape]; returns them as a tensor.

        Raises:
            ValueError: wrong shape, or values outside of the head's support.
        """
        if isinstance(x, tf.Tensor) and not hasattr(x, "numpy"):
            return x
        x = tf.convert_to_tensor(x)
        self.check_shape(x)
        self.head.check(x, "x")
        return x

    def check_condition(self, condition: Any, num: Any, event_shape: Sequence[int] | None = None) -> Any:
        """Checks values of the condition for `num` events; returns them as tensors.

        Raises:
            ValueError: a missing or an unexpected condition, or values that it does not take.
        """
        if self.condition is None:
            if condition is not None:
                raise ValueError(
                    f"condition was given, but {type(self).__name__} was built without one; "
                    "build it with condition=tfar.conditions.Label(n) (or Vector, Spatial)"
                )
            return None
        if condition is None:
            raise ValueError(
                f"condition is required: this {type(self).__name__} was built with {self.condition!r}; "
                'data sets yield {"x": ..., "condition": ...}'
            )
        return self.condition.prepare(condition, num, event_shape)
