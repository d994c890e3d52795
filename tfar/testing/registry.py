"""One tiny instance of everything public: what the conformance suite runs over.

A test fails when a public layer, head or model is missing here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import keras

from tfar import heads, layers, models
from tfar.core.conditions import Label, Spatial, Vector
from tfar.models.autoregressive import AutoregressiveModel
from tfar.testing.blind import blind_of_causal_conv_net, blind_of_pixel_cnn


@dataclasses.dataclass(frozen=True)
class ModelCase:
    """A tiny model and what is to be expected of it.

    Attributes:
        name: identifier, "<class>_<variant>".
        build: constructs the model.
        enumerable: the space of events is small enough to sum over (at most 100,000 events).
        blind: flat positions (target, source) that the paper says are not seen although source precedes target;
            a callable of the model, or None where everything that precedes is visible.
        xla: check the incremental evaluation under XLA in the default suite too (compiling takes seconds; the suite of
            large tests does it for every case). One case of each class.
        exempt: checks that do not apply, by the name of the test, each with the reason.
    """

    name: str
    build: Callable[[], AutoregressiveModel]
    enumerable: bool = False
    blind: Callable[[AutoregressiveModel], Any] | None = None
    xla: bool = False
    exempt: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class LayerCase:
    """A tiny layer.

    Attributes:
        name: identifier, "<class>_<variant>".
        build: constructs the layer.
        input_shape: without the batch, (T, F) or (H, W, F).
        context_shape: of the second argument without the batch; None where the layer takes one argument.
        incremental: whether the layer keeps a state of its own, which is then compared with the parallel pass.
    """

    name: str
    build: Callable[[], keras.layers.Layer]
    input_shape: tuple[int, ...]
    context_shape: tuple[int, ...] | None = None
    incremental: bool = True


@dataclasses.dataclass(frozen=True)
class HeadCase:
    """A small head.

    Attributes:
        name: identifier, "<class>_<variant>".
        build: constructs the head.
        channels: values per position where the head models whole pixels.
    """

    name: str
    build: Callable[[], heads.Head]
    channels: int = 1


def _gated(event_shape: tuple[int, int, int], head: Any, **kwargs: Any) -> Callable[[], AutoregressiveModel]:
    sizes = {"filters": 4, "num_blocks": 2, "kernel_size": 3, "first_kernel_size": 3}
    return lambda: models.GatedPixelCNN(event_shape, head, **{**sizes, **kwargs})


def _pixel(event_shape: tuple[int, int, int], head: Any, **kwargs: Any) -> Callable[[], AutoregressiveModel]:
    sizes = {"filters": 6, "num_blocks": 1, "first_kernel_size": 3}
    return lambda: models.PixelCNN(event_shape, head, **{**sizes, **kwargs})


def _causal(length: int | None, head: Any, **kwargs: Any) -> Callable[[], AutoregressiveModel]:
    return lambda: models.CausalConvNet((length,), head, **{"filters": 4, "num_layers": 3, **kwargs})


MODELS: list[ModelCase] = [
    ModelCase("GatedPixelCNN_binary", _gated((3, 3, 1), heads.Bernoulli()), enumerable=True),
    ModelCase(
        "GatedPixelCNN_rgb",
        _gated((2, 2, 3), heads.Categorical(2), condition=Label(3)),
        enumerable=True,
        xla=True,
    ),
    ModelCase(
        "GatedPixelCNN_contiguous",
        _gated((4, 3, 3), heads.Categorical(4), channel_groups="contiguous", condition=Spatial(2), embedding_dim=2),
    ),
    ModelCase(
        "GatedPixelCNN_logistic",
        _gated((3, 4, 3), heads.DiscretizedLogisticMixture(2, bits=3), condition=Vector(2)),
    ),
    ModelCase("PixelCNN_binary", _pixel((3, 4, 1), heads.Bernoulli()), enumerable=True, blind=blind_of_pixel_cnn),
    ModelCase(
        "PixelCNN_rgb",
        _pixel((3, 5, 3), heads.Categorical(3), condition=Label(3)),
        blind=blind_of_pixel_cnn,
        xla=True,
    ),
    ModelCase(
        "PixelCNN_contiguous",
        _pixel((4, 3, 3), heads.Categorical(4), channel_groups="contiguous", condition=Spatial(2), embedding_dim=2),
        blind=blind_of_pixel_cnn,
    ),
    ModelCase(
        "PixelCNN_logistic",
        _pixel((3, 4, 3), heads.DiscretizedLogisticMixture(2, bits=3), num_blocks=2, condition=Vector(2)),
        blind=blind_of_pixel_cnn,
    ),
    ModelCase(
        "CausalConvNet_gated",
        _causal(8, heads.Categorical(3), condition=Label(3)),
        enumerable=True,
        blind=blind_of_causal_conv_net,
        xla=True,
    ),
    ModelCase(
        "CausalConvNet_relu",
        _causal(12, heads.Categorical(5), activation="relu", dilations=[2, 4, 1], kernel_size=3, condition=Vector(2)),
        blind=blind_of_causal_conv_net,
    ),
]

LAYERS: list[LayerCase] = [
    LayerCase("CausalConv1D_inclusive", lambda: layers.CausalConv1D(3, 3, dilation_rate=2), (12, 2)),
    LayerCase("CausalConv1D_exclusive", lambda: layers.CausalConv1D(3, 2, exclusive=True), (6, 2)),
    LayerCase("GatedActivation_vector", layers.GatedActivation, (3, 4, 6), context_shape=(2,)),
    LayerCase("GatedActivation_map", layers.GatedActivation, (3, 4, 6), context_shape=(3, 4, 2)),
    LayerCase("HorizontalConv2D_inclusive", lambda: layers.HorizontalConv2D(6, 3, groups=3, halves=2), (3, 4, 6)),
    LayerCase("HorizontalConv2D_exclusive", lambda: layers.HorizontalConv2D(3, 5, exclusive=True), (3, 4, 2)),
    LayerCase(
        "HorizontalConv2D_colours",
        lambda: layers.HorizontalConv2D(6, 3, True, 3, "interleaved", input_groups="contiguous"),
        (3, 4, 3),
    ),
    LayerCase("ConditionalBias_vector", layers.ConditionalBias, (3, 4, 6), context_shape=(2,)),
    LayerCase("ConditionalBias_map", layers.ConditionalBias, (3, 4, 6), context_shape=(3, 4, 2)),
    LayerCase("MaskedConv2D_A", lambda: layers.MaskedConv2D(3, 3, "A"), (4, 5, 2)),
    LayerCase("MaskedConv2D_A_wide", lambda: layers.MaskedConv2D(6, 7, "A", 3, halves=2), (4, 5, 3)),
    LayerCase("MaskedConv2D_B", lambda: layers.MaskedConv2D(3, 3, "B"), (4, 5, 2)),
    LayerCase("MaskedConv2D_B_wide", lambda: layers.MaskedConv2D(6, 5, "B", 3, "contiguous"), (4, 5, 6)),
    LayerCase("MaskedConv2D_pointwise", lambda: layers.MaskedConv2D(3, 1, "B"), (3, 4, 2), incremental=False),
    LayerCase("VerticalConv2D_inclusive", lambda: layers.VerticalConv2D(3, (2, 3)), (4, 3, 2)),
    LayerCase("VerticalConv2D_exclusive", lambda: layers.VerticalConv2D(3, (2, 3), exclusive=True), (4, 3, 2)),
    LayerCase("VerticalConv2D_pointwise", lambda: layers.VerticalConv2D(3, (1, 1)), (4, 3, 2)),
]

HEADS: list[HeadCase] = [
    HeadCase("Bernoulli", heads.Bernoulli),
    HeadCase("Categorical", lambda: heads.Categorical(5)),
    HeadCase("DiscretizedLogisticMixture_grey", lambda: heads.DiscretizedLogisticMixture(2, bits=3)),
    HeadCase("DiscretizedLogisticMixture_colour", lambda: heads.DiscretizedLogisticMixture(2, bits=2), channels=3),
    HeadCase("Mixture_normal", lambda: heads.Mixture("Normal", 2)),
    HeadCase("Mixture_logistic", lambda: heads.Mixture("Logistic", 2)),
]
