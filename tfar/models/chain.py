"""Models of several parts.

    p(x | h) = p(y_1 | h) p(y_2 | y_1, h) ... p(y_K | y_<K, h)

Each part is an autoregressive model over a view of the event: some of its pixels, channels or bits. The views together
are the event, or some of them are auxiliary variables, functions of x that are drawn first.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfar.core.checks import check_choice
from tfar.core.event import Event
from tfar.core.policies import default_policy
from tfar.core.protocols import Condition, EventShape, Head
from tfar.core.request import NOTHING, Request
from tfar.layers.condition_dropout import ConditionDropout, check_condition_dropout
from tfar.models.part import Part, rebuilt_parts, serialized_parts
from tfar.models.parted import PartedDensity


@keras.saving.register_keras_serializable("tfar")
class Chain(PartedDensity):
    """A density over events whose values are modelled part by part.

    Noise is [num, sum of the positions of all parts, largest k]; the numbers of a part begin behind those of the parts
    before it. A sample draws part by part; a prefix of the order of drawing, which `complete` takes, is a number of
    whole parts and a prefix of the next one's own order. `fit` trains all parts jointly; see `train_only`.

    Where a part is auxiliary, `log_prob` is that of the pair (x, auxiliary values of x): a lower bound of that of x
    alone.

    Args:
        event_shape: shape of x, (height, width, channels).
        head: the distribution that values of x follow: its support and type. The parts' models have heads of their own.
        parts: in the order of drawing.
        condition: kind of side information h, whose features every part's link is given; None without any.
        condition_dropout: see `AutoregressiveModel`.
        train_parts: which parts a training step takes: "all", or "drawn" for one of them, drawn anew in every step,
            with K times its nats, an unbiased estimate of the sum. In `tfar.training` the others keep their weights.
        **kwargs: name and dtype.

    Raises:
        ValueError: names repeat, a view does not fit its part's model, or the views together are not the event.

    Example:
        >>> import tfar
        >>> from tfar.core.views import Cells
        >>> binary = tfar.heads.Bernoulli()
        >>> halves = [tfar.models.GatedPixelCNN((4, 2, 1), binary, filters=2, num_blocks=1) for _ in range(2)]
        >>> parts = [Part(f"half{i}", halves[i], Cells((0, i), (1, 2))) for i in range(2)]
        >>> model = Chain((4, 4, 1), binary, parts)
        >>> x = model.sample(3, seed=0, jit_compile=False)
        >>> x.shape, model.log_prob(x).shape, model.num_passes
        (TensorShape([3, 4, 4, 1]), TensorShape([3]), 16)
    """

    def __init__(
        self,
        event_shape: EventShape,
        head: Head,
        parts: Sequence[Part],
        condition: Condition | None = None,
        condition_dropout: float = 0.0,
        train_parts: str = "all",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_choice(("all", "drawn"), train_parts=train_parts)
        self.event = Event(event_shape, head, "grid" if len(tuple(event_shape)) == 3 else "sequence")
        self.condition = condition
        check_condition_dropout(condition_dropout, condition)
        self.drop_condition = ConditionDropout(condition_dropout) if condition_dropout else None
        self.condition_dropout, self.train_parts = condition_dropout, train_parts
        self.parts = list(parts)
        self._trained: str | None = None
        # Its variable is a function of (seed, step, replica) in `tfar.training`.
        self.seed_generator = keras.random.SeedGenerator() if train_parts == "drawn" else None
        self._check_parts()

    def _check_parts(self) -> None:
        names = [part.name for part in self.parts]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"parts must be one or more with names of their own, got {names}")
        x = np.random.default_rng(0).integers(0, self.head.levels or 256, (2, *self.event_shape)).astype(np.int32)
        for part, y in zip(self.parts, self.split(x), strict=True):
            if tuple(y.shape[1:]) != part.model.event_shape:
                raise ValueError(
                    f"view of part {part.name!r} must have the shape of its model, {part.model.event_shape}, got "
                    f"{tuple(y.shape[1:])} of events {self.event_shape}"
                )
        if not np.array_equal(self.merge([part.view.take(x) for part in self.parts]), x):
            raise ValueError(f"views of the parts {names} must hold every value of the event once")

    # Likelihood.

    def part_scores(self, values: Sequence[tf.Tensor], context: Request = NOTHING) -> list[tf.Tensor]:
        """Nats of every factor of every part, [B, *positions of the part], of the values of the parts."""
        return [
            part.score(values[index], self.part_context(index, values[:index], context))
            for index, part in enumerate(self.parts)
        ]

    def log_prob(self, x: Any, condition: Any = None, **choice: Any) -> tf.Tensor:
        """Log-likelihood in nats, the sum of those of all parts.

        With auxiliary parts it is that of the pair (x, auxiliary), a lower bound of log p(x | h): x may also be drawn
        after other auxiliary values than its own. `log_prob_auxiliary` and `log_prob_given` are its summands.

        Args:
            x: data values, [B, *event_shape].
            condition: values of the condition, [B, ...].
            **choice: `auxiliary=`, values of the auxiliary parts; by default those of x.

        Returns:
            float32 [B].
        """
        return tf.reduce_sum(tf.reshape(self.score(x, condition, **choice), [tf.shape(x)[0], -1]), -1)

    def score(self, x: Any, condition: Any = None, **choice: Any) -> tf.Tensor:
        """Log-probability in nats on the canvas of x: that of a part on the values that it holds.

        Nats of an auxiliary part are spread evenly over the pixels that it summarizes, those of a pixel evenly over
        its channels where these are positions of x. They sum to `log_prob`.

        Args:
            x: data values, [B, *event_shape].
            condition: values of the condition, [B, ...].
            **choice: `auxiliary=`, values of the auxiliary parts; by default those of x.

        Returns:
            float32 [B, *positions].
        """
        x = self.check_events(x)
        return self._compiled.run("score", self.score_graph, x, self.request(condition, x.shape[0], **choice))

    def score_graph(self, x: tf.Tensor, request: Request = NOTHING) -> tf.Tensor:
        """Computes `score` inside of a graph, without checks of the arguments."""
        return self.spread(self.part_scores(self.split(x, request.auxiliary), self.context(request)))

    def part_log_probs(self, x: Any, condition: Any = None, **choice: Any) -> tf.Tensor:
        """Log-likelihoods in nats of the parts in the order of drawing; they sum to `log_prob`.

        Args:
            x: data values, [B, *event_shape].
            condition: values of the condition, [B, ...].
            **choice: as in `log_prob`.

        Returns:
            float32 [B, K].
        """
        x = self.check_events(x)
        return self._compiled.run("parts", self._part_nats, x, self.request(condition, x.shape[0], **choice))

    def _part_nats(self, x: tf.Tensor, request: Request) -> tf.Tensor:
        return self._all_nats(self.split(x, request.auxiliary), self.context(request))

    def log_prob_auxiliary(self, x: Any, condition: Any = None, **choice: Any) -> tf.Tensor:
        """Log-likelihood in nats of the auxiliary values alone, log p(auxiliary | h), exactly; arguments as `log_prob`.

        Returns:
            float32 [B]; 0 where no part is auxiliary.
        """
        flags = tf.constant([float(part.view.auxiliary) for part in self.parts])
        return tf.linalg.matvec(self.part_log_probs(x, condition, **choice), flags)

    def log_prob_given(self, x: Any, condition: Any = None, **choice: Any) -> tf.Tensor:
        """Log-likelihood in nats of x given the auxiliary values, log p(x | auxiliary, h); arguments as `log_prob`.

        Returns:
            float32 [B]; `log_prob_auxiliary` and this sum to `log_prob`.
        """
        flags = tf.constant([float(not part.view.auxiliary) for part in self.parts])
        return tf.linalg.matvec(self.part_log_probs(x, condition, **choice), flags)

    def conditionals(self, x: Any, condition: Any = None, *, part: str) -> Any:
        """Returns the distribution of every factor of a part given what is drawn before.

        Args:
            x: data values, [B, *event_shape].
            condition: values of the condition, [B, ...].
            part: name of the part.

        Returns:
            A `tfp.distributions.Distribution` with a batch over [B, *positions of the part].
        """
        x, index = self.check_events(x), self.parts.index(self.part(part))
        values, context = self.split(x), self.context(self.request(condition, x.shape[0]))
        chosen = self.parts[index]
        return chosen.model.head.distribution(
            chosen.params(values[index], self.part_context(index, values[:index], context))
        )

    # Training.

    def call(
        self,
        x: Any,
        condition: Any = None,
        *,
        part: str | None = None,
        drawn: bool = False,
        training: bool | None = None,
    ) -> tf.Tensor:
        """Nats of the parts.

        Args:
            x: data values [B, *event_shape], or a dictionary {"x": ..., "condition": ...} as data sets yield it.
            condition: values of the condition, [B, ...].
            part: name of the only part to evaluate.
            drawn: whether the part stands for all of them: its nats are multiplied by K.
            training: whether dropout is on, and the parts are those that a training step takes.

        Returns:
            [B, K], which sum to `log_prob`; [B, 1] of one part.
        """
        if isinstance(x, dict):
            x, condition = x["x"], x.get("condition", condition)
        values, context = self.split(x), self.context(self.request(condition, tf.shape(x)[0]))
        part = self._trained if training and part is None else part
        if part is not None:
            nats = self._nats(self.parts.index(self.part(part)), values, context)[:, None]
            return len(self.parts) * nats if drawn else nats
        if training and self.train_parts == "drawn":
            return self.drawn_nats(values, context)[:, None]
        return self._all_nats(values, context)

    def _all_nats(self, values: Sequence[tf.Tensor], context: Request) -> tf.Tensor:
        """Log-likelihoods [B, K] of all parts."""
        return tf.stack([self._sum(score) for score in self.part_scores(values, context)], 1)

    def _nats(self, index: int, values: Sequence[tf.Tensor], context: Request) -> tf.Tensor:
        """Log-likelihoods [B] of a part."""
        return self._sum(self.parts[index].score(values[index], self.part_context(index, values[:index], context)))

    def _sum(self, score: tf.Tensor) -> tf.Tensor:
        """Sums [B, ...] to [B]."""
        return tf.reduce_sum(tf.reshape(score, [tf.shape(score)[0], -1]), -1)

    def drawn_nats(self, values: Sequence[tf.Tensor], context: Request) -> tf.Tensor:
        """Nats [B] whose expectation are those of the event: K times those of one part, drawn for the batch.

        A chain whose parts share one model draws a part for every example here.

        Args:
            values: of the parts.
            context: of the chain.
        """
        count = len(self.parts)
        uniform = tf.random.stateless_uniform([], tf.cast(self.seed_generator.next(), tf.int32))
        index = tf.minimum(tf.cast(uniform * count, tf.int32), count - 1)
        branches = [functools.partial(self._nats, each, values, context) for each in range(count)]
        return count * tf.switch_case(index, branches)

    def part_of_step(self, random: np.random.Generator) -> str | None:
        """See `Density.part_of_step`. Parts that share one model are drawn for every example, by `drawn_nats`."""
        shared = len({id(part.model) for part in self.parts}) == 1
        if self.train_parts != "drawn" or shared:
            return None
        return self.parts[random.integers(len(self.parts))].name

    def part_weights(self, name: str) -> list[keras.Variable]:
        """See `Density.part_weights`."""
        return self.part(name).trainable_variables

    def train_only(self, name: str | None) -> None:
        """Restricts training steps to one part, given the true values of those before it.

        The other parts keep their weights; scores are of all parts. A model that was compiled is to be compiled anew.

        Args:
            name: of the part; None trains all of them again.
        """
        chosen = None if name is None else self.part(name)
        for part in self.parts:
            part.trainable = chosen is None
        if chosen is not None:  # afterwards: its model may be that of others, too
            chosen.trainable = True
        self._trained = name

    def example_nats(self, x: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """See `tfar.models.trained.Trained.example_nats`."""
        return tf.reduce_sum(y_pred, -1)

    # Configuration.

    def get_config(self) -> dict[str, Any]:
        """Arguments that make an equal chain; a model that parts share stands there once."""
        config = super().get_config()
        if "parts" in self.arguments():
            config["parts"] = serialized_parts(self.parts)
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Returns the chain with these constructor arguments."""
        if "parts" in cls.arguments():
            with default_policy(config.get("dtype")):
                config = {**config, "parts": rebuilt_parts(config["parts"])}
        return super().from_config(config)
