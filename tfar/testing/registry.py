"""One tiny instance of everything public: what the conformance suite runs over.

A test fails when a public layer, head or model is missing here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from tfar import heads, models
from tfar.core.conditions import Label, Spatial, Vector
from tfar.models.autoregressive import AutoregressiveModel


@dataclasses.dataclass(frozen=True)
class ModelCase:
    """A tiny model and what is to be expected of it.

    Attributes:
        name: identifier, "<class>_<variant>".
        build: constructs the model.
        enumerable: the space of events is small enough to sum over (at most 100,000 events).
        blind: flat positions (target, source) that the paper says are not seen although source precedes target;
            a callable of the model, or None where everything that precedes is visible.
    """

    name: str
    build: Callable[[], AutoregressiveModel]
    enumerable: bool = False
    blind: Callable[[AutoregressiveModel], Any] | None = None


def _gated(event_shape: tuple[int, int, int], head: Any, **kwargs: Any) -> Callable[[], AutoregressiveModel]:
    sizes = {"filters": 4, "num_blocks": 2, "kernel_size": 3, "first_kernel_size": 3}
    return lambda: models.GatedPixelCNN(event_shape, head, **{**sizes, **kwargs})


MODELS: list[ModelCase] = [
    ModelCase("GatedPixelCNN_binary", _gated((3, 3, 1), heads.Bernoulli()), enumerable=True),
    ModelCase("GatedPixelCNN_rgb", _gated((2, 2, 3), heads.Categorical(2), condition=Label(3)), enumerable=True),
    ModelCase(
        "GatedPixelCNN_contiguous",
        _gated((4, 3, 3), heads.Categorical(4), channel_groups="contiguous", condition=Spatial(2), embedding_dim=2),
    ),
    ModelCase(
        "GatedPixelCNN_logistic",
        _gated((3, 4, 3), heads.DiscretizedLogisticMixture(2, bits=3), condition=Vector(2)),
    ),
]
