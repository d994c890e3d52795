"""Learned forecasts for fixed-point sampling: a small network guesses what a model will draw further ahead.

    q_t(x_(i+t) | x_<i),  t = 0, ..., reach - 1          distilled from the model's own p(x_(i+t) | x_<(i+t))

Features of the values before a cell come from a small causal network, and one linear layer maps them to parameters of
the model's head for the next `reach` cells. A block begins with draws from these forecasts, by the noise of the cells'
own sites, instead of a copy of what came before; where the guess is right a pass has less to do. The sample stays the
model's, because passes go on until nothing changes.

Differences from the paper: features come from a network of their own instead of the model's last layer, so that any
model can have forecasts without being trained anew; they are asked for once a block.

References:
    Wiggers, Hoogeboom, Predictive Sampling with Forecasting Autoregressive Models, 2020, section 3.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfar.core.checks import check_sizes, checked_integer
from tfar.core.configured import Configured
from tfar.core.request import Request
from tfar.core.stage import Stage
from tfar.models.causal_conv_net import CausalConvBlock, CausalConvNetwork
from tfar.models.gated_pixel_cnn import GatedBlock, GatedPixelCNNNetwork
from tfar.models.sampled import SampledDensity
from tfar.sampling.inputs import cells_first

_serials = itertools.count()
# Cells of every example from which a training step forecasts.
_PLACES = 16


@keras.saving.register_keras_serializable("tfar")
class Forecaster(Configured, keras.Model):
    """Forecasts for one model; make it with `Forecaster.of`, train it with `distill`, give it to `sample`.

    Args:
        is_image: whether cells form an image, which is seen by a small Gated PixelCNN; otherwise by dilated causal
            convolutions.
        num_features: numbers per cell that the network is given, those of the model's encoding.
        num_outputs: numbers per cell of the model's output.
        reach: cells that are forecast.
        filters: feature maps of the network.
        num_layers: layers of the network.
        condition_size: size of a condition's features [B, n]; None where there are none, or they are no vector.

    Example:
        >>> import tfar
        >>> model = tfar.models.MADE((6,), tfar.heads.Categorical(4), hidden=(8,))
        >>> forecaster = Forecaster.of(model, reach=3, filters=4, num_layers=1)
        >>> nats = forecaster.distill(model, tfar.testing.random_events(model, 32), steps=2)
        >>> x = model.sample(2, seed=0, method="fixed_point", forecaster=forecaster, jit_compile=False)
    """

    def __init__(
        self,
        is_image: bool,
        num_features: int,
        num_outputs: int,
        reach: int = 8,
        filters: int = 32,
        num_layers: int = 3,
        condition_size: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_sizes(reach=reach, filters=filters, num_layers=num_layers)
        self.is_image, self.num_features, self.num_outputs = is_image, num_features, num_outputs
        self.reach, self.filters, self.num_layers, self.condition_size = reach, filters, num_layers, condition_size
        layers = range(num_layers)
        if is_image:
            groups = {"groups": 1, "channel_groups": "interleaved"}
            blocks = [GatedBlock(filters, 3 if i else 5, i == 0, i == num_layers - 1, groups, 0.0) for i in layers]
            self.network = GatedPixelCNNNetwork(blocks, filters, filters, groups)
        else:
            convolutions = [CausalConvBlock(filters, 3, 2**i, i == 0, "gated", 0.0) for i in layers]
            self.network = CausalConvNetwork(convolutions, filters, filters)
        self.heads = keras.layers.Dense(reach * num_outputs)
        self.serial = next(_serials)
        grid = (4, 4) if is_image else (4,)
        condition = None if condition_size is None else tf.zeros([1, condition_size])
        self(tf.zeros([1, *grid, num_features]), condition)
        self.built = True

    @classmethod
    def of(cls, model: SampledDensity, **options: Any) -> Forecaster:
        """Returns a new forecaster for a model; options are `reach`, `filters` and `num_layers`."""
        (stage,) = model.stages
        event = stage.event
        features = stage.encode(tf.zeros([1, event.channels], event.head.dtype)).shape[-1]
        size = None
        if model.condition is not None:
            example = model.condition.example([2 if length is None else length for length in model.event_shape])
            size = _condition_size(model.context(Request(example)))
        return cls(stage.is_image, features, event.num_outputs, condition_size=size, **options)

    def build(self, *shapes: Any) -> None:
        """Nothing to create: the layers have been called in the constructor."""

    def call(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """Encoded cells [B, *grid, F] -> parameters of the next cells [B, *grid, reach, outputs]."""
        return self.forecast(self.network(x, condition))

    def forecast(self, features: tf.Tensor) -> tf.Tensor:
        """Features [..., filters] of a cell -> parameters [..., reach, outputs] of the head from this cell on."""
        outputs = self.heads(tf.nn.relu(features))
        return tf.reshape(outputs, tf.concat([tf.shape(outputs)[:-1], [self.reach, self.num_outputs]], 0))

    def stage(self, stage: Stage) -> Stage:
        """Returns the driver of the features beside the stage of the model."""
        return dataclasses.replace(stage, network=self.network, guidance_scale=1.0)

    def context(self, context: Request) -> Request:
        """The part of the model's context that the network takes."""
        return Request(None if self.condition_size is None else context.condition)

    def distill(
        self,
        model: SampledDensity,
        x: Any,
        condition: Any = None,
        *,
        steps: int = 500,
        batch_size: int = 32,
        learning_rate: float = 2e-3,
        seed: int = 0,
    ) -> float:
        """Trains the forecasts on the model's own conditional distributions.

            loss = mean over cells i and t < reach of KL(p(. | x_<(i+t)) || q_t(. | x_<i))

        up to a constant. Heads over all channels of a pixel have no list of values to sum over: there x_(i+t) stands
        for a draw from p.

        Args:
            model: the model, of one factorization.
            x: events, [N, *event_shape]; of the data, or drawn from the model.
            condition: values of the condition, [N, ...].
            steps: of training.
            batch_size: examples of a step.
            learning_rate: of Adam.
            seed: of the order of the examples and of the cells.

        Returns:
            The loss in nats per position, mean of the last tenth of the steps.

        Raises:
            ValueError: an argument is out of range, or the forecaster belongs to a model of another kind.
        """
        checked_integer("steps", steps, low=1)
        (stage,) = model.stages
        self.check(stage)
        x, generator = np.asarray(x), np.random.default_rng(seed)
        model.check_shape(x)
        optimizer = keras.optimizers.Adam(learning_rate, clipnorm=1.0)
        optimizer.build(self.trainable_variables)

        @tf.function(autograph=False)
        def step(cells: tf.Tensor, places: tf.Tensor, request: Request) -> tf.Tensor:
            context = model.context(request)
            outputs = tf.stop_gradient(stage.parallel(cells, context, training=False))
            with tf.GradientTape() as tape:
                loss = self._loss(stage, cells, outputs, places, context)
            gradients = tape.gradient(loss, self.trainable_variables)
            optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
            return loss

        losses = []
        for _ in range(steps):
            rows = generator.integers(0, len(x), batch_size)
            cells = model.event.to_grid(tf.cast(x[rows], model.head.dtype))
            own = None if condition is None else np.asarray(condition)[rows]
            places = generator.integers(0, int(np.prod(cells.shape[1:-1])), [batch_size, _PLACES])
            losses.append(step(cells, tf.constant(places, tf.int32), model.request(own, batch_size, x.shape[1:])))
        return float(np.mean(losses[-max(1, steps // 10) :]))

    def check(self, stage: Stage) -> None:
        """Raises ValueError unless the forecaster belongs to a model of this kind."""
        if (self.is_image, self.num_outputs) != (stage.is_image, stage.event.num_outputs):
            kinds = {True: "images", False: "sequences"}
            raise ValueError(
                f"forecaster must be made for a model of {kinds[stage.is_image]} with {stage.event.num_outputs} outputs"
                f" per cell, got one for {kinds[self.is_image]} with {self.num_outputs}"
            )

    def _loss(
        self, stage: Stage, cells: tf.Tensor, outputs: tf.Tensor, places: tf.Tensor, context: Request
    ) -> tf.Tensor:
        event, order = stage.event, stage.order(context)
        arranged = None if order is None else order[0]
        num, head = int(np.prod(cells.shape[1:-1])), event.head
        features = self.stage(stage).parallel(cells, self.context(context))
        features, outputs, cells = (
            tf.transpose(cells_first(part, arranged), [1, 0, 2]) for part in (features, outputs, cells)
        )
        forecasts = self.forecast(tf.gather(features, places, axis=1, batch_dims=1))  # [B, places, reach, G * P]
        ahead = places[..., None] + tf.range(self.reach)
        inside, ahead = ahead < num, tf.minimum(ahead, num - 1)
        target, values = (tf.gather(part, ahead, axis=1, batch_dims=1) for part in (outputs, cells))
        shape = [*target.shape[:-1], event.groups, head.params_size]
        forecasts, target = tf.reshape(forecasts, shape), tf.reshape(target, shape)
        if head.event_ndims:
            nats = -head.log_prob(forecasts[..., 0, :], values)[..., None]
        else:
            nats = tf.nn.softmax_cross_entropy_with_logits(tf.nn.softmax(head.logits(target)), head.logits(forecasts))
        weights = tf.cast(inside, nats.dtype)[..., None]
        return tf.reduce_sum(nats * weights) / (tf.reduce_sum(weights) * event.groups)


def _condition_size(context: Request) -> int | None:
    features = context.condition
    return int(features.shape[-1]) if isinstance(features, tf.Tensor) and features.shape.rank == 2 else None
