"""The base class of every model: what can be done with p(x | h) = prod_i p(x_i | x_<i, h)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfar.core import noise as noises
from tfar.core.compiled import CompiledFunctions
from tfar.core.conditions import Condition
from tfar.core.event import Event, GuidedStage, Stage
from tfar.core.orderings import Ordering, raster
from tfar.core.units import bits_per_dim
from tfar.layers.condition_dropout import ConditionDropout
from tfar.layers.weight_norm import data_dependent_initialization
from tfar.models.distribution import ModelDistribution
from tfar.sampling import Draw, incremental
from tfar.sampling.batches import SAMPLERS, draw_in_batches
from tfar.sampling.observed import check_prefix

# Of `keras.Model.fit`: y, batch_size, epochs, verbose, callbacks, validation_split, validation_data.
_ARGUMENTS_BEFORE_SHUFFLE = 7


class AutoregressiveModel(keras.Model):
    """A density over events, factorised by one causal network.

    Subclasses build the network and hand it over; everything else is here.

    Args:
        network: layer `network(x, context)` of encoded cells [B, *grid, F], causal in `ordering`; it returns
            [B, *grid, `event.num_outputs`].
        event_shape: (height, width, channels) or (length,).
        head: the distribution of every factor, from `tfar.heads`.
        condition: kind of side information h, from `tfar.conditions`, or None.
        ordering: order of the cells of the grid; raster by default.
        embedding_dim: None feeds scaled values to the network; a number feeds a learned embedding of that size of
            every value, which suits codes and other values without a scale.
        layout: "grid" for networks of images, "sequence" for networks of flat events, see `tfar.core.Event`.
        condition_dropout: share of the examples whose condition is replaced by zeros in training, so that the model
            learns to do without it, see `guidance_scale` of `sample`.
        **kwargs: passed on to `keras.Model` (name, dtype).

    Raises:
        ValueError: the arguments do not fit together.
    """

    PRESETS: dict[str, dict[str, Any]] = {}

    def __init__(
        self,
        network: keras.layers.Layer,
        event_shape: Sequence[int | None],
        head: Any,
        condition: Condition | None = None,
        ordering: Ordering | None = None,
        embedding_dim: int | None = None,
        layout: str = "grid",
        condition_dropout: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if not 0 <= condition_dropout < 1 or (condition_dropout and condition is None):
            raise ValueError(
                "condition_dropout must be at least 0 and below 1, and 0 without a condition, got "
                f"{condition_dropout} with condition={condition!r}"
            )
        self.event = Event(tuple(event_shape), head, layout)
        if condition is not None and not isinstance(condition, Condition):
            raise ValueError(f"condition must be one of tfar.conditions, got {condition!r}")
        if embedding_dim is not None and self.event.head.levels is None:
            raise ValueError(f"embedding_dim needs a head with levels, got {embedding_dim} and {head!r}")
        self.network, self.condition, self.embedding_dim = network, condition, embedding_dim
        self.ordering = ordering or (raster(*self.event.grid) if None not in self.event.grid else None)
        if self.ordering is not None and self.ordering.shape != self.event.grid:
            raise ValueError(f"ordering must have the shape of the grid {self.event.grid}, got {self.ordering.shape}")
        self.embedding = None
        if embedding_dim is not None:
            self.embedding = keras.layers.Embedding(self.event.head.levels, embedding_dim, name="embedding")
        self.condition_dropout = condition_dropout
        self.drop_condition = ConditionDropout(condition_dropout) if condition_dropout else None
        self._compiled = CompiledFunctions()
        self._example()

    def build(self, *shapes: Any) -> None:
        """Nothing to create: the constructor has called every layer. Keras would trace `call` once more to find out."""

    def _example(self) -> None:
        """Runs the model once on zeros, which creates every weight: a model is complete when it is constructed."""
        shape = [1, *(2 if size is None else size for size in self.event_shape)]
        self(tf.zeros(shape, self.head.dtype), self._example_condition())
        self.built = True

    def _example_condition(self) -> Any:
        return None if self.condition is None else self.condition.example(self.event_shape)

    # What the model is.

    @property
    def event_shape(self) -> tuple[Any, ...]:
        """Shape of one example."""
        return self.event.event_shape

    @property
    def head(self) -> Any:
        """The head, bound to the channels of the event."""
        return self.event.head

    @property
    def stage(self) -> Stage:
        """Network, event, ordering and encoding: what samplers work on."""
        return Stage(self.network, self.event, self.ordering, self._encode_cells)

    def _encode_cells(self, x: tf.Tensor) -> tf.Tensor:
        """Values [..., C] -> network input [..., F]."""
        if self.embedding is None:
            return self.head.encode(x)
        embedded = self.embedding(tf.cast(x, tf.int32))
        return tf.reshape(embedded, [*_lead(embedded, 2), self.event.channels * self.embedding_dim])

    def encode(self, x: Any) -> tf.Tensor:
        """Data values [B, *event_shape] -> float input [B, *grid, F] of the network, where Jacobians are taken."""
        return self._encode_cells(self.event.to_grid(tf.convert_to_tensor(x)))

    def decode(self, encoded: tf.Tensor, context: Any = None) -> tf.Tensor:
        """Encoded events [B, *grid, F] -> parameters of the head [B, *positions, P], float32 or float64."""
        outputs = self.stage.run(encoded, context)
        return self.event.split(outputs if outputs.dtype == tf.float64 else tf.cast(outputs, tf.float32))

    def context(self, condition: Any = None) -> Any:
        """What the network is given besides the event; None, or features of the condition."""
        if condition is None:
            return None
        features = self.condition.encode(condition)
        return features if self.drop_condition is None else self.drop_condition(features)

    def prepare_draws(self, condition: Any, noise: tf.Tensor) -> tuple[Any, tf.Tensor]:
        """What a batch of draws is given: the network's context, and the noise of the positions.

        Args:
            condition: values of the condition, [B, ...].
            noise: [B, num_positions, `head.noise_size`]; a model that draws more than the event takes it from here.
        """
        return self.context(condition), noise

    def call(self, x: Any, condition: Any = None, *, training: bool | None = None) -> tf.Tensor:
        """Parameters of the head for every position.

        Args:
            x: data values [B, *event_shape], or a dictionary {"x": ..., "condition": ...} as data sets yield it.
            condition: values of the condition, [B, ...].
            training: whether dropout is on; Keras hands it to every layer, and `fit` sets it where it stands here.

        Returns:
            [B, *positions, P].
        """
        if isinstance(x, dict):
            x, condition = x["x"], x.get("condition", condition)
        return self.decode(self.encode(x), self.context(self._check_condition(condition, tf.shape(x)[0])))

    @property
    def has_weight_norm(self) -> bool:
        """Whether layers have weight normalization, whose initialization takes data."""
        return any(getattr(layer, "weight_norm", False) for layer in self._flatten_layers())

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
        x, condition = self._check(x, condition)
        with data_dependent_initialization():
            self(x, condition, training=False)

    # Likelihood.

    def log_prob(self, x: Any, condition: Any = None) -> tf.Tensor:
        """Exact log-likelihood in nats.

        Args:
            x: data values as stored (uint8, int32 or float), [B, *event_shape].
            condition: values of the condition, [B, ...].

        Returns:
            float32 [B].

        Raises:
            ValueError: wrong shape, values outside of the head's support, a missing or an unexpected condition.
        """
        return tf.reduce_sum(tf.reshape(self.score(x, condition), [tf.shape(x)[0], -1]), -1)

    def score(self, x: Any, condition: Any = None) -> tf.Tensor:
        """Log-probability in nats of every factor; they sum to `log_prob`.

        Args:
            x: data values, [B, *event_shape].
            condition: values of the condition, [B, ...].

        Returns:
            float32 [B, *positions]: a heat map of an image, the negative surprise per character of a text.
        """
        x, condition = self._check(x, condition)
        return self._compiled.run("score", self._score, x, condition)

    def _score(self, x: tf.Tensor, condition: Any) -> tf.Tensor:
        return self.head.log_prob(self(x, condition, training=False), self.event.to_head(x))

    def bits_per_dim(self, x: Any, condition: Any = None) -> tf.Tensor:
        """Negative log-likelihood in bits per dimension, [B]."""
        return bits_per_dim(self.log_prob(x, condition), int(np.prod(np.shape(x)[1:])))

    def conditionals(self, x: Any, condition: Any = None) -> Any:
        """The distribution of every factor given the values before it.

        Args:
            x: data values, [B, *event_shape].
            condition: values of the condition, [B, ...].

        Returns:
            A `tfp.distributions.Distribution` with a batch over [B, *positions]; `.prob(90)` is the probability of
            the value 90 at every position.
        """
        x, condition = self._check(x, condition)
        return self.head.distribution(self(x, condition, training=False))

    def distribution(self, condition: Any = None) -> Any:
        """The model as a `tfp.distributions.Distribution` over events.

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

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True) -> tf.Tensor:
        """Mean bits/dim of a batch, for `compile` and `fit`; data sets yield {"x": ..., "condition": ...}."""
        del y, sample_weight, training
        values = x["x"] if isinstance(x, dict) else x
        nats = self.head.log_prob(y_pred, self.event.to_head(values))
        count = tf.cast(tf.reduce_prod(tf.shape(values)[1:]), nats.dtype)
        return bits_per_dim(tf.reduce_mean(tf.reduce_sum(tf.reshape(nats, [tf.shape(nats)[0], -1]), -1)) / count, 1)

    # Sampling.

    def sample(
        self,
        num: int,
        condition: Any = None,
        seed: Any = None,
        temperature: Any = 1.0,
        method: str = "incremental",
        *,
        length: int | None = None,
        prompt: Any = None,
        guidance_scale: float = 1.0,
        batch_size: int = 16,
        noise: Any = None,
        jit_compile: bool = True,
        progress: Callable[[int, int], None] | None = None,
    ) -> tf.Tensor:
        """Draws events; a sample is a function of its own noise, whatever batch it is drawn in.

        Args:
            num: number of events.
            condition: values of the condition, [num, ...], or one value for all.
            seed: an int s (row r uses the seed [s, r]), int64 [num, 2], or None for entropy of the operating system.
            temperature: positive; a number, or one per row [num].
            method: "incremental", or "naive", which runs the network once per position.
            length: length of the events of a model of any length, its prompt included.
            prompt: first values of a sequence, [n] or [num, n]; taken in one parallel pass and kept.
            guidance_scale: 1 draws from p(x | h) exactly; more exaggerates the condition, at twice the cost, in a
                model that was trained with `condition_dropout`. See `tfar.core.event.GuidedStage`.
            batch_size: rows that are drawn together; a larger `num` is drawn in batches of this one shape.
            noise: uniform numbers in (0, 1) to use instead of a seed, [num, num_positions, `head.noise_size`].
            jit_compile: compile the loop with XLA (slower to start, then several times faster).
            progress: called with (units done, units in all) between chunks of the loop.

        Returns:
            [num, *event_shape] of type `head.dtype`.

        Raises:
            ValueError: an argument is out of range.
        """
        shape = self._sample_shape(_positive_int("num", num), length)
        values, observed = self._place_prompt(prompt, shape)
        options = {"method": method, "batch_size": batch_size, "jit_compile": jit_compile, "progress": progress}
        stage = self._guided(guidance_scale)
        return self._draw(values, observed, condition, seed, temperature, noise, stage, **options)

    def complete(
        self,
        x: Any,
        observed: Any,
        condition: Any = None,
        seed: Any = None,
        temperature: Any = 1.0,
        method: str = "incremental",
        *,
        guidance_scale: float = 1.0,
        batch_size: int = 16,
        noise: Any = None,
        jit_compile: bool = True,
        progress: Callable[[int, int], None] | None = None,
    ) -> tf.Tensor:
        """Keeps the observed values and draws the rest from p(rest | observed, h), exactly.

        Args:
            x: data values, [B, *event_shape]; ignored where they are not observed.
            observed: bool, [*event_shape] or [B, *event_shape]; a prefix of the ordering in every row.
            condition: values of the condition, [B, ...], or one value for all.
            seed: as in `sample`.
            temperature: as in `sample`.
            method: as in `sample`.
            guidance_scale: as in `sample`.
            batch_size: as in `sample`.
            noise: as in `sample`.
            jit_compile: as in `sample`.
            progress: as in `sample`.

        Returns:
            [B, *event_shape] of type `head.dtype`.

        Raises:
            ValueError: `observed` is not a prefix of the ordering; the first gap is named.
        """
        x, observed = np.asarray(x), np.asarray(observed)
        if not tf.TensorShape(x.shape).is_compatible_with([None, *self.event_shape]):
            raise ValueError(f"x must have shape [batch, {_csv(self.event_shape)}], got {x.shape}")
        if observed.dtype != bool or observed.shape not in (x.shape, x.shape[1:]):
            raise ValueError(
                f"observed must be bool of shape {x.shape[1:]} or {x.shape}, got {observed.dtype} {observed.shape}"
            )
        observed = np.broadcast_to(observed, x.shape)
        x = np.where(observed, x, 0)
        self.head.check(x, "x")
        options = {"method": method, "batch_size": batch_size, "jit_compile": jit_compile, "progress": progress}
        values = tf.cast(x, self.head.dtype)
        stage = self._guided(guidance_scale)
        return self._draw(values, observed, condition, seed, temperature, noise, stage, **options)

    def sample_from_noise(
        self,
        noise: tf.Tensor,
        condition: tf.Tensor | None = None,
        temperature: tf.Tensor | None = None,
        values: tf.Tensor | None = None,
        observed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """The incremental sampler as one piece of graph: for exported functions and other uses inside `tf.function`.

        The number of rows may be unknown while tracing; nothing is checked.

        Args:
            noise: float32 [B, num_positions, `head.noise_size`], uniform in (0, 1).
            condition: values of the condition, [B, ...].
            temperature: float32 [B]; 1 by default.
            values: data values, [B, *event_shape], kept where `observed`.
            observed: bool, [B, *event_shape]; a prefix of the ordering in every row. None draws everything.

        Returns:
            [B, *event_shape] of type `head.dtype`.
        """
        stage, batch = self.stage, tf.shape(noise)[0]
        shape = [tf.shape(noise)[1]] if None in self.event_shape else self.event_shape
        context, noise = self.prepare_draws(condition, noise)
        if values is None:
            values = tf.zeros([batch, *shape], self.head.dtype)
        known = None if observed is None else self.event.to_grid(observed)
        grid = self.event.to_grid(tf.cast(values, self.head.dtype))
        draw = Draw(noise, tf.ones([batch]) if temperature is None else temperature, grid, known)
        carry = incremental.start(stage, grid, context)
        units = incremental.num_units(stage, tf.shape(noise)[1] if None in self.event_shape else self.event.num_cells)
        carry = incremental.advance(stage, carry, draw, context, 0, units)
        drawn = tf.reshape(incremental.values(stage, carry), tf.shape(values))
        return tf.ensure_shape(drawn, [None, *self.event_shape])

    def _guided(self, scale: Any) -> Stage:
        """The stage, or the one that asks with and without the condition."""
        if isinstance(scale, bool) or not isinstance(scale, int | float) or not np.isfinite(scale) or scale < 0:
            raise ValueError(f"guidance_scale must be a number of at least 0, got {scale!r}")
        if scale == 1.0:
            return self.stage
        if not self.condition_dropout:
            raise ValueError(
                f"guidance_scale must be 1.0 for a model without condition_dropout, which never saw an event without "
                f"its condition, got {scale}"
            )
        return GuidedStage(self.network, self.event, self.ordering, self._encode_cells, float(scale))

    def _draw(
        self,
        values: tf.Tensor,
        observed: Any,
        condition: Any,
        seed: Any,
        temperature: Any,
        noise: Any,
        stage: Stage,
        **options: Any,
    ) -> tf.Tensor:
        """Checks the arguments of `sample` and `complete`, makes noise of seeds, draws."""
        num = int(values.shape[0])
        if options["method"] not in SAMPLERS:
            raise ValueError(f"method must be one of {sorted(SAMPLERS)}, got {options['method']!r}")
        options["batch_size"] = min(num, _positive_int("batch_size", options["batch_size"]))
        temperature, condition = _temperature(temperature, num), self._check_condition(condition, num, values.shape[1:])
        positions, size = self.event.count_positions(values.shape[1:]), self.head.noise_size
        if noise is None:
            uniform = lambda seeds: noises.uniform(seeds, positions, size)  # noqa: E731
            seeds, jit_compile = noises.seed_rows(seed, num), options["jit_compile"]
            noise = self._compiled.run(("noise", positions), uniform, seeds, jit_compile=jit_compile)
        noise = tf.cast(noise, tf.float32)
        if noise.shape != (num, positions, size):
            raise ValueError(f"noise must have shape {(num, positions, size)}, got {tuple(noise.shape)}")
        context, noise = self.prepare_draws(condition, noise)
        if observed is not None:
            observed = self.event.to_grid(tf.constant(observed))
            check_prefix(stage, observed.numpy(), context, values.shape[1:])
        draw = Draw(noise, temperature, self.event.to_grid(values), observed)
        drawn = draw_in_batches(stage, self._compiled, draw, context, **options)
        return tf.reshape(drawn, values.shape)

    # Checks.

    def _sample_shape(self, num: int, length: Any) -> list[int]:
        """Shape of `num` events; `length` fills in what the model leaves open."""
        if None not in self.event_shape:
            if length is not None and self.event_shape != (length,):
                raise ValueError(f"length is for models of any length; events are {self.event_shape}, got {length!r}")
            return [num, *self.event_shape]
        if length is None:
            raise ValueError(f"length must be given to sample: this {type(self).__name__} models events of any length")
        return [num, _positive_int("length", length)]

    def _place_prompt(self, prompt: Any, shape: list[int]) -> tuple[tf.Tensor, np.ndarray | None]:
        """Values [num, *event_shape] that begin with the prompt, and flags of what is observed."""
        if prompt is None:
            return tf.zeros(shape, self.head.dtype), None
        prompt = np.asarray(prompt)
        if len(shape) != 2 or prompt.ndim not in (1, 2) or (prompt.ndim == 2 and len(prompt) != shape[0]):
            raise ValueError(
                f"prompt must be the first values of a sequence, [n] or [{shape[0]}, n], got {prompt.shape}"
                + (" (use complete for images)" if len(shape) != 2 else "")
            )
        size = prompt.shape[-1]
        if size > shape[1]:
            raise ValueError(f"length must cover the prompt of {size} values, got {shape[1]}")
        if not size:
            return tf.zeros(shape, self.head.dtype), None
        prompt = np.broadcast_to(prompt, (shape[0], size))
        self.head.check(prompt, "prompt")
        values = np.zeros(shape, self.head.dtype.as_numpy_dtype)
        values[:, :size] = prompt
        return tf.constant(values), np.broadcast_to(np.arange(shape[1]) < size, shape)

    def _check(self, x: Any, condition: Any) -> tuple[tf.Tensor, Any]:
        """Checks concrete values; returns tensors."""
        if isinstance(x, tf.Tensor) and not hasattr(x, "numpy"):
            return x, condition
        x = tf.convert_to_tensor(x)
        if x.shape.rank != len(self.event_shape) + 1 or not x.shape[1:].is_compatible_with(self.event_shape):
            raise ValueError(f"x must have shape [batch, {_csv(self.event_shape)}], got {tuple(x.shape)}")
        self.head.check(x, "x")
        return x, self._check_condition(condition, x.shape[0], x.shape[1:])

    def _check_condition(self, condition: Any, num: Any, event_shape: Any = None) -> Any:
        if self.condition is None:
            if condition is not None:
                raise ValueError(
                    f"condition was given, but {type(self).__name__} was built without one; "
                    "build it with condition=tfar.conditions.Label(n) (or Vector, Spatial)"
                )
            return None
        if condition is None:
            raise ValueError(f"condition is required: this {type(self).__name__} was built with {self.condition!r}")
        return self.condition.prepare(condition, num, event_shape)

    # Configuration.

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments shared by all models; subclasses add their own."""
        return {
            "event_shape": list(self.event_shape),
            "head": keras.saving.serialize_keras_object(self.head),
            "condition": keras.saving.serialize_keras_object(self.condition),
            "embedding_dim": self.embedding_dim,
            **({"condition_dropout": self.condition_dropout} if self.condition_dropout else {}),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> AutoregressiveModel:
        """The model with these constructor arguments."""
        restored = {
            key: keras.saving.deserialize_keras_object(value, custom_objects) if isinstance(value, dict) else value
            for key, value in config.items()
        }
        return cls(**restored)


def _lead(x: tf.Tensor, drop: int) -> list[Any]:
    """Leading sizes of `x` without the last `drop`, static where they are known."""
    dynamic = tf.shape(x)
    return [dynamic[i] if size is None else size for i, size in enumerate(x.shape[: x.shape.rank - drop])]


def _positive_int(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}")
    return int(value)


def _temperature(value: Any, num: int) -> tf.Tensor:
    array = np.asarray(value, np.float32)
    if array.shape not in ((), (num,)) or not (np.isfinite(array) & (array > 0)).all():
        raise ValueError(f"temperature must be a positive number or {num} of them, got {value!r}")
    return tf.constant(np.broadcast_to(array, (num,)))


def _csv(shape: Sequence[Any]) -> str:
    return ", ".join("any" if size is None else str(size) for size in shape)
