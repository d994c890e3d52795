"""Tiny models of several parts."""

from __future__ import annotations

from tfar import heads, models
from tfar.core.conditions import Label, Vector
from tfar.testing.blind import blind_of_multiscale_pixel_cnn, blind_of_pyramid_pixel_cnn
from tfar.testing.registry.cases import ModelCase, tiny

_multiscale = tiny(
    models.MultiscalePixelCNN,
    num_doublings=1,
    filters=4,
    num_blocks=1,
    first_kernel_size=3,
    upscaler_filters=4,
    upscaler_blocks=1,
    blind=blind_of_multiscale_pixel_cnn,
)

_grayscale = tiny(models.GrayscalePixelCNN, gray_bits=1, filters=4, num_resnets=1, embedding_blocks=1)
_pyramid = tiny(
    models.PyramidPixelCNN,
    num_doublings=1,
    filters=4,
    num_resnets=1,
    unet_stages=1,
    unet_resnets=1,
    blind=blind_of_pyramid_pixel_cnn,
)

_subscale = tiny(
    models.SubscalePixelNetwork,
    filters=4,
    num_blocks=1,
    first_kernel_size=3,
    num_layers=1,
    width=8,
    num_heads=2,
    embedder_filters=4,
    embedder_blocks=1,
)

CHAINS: list[ModelCase] = [
    _multiscale("binary", (4, 4, 1), heads.Bernoulli(), enumerable=True, representative=True, runtimes=True),
    _multiscale("rgb", (2, 2, 3), heads.Categorical(2), upscaler_filters=6, condition=Label(3), enumerable=True),
    _multiscale(
        "logistic",
        (4, 8, 3),
        heads.DiscretizedLogisticMixture(2, bits=3),
        num_doublings=2,
        upscaling="width_height",
        condition=Vector(2),
        upscaler_blocks=3,
    ),
    _multiscale("patches", (4, 8, 2), heads.Categorical(4), num_blocks=2, patch_size=2, patch_blocks=1),
    _grayscale(
        "rgb",
        (2, 2, 3),
        heads.DiscretizedLogisticMixture(1, bits=1),
        condition=Vector(2),
        enumerable=True,
        representative=True,
        runtimes=True,
    ),
    _pyramid(
        "binary",
        (2, 4, 1),
        heads.Bernoulli(),
        average_levels=5,
        condition=Vector(2),
        enumerable=True,
        representative=True,
        runtimes=True,
    ),
    _subscale("binary", (4, 4, 1), heads.Bernoulli(), enumerable=True, representative=True, runtimes=True),
    _subscale("rgb", (2, 2, 3), heads.Categorical(2), filters=6, condition=Label(3), enumerable=True),
    _subscale("depth", (2, 2, 1), heads.Categorical(4), scaling_factor=1, high_bits=1, enumerable=True),
    _subscale(
        "logistic", (2, 4, 3), heads.DiscretizedLogisticMixture(2, bits=3), size_upscaling=True, condition=Vector(2)
    ),
]
