"""The base class of every model: a density p(x | h) that is scored and sampled."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfar.core import compat
from tfar.core.checks import as_tensor
from tfar.core.compiled import CompiledFunctions
from tfar.core.configured import NAMED, Configured, serialized
from tfar.core.policies import Typed
from tfar.core.protocols import Condition
from tfar.core.request import NOTHING, Request
from tfar.core.stage import Stage
from tfar.core.units import bits_per_dim
from tfar.layers.weight_norm import data_dependent_initialization
from tfar.models.distribution import ModelDistribution
from tfar.models.summary import print_summary
from tfar.models.trained import Trained


class _Completed(Typed):
    """Calls `complete_construction` when the whole constructor has run, those of subclasses included."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        model = super().__call__(*args, **kwargs)
        model._given_dtype = kwargs.get("dtype")
        model.complete_construction()
        return model


def _keeping_arguments(constructor: Callable[..., None]) -> Callable[..., None]:
    """Wraps a constructor: afterwards each of its named arguments that has no attribute becomes one."""
    signature = inspect.signature(constructor)

    @functools.wraps(constructor)
    def construct(self: Density, *args: Any, **kwargs: Any) -> None:
        _check_integers(signature, self, args, kwargs)
        constructor(self, *args, **kwargs)
        given = signature.bind(self, *args, **kwargs)
        given.apply_defaults()
        for name in list(given.arguments)[1:]:
            if signature.parameters[name].kind in NAMED and not hasattr(self, name):
                setattr(self, name, given.arguments[name])

    # Keras asks `inspect.getfullargspec`, which does not look behind a wrapper.
    construct.__signature__ = signature  # type: ignore[attr-defined]
    return construct


def _check_integers(signature: inspect.Signature, model: Any, args: Any, kwargs: Any) -> None:
    """Raises ValueError for a value that is no integer, or negative, where the annotation asks for an integer.

    Blocks make other sizes of them, 2 filters say, which a message of theirs would name.
    """
    try:
        given = signature.bind(model, *args, **kwargs).arguments
    except TypeError:
        return  # which the constructor says itself, with its name
    for name, value in given.items():
        kind = str(signature.parameters[name].annotation)
        if kind not in ("int", "int | None") or (value is None and kind != "int"):
            continue
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise ValueError(f"{name} must be an integer, got {value!r}")
        if value < 0:
            raise ValueError(f"{name} must not be negative, got {value}")


class Density(Configured, Trained, metaclass=_Completed):
    """A density over events; the base of autoregressive models and of models with several parts.

    Subclasses define `log_prob`, `sample`, `sample_from_noise` and `stages`. Exports, tests and training rely on these
    and on the attributes and methods declared here.

    After a constructor has run, each of its arguments is an attribute of the same name. The constructor, or that of a
    base class, may set the attribute itself, to a checked or converted value. `get_config` reads these attributes; an
    attribute with an underscore in front of the name comes first.

    Attributes:
        condition: kind of side information h, from `tfar.conditions`, or None.
        text_vocabulary: a `tfar.core.Vocabulary` that encodes and decodes text, or None.
        parts: those of a chain, in the order of drawing; none of other models.
    """

    PRESETS: dict[str, dict[str, Any]] = {}

    condition: Condition | None = None
    text_vocabulary: Any = None
    parts: Sequence[Any] = ()

    _given_dtype: Any = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
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
        config = {**{name: serialized(self._argument(name)) for name in self.arguments()}, "name": self.name}
        # A model without a precision of its own takes Keras's default where it is loaded.
        return config if self._given_dtype is None else {**config, "dtype": serialized(self.dtype_policy)}

    @classmethod
    def from_preset(cls, preset: str, **overrides: Any) -> Density:
        """The model of a preset of this class, or of one derived from it.

        Args:
            preset: a name; `Class.PRESETS` holds those of the class.
            **overrides: constructor arguments that replace the preset's or are missing there.

        Raises:
            ValueError: there is no such preset, or `event_shape` or `head` is missing.

        Example:
            >>> import tfar
            >>> model = tfar.models.MADE.from_preset("made_tiny", event_shape=(4,), head=tfar.heads.Bernoulli())
            >>> model.event_shape
            (4,)
        """
        from tfar.models.presets import from_preset, presets  # which import the models

        known = sorted(name for name, of in presets().items() if issubclass(of, cls))
        if preset not in known:
            raise ValueError(f"preset must be one of {known} for {cls.__name__}, got {preset!r}")
        return from_preset(preset, **overrides)

    def save(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """As `keras.Model.save`, to a `.keras` file; `tfar.models.load` reads it.

        Raises:
            ValueError: the name ends in something else.
        """
        if not str(filepath).endswith(".keras"):
            raise ValueError(f'filepath must end in ".keras", the format that keeps configurations, got {filepath!r}')
        super().save(filepath, *args, **kwargs)

    def export(self, *args: Any, **kwargs: Any) -> None:
        """Raises ValueError: a server needs more than `call`, see the command `export`."""
        raise ValueError(
            "export of a density is a command, python -m export --workdir=RUN --out=FOLDER --format=saved_model: "
            "its signatures sample, score and complete, of which Model.export knows nothing"
        )

    def summary(self, *args: Any, **kwargs: Any) -> None:
        """As `keras.Model.summary`, with output shapes; see `tfar.models.summary.print_summary`."""
        print_summary(self, *args, **kwargs)

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
    def has_prefixes(self) -> bool:
        """Whether the first values of an event can be completed exactly, without further arguments."""
        return self.has_factors

    @property
    def has_auxiliary(self) -> bool:
        """Whether something is drawn that is no part of the event but a function of it; see `tfar.models.Chain`."""
        return False

    def auxiliary_of(self, x: Any) -> list[tf.Tensor]:
        """Values of the auxiliary parts of events [B, *event_shape], as `auxiliary=` takes them; [] without any."""
        return []

    @property
    def compiled_functions(self) -> CompiledFunctions:
        """The functions that were compiled for this model."""
        return self._compiled

    def noise_shape(self, event_shape: Any = None) -> tuple[int, int]:
        """Returns (positions, k), the numbers of noise that one event is drawn from.

        Args:
            event_shape: of an event; fills in a length that the model leaves open.
        """
        raise NotImplementedError

    def value_order(self, context: Request = NOTHING, num: int = 1, event_shape: Any = None) -> np.ndarray:
        """Returns the flat value of the event that is drawn at every place of the order, int [num, dimensions].

        Args:
            context: decides on the order, where a model has several.
            num: number of events.
            event_shape: as in `noise_shape`.
        """
        raise NotImplementedError

    def begin_draws(self, request: Request, noise: tf.Tensor) -> tuple[Request, tf.Tensor]:
        """Returns the context of a batch of draws, and the noise [B, *`noise_shape()`] that is left for the values."""
        raise NotImplementedError

    def boundary_distances(self, x: Any, noise: Any, context: Request, temperature: Any = 1.0) -> np.ndarray:
        """How far the noise of every value lies from where another value would be drawn, float [B, dimensions].

        Args:
            x: the events that were drawn, [B, *event_shape].
            noise: that is left for the values, [B, *`noise_shape()`].
            context: of the draws.
            temperature: of the draws, one or [B].
        """
        raise NotImplementedError

    # Training in parts, see `tfar.models.Chain`.

    def part_of_step(self, random: np.random.Generator) -> str | None:
        """Returns the part that one training step takes, drawn from `random`; None for the whole model."""
        return None

    def part_weights(self, name: str) -> list[keras.Variable]:
        """Trainable variables of a part; ValueError where a model has no part of this name."""
        raise ValueError(f"part must be None: a {type(self).__name__} has no parts, got {name!r}")

    # Initialization.

    @property
    def has_weight_norm(self) -> bool:
        """Whether layers have weight normalization, whose initialization takes data."""
        return any(getattr(layer, "weight_norm", False) for layer in compat.all_layers(self))

    def initialize_from_data(self, x: Any, condition: Any = None) -> None:
        """Data-dependent initialization of the layers with weight normalization, from one batch.

        Layer by layer, every output gets mean 0 and the standard deviation that the layer names. Inside of a replica
        the moments are those of the batches of all replicas. Dropout is off.

        Args:
            x: data values, [B, *event_shape].
            condition: values of the condition, [B, ...].

        Raises:
            ValueError: no layer has weight normalization, or the values do not fit the model.

        References:
            Salimans, Kingma, Weight Normalization, 2016, section 3.
        """
        if not self.has_weight_norm:
            raise ValueError(f"initialize_from_data needs a model with weight normalization, got {type(self).__name__}")
        x = self.check_events(x)
        with data_dependent_initialization():
            self(x, self.check_condition(condition, x.shape[0], x.shape[1:]), training=False)

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
        x = as_tensor(x, "x")
        self.check_shape(x)
        self.head.check(x, "x")
        return x

    def check_batch(self, x: np.ndarray, condition: Any = None) -> None:
        """Checks a batch of training as `log_prob` checks its arguments, on the host.

        Args:
            x: events, [B, *event_shape].
            condition: values of the condition, [B, ...].

        Raises:
            ValueError: wrong shape, values outside of the head's support, or a condition that does not fit.
        """
        self.check_shape(x)
        self.head.check(x, "x")
        with tf.device("CPU:0"):
            self.check_condition(condition, len(x), np.shape(x)[1:])

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
