"""A part of a chain: a model over some of the values of the event, given the parts before it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfar.core.configured import Configured, rebuilt, serialized
from tfar.core.request import NOTHING, Request
from tfar.core.stage import Stage
from tfar.core.views import View
from tfar.layers.composite import Composite
from tfar.models.autoregressive import AutoregressiveModel


@keras.saving.register_keras_serializable("tfar")
class Part(Configured, Composite):
    """A factor p(y_k | y_1, ..., y_(k-1), h) of a chain.

    Args:
        name: of the part, letters, digits, "_" and "-".
        model: the model of y_k. Parts may share one. A part whose positions are independent has an ordering of equal
            ranks (`tfar.orderings.together`) and a network that reads its condition alone: one pass draws it.
        view: which values of the event y_k holds, see `tfar.core.views`.
        link: layer `link([y_1, ..., y_(k-1)], h)` of the raw values of the parts before, [B, *event_shape] each, and
            the features of the chain's condition (None without one); it returns the features that the model's network
            takes as its condition. It runs once per event, not once per position. Where models are shared, each
            part's link tells its place. None passes the features of the chain's condition on.
        **kwargs: of `keras.layers.Layer`.

    Raises:
        ValueError: the model has several factorisations, or the name is none for a file.
    """

    def __init__(
        self, name: str, model: AutoregressiveModel, view: View, link: keras.layers.Layer | None = None, **kwargs: Any
    ):
        if not name.replace("_", "").replace("-", "").isalnum():
            raise ValueError(f'name must consist of letters, digits, "_" and "-", got {name!r}')
        super().__init__(name=name, **kwargs)
        if not model.has_factors or None in model.event_shape:
            raise ValueError(
                f"model of part {name!r} must have one factorization and events of one shape, got {model.num_members} "
                f"members over {model.event_shape}"
            )
        self.model, self.view, self.link = model, view, link
        self.built = True

    @property
    def stage(self) -> Stage:
        """The stage of the model."""
        (stage,) = self.model.stages
        return stage

    def guided_stage(self, guidance_scale: float) -> Stage:
        """Returns the stage that asks with and without the chain's condition where the scale is not 1."""
        return dataclasses.replace(self.stage, guidance_scale=guidance_scale)

    @property
    def num_passes(self) -> int:
        """Passes of the network that draw the part: one for each position, or for each colour of equal ranks."""
        event, ordering = self.model.event, self.model.ordering
        return event.groups * (ordering.num_ranks if ordering.has_ties else event.num_cells)

    def context(self, earlier: Sequence[tf.Tensor], features: Any = None, guided: bool = False) -> Request:
        """Returns the context of the part's stage.

        Args:
            earlier: values of the parts before, [B, *event_shape] each.
            features: of the chain's condition.
            guided: whether the stage also asks without the condition.
        """
        if self.link is None:
            return Request(features)
        free = None
        if guided:
            free = self.link(list(earlier), tf.nest.map_structure(tf.zeros_like, features))
        return Request(self.link(list(earlier), features), free=free)

    def params(self, y: tf.Tensor, context: Request = NOTHING) -> tf.Tensor:
        """Parameters of the head, [B, *positions, P], for values [B, *event_shape]."""
        return self.model.decode(self.model.encode(y), context)

    def score(self, y: tf.Tensor, context: Request = NOTHING) -> tf.Tensor:
        """Nats of every factor, [B, *positions], of values [B, *event_shape]."""
        return self.model.head.log_prob(self.params(y, context), self.model.event.to_head(y))


def serialized_parts(parts: Sequence[Part]) -> dict[str, Any]:
    """Returns the parts as JSON values, with each of their models once."""
    models: list[AutoregressiveModel] = []
    entries = []
    for part in parts:
        if not any(part.model is model for model in models):
            models.append(part.model)
        index = next(index for index, model in enumerate(models) if model is part.model)
        entries.append(
            {"name": part.name, "model": index, "view": serialized(part.view), "link": serialized(part.link)}
        )
    return {"models": [serialized(model) for model in models], "entries": entries}


def rebuilt_parts(config: Any) -> list[Part]:
    """Returns the parts of what `serialized_parts` gave; other values as they are."""
    if not isinstance(config, dict):
        return config
    models = [rebuilt(model) for model in config["models"]]
    return [
        Part(entry["name"], models[entry["model"]], rebuilt(entry["view"]), rebuilt(entry["link"]))
        for entry in config["entries"]
    ]
