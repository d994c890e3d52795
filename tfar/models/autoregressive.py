"""The base class of autoregressive models p(x | h) = prod_i p(x_i | x_<i, h): scores, samples, training."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfar.core.configured import serialized
from tfar.core.event import Event
from tfar.core.orderings import Ordering, raster
from tfar.core.protocols import Condition, EventShape, Head, Network
from tfar.core.request import NOTHING, Request
from tfar.core.stage import Stage
from tfar.layers.condition_dropout import ConditionDropout, check_condition_dropout
from tfar.models.sampled import SampledDensity


@keras.saving.register_keras_serializable("tfar")
class AutoregressiveModel(SampledDensity):
    """A density over events, factorised by one causal network.

    Subclasses build the network and pass it to this constructor; they inherit everything else.

    Args:
        network: layer `network(x, condition)` of encoded cells [B, *grid, F] and features of the condition, causal in
            `ordering`; it returns [B, *grid, `event.num_outputs`].
        event_shape: (height, width, channels) or (length,).
        head: the distribution of every factor, from `tfar.heads`.
        condition: kind of side information h, from `tfar.conditions`, or None.
        ordering: order of the cells of the grid; raster by default.
        embedding_dim: None feeds scaled values to the network; a number feeds a learned embedding of that size of
            every value, which suits codes and other values without a scale.
        layout: "grid" for networks of images, "sequence" for networks of flat events, see `tfar.core.Event`.
        condition_dropout: share of the examples whose condition is replaced by zeros in training, so that the model
            learns to do without it, see `guidance_scale` of `sample`.
        **kwargs: passed on to `keras.Model` (name, dtype). The layers inside have the same dtype, "float64" say; it
            is saved where it is given, otherwise a model has Keras's default policy where it is made or loaded.

    Raises:
        ValueError: the arguments do not fit together.
    """

    # Kinds of conditions that the network takes.
    CONDITIONS: tuple[type, ...] = (Condition,)

    def __init__(
        self,
        network: Network,
        event_shape: EventShape,
        head: Head,
        condition: Condition | None = None,
        ordering: Ordering | None = None,
        embedding_dim: int | None = None,
        layout: str = "grid",
        condition_dropout: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_condition_dropout(condition_dropout, condition)
        self.event = Event(tuple(event_shape), head, layout)
        if condition is not None and not isinstance(condition, self.CONDITIONS):
            *others, last = [f"a {kind.__name__}" for kind in self.CONDITIONS]
            accepted = f"{', '.join(others)} or {last}" if others else "one of tfar.conditions"
            raise ValueError(f"condition must be {accepted} for {type(self).__name__}, got {condition!r}")
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

    # Properties.

    @property
    def event_shape(self) -> tuple[Any, ...]:
        """Shape of one example."""
        return self.event.event_shape

    @property
    def head(self) -> Any:
        """The head, bound to the channels of the event."""
        return self.event.head

    @property
    def stages(self) -> tuple[Stage, ...]:
        """One stage: network, event, orderings and encoding, what samplers work on."""
        return (self._stage(),)

    def _stage(self, guidance_scale: float = 1.0) -> Stage:
        return Stage(self.network, self.event, self.orderings, self._encode_cells, guidance_scale)

    @property
    def orderings(self) -> tuple[Ordering, ...]:
        """The order of every member, one here; none where events have no length of their own."""
        return () if self.ordering is None else (self.ordering,)

    def _encode_cells(self, x: tf.Tensor) -> tf.Tensor:
        """Values [..., C] -> network input [..., F]."""
        if self.embedding is None:
            return self.head.encode(x)
        embedded = self.embedding(tf.cast(x, tf.int32))
        return tf.reshape(embedded, [*_lead(embedded, 2), self.event.channels * self.embedding_dim])

    def encode(self, x: Any) -> tf.Tensor:
        """Data values [B, *event_shape] -> float input [B, *grid, F] of the network, where Jacobians are taken."""
        return self._encode_cells(self.event.to_grid(tf.convert_to_tensor(x)))

    def decode(self, encoded: tf.Tensor, context: Request = NOTHING) -> tf.Tensor:
        """Encoded events [B, *grid, F] -> parameters of the head [B, *positions, P], float32 or float64."""
        return self.split(self._stage().run(encoded, context))

    def split(self, outputs: tf.Tensor) -> tf.Tensor:
        """Outputs of the network [B, *grid, G * P] -> parameters [B, *positions, P], float32 or float64."""
        return self.event.split(outputs if outputs.dtype == tf.float64 else tf.cast(outputs, tf.float32))

    # Arguments of a call.

    def request(self, condition: Any = None, num: Any = None, event_shape: Any = None, **choice: Any) -> Request:
        """Checks the arguments of a call besides the event; returns them as a request.

        Args:
            condition: values of the condition, [B, ...], or one value for all.
            num: number of events.
            event_shape: shape of the events, where it is known.
            **choice: `member=` of an ensemble, `ordering=` of a model of any order, see `choose`.

        Raises:
            ValueError: an argument is not acceptable for this model.
        """
        return self.choose(Request(self.check_condition(condition, num, event_shape)), num, **choice)

    def choose(self, request: Request, num: Any, member: Any = None, ordering: Any = None) -> Request:
        """Adds the chosen member or order to the request, checked; the base class has only one factorization.

        Args:
            request: with its condition.
            num: number of events.
            member: see `tfar.models.ensemble.Ensemble.choose`.
            ordering: see `tfar.models.any_order.AnyOrder.choose`.
        """
        if ordering is not None:
            raise ValueError(f"ordering must be None: this {type(self).__name__} has one order, got {ordering!r}")
        if member not in (None, 0):
            raise ValueError(f"member must be 0 or None for a model with one member, got {member!r}")
        return request

    def features(self, request: Request) -> Any:
        """Computes the features that the network takes from the condition or from the code."""
        return self.condition.encode(request.condition)

    def context(self, request: Request = NOTHING, training: bool | None = None) -> Request:
        """Replaces the condition of a request by its features, which the network takes.

        Args:
            request: from `request`.
            training: whether conditions are dropped, see `condition_dropout`.
        """
        given = request.condition is not None or request.code is not None
        features = self.features(request) if given else None
        if given and self.drop_condition is not None:
            # Without the argument Keras says whether `call` is training.
            features = self.drop_condition(features, **({} if training is None else {"training": training}))
        return request._replace(condition=features, code=None)

    def prepare_draws(self, request: Request, first: tf.Tensor) -> tuple[Request, tf.Tensor]:
        """Draws variables that precede the event, such as an ensemble's member, from the noise of the first position.

        Args:
            request: from `request`.
            first: float32 [B, `head.noise_size`], the noise of the first position of every event.

        Returns:
            The request with what was drawn, and the noise that is left for the first position.
        """
        return request, first

    def begin_draws(self, request: Request, noise: tf.Tensor) -> tuple[Request, tf.Tensor]:
        """Returns the context of a batch of draws, and the noise [B, num_positions, k] of the positions."""
        if self.has_factors:  # nothing is drawn before the event
            return self.context(request), noise
        request, first = self.prepare_draws(request, noise[:, 0])
        return self.context(request), tf.concat([first[:, None], noise[:, 1:]], 1)

    def call(
        self, x: Any, condition: Any = None, *, member: Any = None, ordering: Any = None, training: bool | None = None
    ) -> tf.Tensor:
        """Parameters of the head for every position.

        Args:
            x: data values [B, *event_shape], or a dictionary {"x": ..., "condition": ...} as data sets yield it.
            condition: values of the condition, [B, ...].
            member: index of the member of an ensemble; while training the members take turns.
            ordering: the order to evaluate, of a model of any order.
            training: whether dropout is on; Keras hands it to every layer, and `fit` sets it where it stands here.

        Returns:
            [B, *positions, P].
        """
        if isinstance(x, dict):
            x, condition = x["x"], x.get("condition", condition)
        request = self.request(condition, tf.shape(x)[0], member=member, ordering=ordering)
        if training:
            request = self.take_turn(request, tf.shape(x)[0])
        return self.decode(self.encode(x), self.context(request))

    def take_turn(self, request: Request, batch: Any) -> Request:
        """Adds the factorization that a training step of `batch` examples trains, where a model has several."""
        del batch
        return request

    # Likelihood.

    def log_prob(self, x: Any, condition: Any = None, **choice: Any) -> tf.Tensor:
        """Exact log-likelihood in nats.

        Args:
            x: data values as stored (uint8, int32 or float), [B, *event_shape].
            condition: values of the condition, [B, ...].
            **choice: `member=` or `ordering=`, where a model has several factorisations; see `request`.

        Returns:
            float32 [B]; float64 of a model with `dtype="float64"`. Whatever the precision of the network, the head's
            arithmetic is float32 or more.

        Raises:
            ValueError: wrong shape, values outside of the head's support, a missing or an unexpected condition.
        """
        return tf.reduce_sum(tf.reshape(self.score(x, condition, **choice), [tf.shape(x)[0], -1]), -1)

    def score(self, x: Any, condition: Any = None, **choice: Any) -> tf.Tensor:
        """Log-probability in nats of every factor; they sum to `log_prob`.

        Args:
            x: data values, [B, *event_shape].
            condition: values of the condition, [B, ...].
            **choice: as in `log_prob`.

        Returns:
            float32 [B, *positions]: a heat map of an image, the negative surprise per character of a text.
        """
        x, request = self._checked(x, condition, choice)
        return self._compiled.run("score", self.score_graph, x, request)

    def score_graph(self, x: tf.Tensor, request: Request = NOTHING) -> tf.Tensor:
        """Computes `score` inside of a graph, without checks of the arguments."""
        return self.head.log_prob(self.decode(self.encode(x), self.context(request)), self.event.to_head(x))

    def conditionals(self, x: Any, condition: Any = None, **choice: Any) -> Any:
        """Returns the distribution of every factor given the values before it.

        Args:
            x: data values, [B, *event_shape].
            condition: values of the condition, [B, ...].
            **choice: as in `log_prob`.

        Returns:
            A `tfp.distributions.Distribution` with a batch over [B, *positions]; `.prob(90)` is the probability of
            the value 90 at every position.
        """
        x, request = self._checked(x, condition, choice)
        return self.head.distribution(self.decode(self.encode(x), self.context(request)))

    def _checked(self, x: Any, condition: Any, choice: dict[str, Any]) -> tuple[tf.Tensor, Request]:
        """Concrete arguments, checked; what is traced is not."""
        x = self.check_events(x)
        return x, self.request(condition, x.shape[0], x.shape[1:], **choice)

    # Training.

    def example_nats(self, x: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """See `tfar.models.trained.Trained.example_nats`."""
        nats = self.head.log_prob(y_pred, self.event.to_head(x))
        return tf.reduce_sum(tf.reshape(nats, [tf.shape(nats)[0], -1]), -1)

    # Configuration.

    def get_config(self) -> dict[str, Any]:
        """Arguments that make an equal model; orders by their ranks."""
        given = {"condition": serialized(self.condition), "condition_dropout": self.condition_dropout}
        # Where a constructor does not name these, they came in its **kwargs.
        return {**{name: value for name, value in given.items() if value}, **super().get_config()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> AutoregressiveModel:
        """Returns the model with these constructor arguments."""
        return super().from_config(
            {name: cls._ordered(value) if name == "ordering" else value for name, value in config.items()}
        )

    @classmethod
    def _ordered(cls, value: Any) -> Any:
        """Ranks of the cells of the grid as an ordering."""
        return Ordering(value) if isinstance(value, list) else value


def _lead(x: tf.Tensor, drop: int) -> list[Any]:
    """Leading sizes of `x` without the last `drop`, static where they are known."""
    dynamic = tf.shape(x)
    return [dynamic[i] if size is None else size for i, size in enumerate(x.shape[: x.shape.rank - drop])]
