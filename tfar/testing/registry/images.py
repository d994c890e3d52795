"""Tiny models of images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tfar import heads, models
from tfar.core import orderings
from tfar.core.conditions import Label, Spatial, Vector
from tfar.models.autoregressive import AutoregressiveModel
from tfar.testing.blind import (
    blind_of_image_transformer,
    blind_of_locally_masked_pixel_cnn,
    blind_of_pixel_cnn,
    blind_of_pooled_snail,
    blind_of_row_lstm,
)
from tfar.testing.registry.cases import ModelCase


def _gated(event_shape: tuple[int, int, int], head: Any, **kwargs: Any) -> Callable[[], AutoregressiveModel]:
    sizes = {"filters": 4, "num_blocks": 2, "kernel_size": 3, "first_kernel_size": 3}
    return lambda: models.GatedPixelCNN(event_shape, head, **{**sizes, **kwargs})


def _pixel(event_shape: tuple[int, int, int], head: Any, **kwargs: Any) -> Callable[[], AutoregressiveModel]:
    sizes = {"filters": 6, "num_blocks": 1, "first_kernel_size": 3}
    return lambda: models.PixelCNN(event_shape, head, **{**sizes, **kwargs})


def _rnn(event_shape: tuple[int, int, int], head: Any, cell: str, **kwargs: Any) -> Callable[[], AutoregressiveModel]:
    sizes = {"filters": 6, "num_layers": 1, "first_kernel_size": 3}
    return lambda: models.PixelRNN(event_shape, head, cell, **{**sizes, **kwargs})


def _pixel_pp(event_shape: tuple[int, int, int], head: Any, **kwargs: Any) -> Callable[[], AutoregressiveModel]:
    sizes = {"filters": 4, "num_resnets": 1, "num_resolutions": 2, "dropout": 0.0}
    return lambda: models.PixelCNNPP(event_shape, head, **{**sizes, **kwargs})


def _snail(event_shape: tuple[int, int, int], head: Any, **kwargs: Any) -> Callable[[], AutoregressiveModel]:
    sizes = {"filters": 4, "num_blocks": 1, "num_resnets": 1, "key_dim": 3, "dropout": 0.0}
    return lambda: models.PixelSNAIL(event_shape, head, **{**sizes, **kwargs})


def _attention(event_shape: tuple[int, ...], head: Any, **kwargs: Any) -> Callable[[], AutoregressiveModel]:
    sizes = {"num_layers": 1, "width": 8, "num_heads": 2}
    return lambda: models.MaskedAttention(event_shape, head, **{**sizes, **kwargs})


def _image(
    event_shape: tuple[int, int, int], head: Any, attention: str, **kwargs: Any
) -> Callable[[], AutoregressiveModel]:
    sizes = {"num_layers": 1, "width": 8, "num_heads": 2}
    return lambda: models.ImageTransformer(event_shape, head, attention, **{**sizes, **kwargs})


def _local(event_shape: tuple[int, int, int], head: Any, **kwargs: Any) -> Callable[[], AutoregressiveModel]:
    sizes = {"filters": 4, "num_resnets": 1, "num_stages": 1}
    return lambda: models.LocallyMaskedPixelCNN(event_shape, head, **{**sizes, **kwargs})


IMAGES: list[ModelCase] = [
    ModelCase("GatedPixelCNN_binary", _gated((3, 3, 1), heads.Bernoulli()), enumerable=True, runtimes=True),
    ModelCase(
        "GatedPixelCNN_rgb",
        _gated((2, 2, 3), heads.Categorical(2), filters=6, num_blocks=1, condition=Label(3)),
        enumerable=True,
        representative=True,
        runtimes=True,
    ),
    ModelCase(
        "GatedPixelCNN_contiguous",
        _gated(
            (3, 2, 3),
            heads.Categorical(4),
            num_blocks=1,
            channel_groups="contiguous",
            condition=Spatial(2),
            embedding_dim=2,
        ),
    ),
    ModelCase(
        "GatedPixelCNN_logistic",
        _gated((2, 3, 3), heads.DiscretizedLogisticMixture(2, bits=3), num_blocks=1, condition=Vector(2)),
    ),
    ModelCase("PixelCNN_binary", _pixel((3, 4, 1), heads.Bernoulli()), enumerable=True, blind=blind_of_pixel_cnn),
    ModelCase(
        "PixelCNN_rgb",
        _pixel((3, 5, 3), heads.Categorical(3), condition=Label(3)),
        blind=blind_of_pixel_cnn,
        representative=True,
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
        runtimes=True,
    ),
    ModelCase(
        "PixelRNN_row",
        _rnn((3, 3, 1), heads.Bernoulli(), "row_lstm"),
        enumerable=True,
        blind=blind_of_row_lstm,
        runtimes=True,
    ),
    ModelCase(
        "PixelRNN_row_logistic",
        _rnn(
            (3, 7, 3),
            heads.DiscretizedLogisticMixture(2, bits=3),
            "row_lstm",
            num_layers=2,
            kernel_size=5,
            skip=True,
            condition=Vector(2),
        ),
        blind=blind_of_row_lstm,
    ),
    ModelCase(
        "PixelRNN_row_rgb",
        _rnn((3, 5, 3), heads.Categorical(3), "row_lstm", channel_groups="contiguous", condition=Spatial(2)),
        blind=blind_of_row_lstm,
    ),
    ModelCase("PixelRNN_diagonal", _rnn((4, 4, 1), heads.Bernoulli(), "diagonal_bilstm"), enumerable=True),
    ModelCase(
        "PixelRNN_diagonal_rgb",
        _rnn((2, 4, 3), heads.Categorical(3), "diagonal_bilstm", condition=Label(3)),
        representative=True,
        runtimes=True,
    ),
    ModelCase(
        "PixelRNN_diagonal_contiguous",
        _rnn(
            (3, 4, 2),
            heads.Categorical(4),
            "diagonal_bilstm",
            num_layers=2,
            first_kernel_size=5,
            residual=False,
            skip=True,
            channel_groups="contiguous",
            condition=Spatial(2),
            embedding_dim=2,
        ),
    ),
    # Presets are tried on the events of the first case of a class: these can be halved twice.
    ModelCase(
        "PixelCNNPP_logistic",
        _pixel_pp((4, 4, 3), heads.DiscretizedLogisticMixture(2, bits=3), dropout=0.5, condition=Label(3)),
    ),
    ModelCase(
        "PixelCNNPP_binary",
        _pixel_pp((2, 4, 1), heads.Bernoulli()),
        enumerable=True,
        representative=True,
        runtimes=True,
    ),
    ModelCase(
        "PixelCNNPP_map",
        _pixel_pp((4, 2, 1), heads.Categorical(4), nonlinearity="elu", condition=Spatial(2), embedding_dim=2),
    ),
    ModelCase(
        "PixelCNNPP_sparse",
        _pixel_pp((2, 4, 1), heads.Bernoulli(), filters=8, num_resolutions=1, block_size=2, density=0.5),
        enumerable=True,
    ),
    ModelCase(
        "PixelCNNAutoencoder_code",
        lambda: models.PixelCNNAutoencoder(
            (3, 3, 1), heads.Bernoulli(), 2, 4, filters=4, num_blocks=1, first_kernel_size=3, condition_dropout=0.1
        ),
        enumerable=True,
        representative=True,
        runtimes=True,
    ),
    ModelCase(
        "PixelSNAIL_binary", _snail((3, 3, 1), heads.Bernoulli()), enumerable=True, representative=True, runtimes=True
    ),
    ModelCase(
        "PixelSNAIL_logistic",
        _snail(
            (3, 4, 3),
            heads.DiscretizedLogisticMixture(2, bits=3),
            nonlinearity="concat_elu",
            condition=Label(3),
            attention_block_size=5,
        ),
    ),
    ModelCase(
        "PixelSNAIL_pooled",
        _snail((4, 6, 1), heads.Categorical(4), attention_downsample=2, condition=Spatial(2), embedding_dim=2),
        blind=blind_of_pooled_snail,
    ),
    ModelCase(
        "MaskedAttention_zigzag",
        _attention((3, 3, 1), heads.Bernoulli(), ordering="zigzag", num_layers=2, condition=Label(3)),
        enumerable=True,
    ),
    ModelCase(
        "MaskedAttention_several",
        _attention(
            (2, 3, 1),
            heads.Categorical(3),
            ordering=["raster", "column_major", orderings.random(2, 3, seed=0)],
            condition=Label(2),
            embedding_dim=2,
        ),
        enumerable=True,
        representative=True,
        runtimes=True,
    ),
    ModelCase(
        "MaskedAttention_random",
        _attention((5,), heads.Categorical(3), ordering="random", order_annealing=(2, 8), condition=Vector(2)),
        enumerable=True,
        exempt={"complete_refuses_a_gap": "it completes whatever is observed"},
    ),
    ModelCase(
        "MaskedAttention_logistic",
        _attention(
            (2, 3, 3),
            heads.DiscretizedLogisticMixture(2, bits=3),
            ordering=orderings.snake(2, 3),
            condition=Spatial(2),
        ),
    ),
    ModelCase(
        "ImageTransformer_binary",
        _image((2, 4, 1), heads.Bernoulli(), "local_1d", block_size=2, num_layers=2),
        enumerable=True,
        blind=blind_of_image_transformer,
        representative=True,
    ),
    ModelCase(
        "ImageTransformer_rgb",
        _image((2, 3, 3), heads.Categorical(4), "local_1d", block_size=4, positions="learned", condition=Label(3)),
        blind=blind_of_image_transformer,
    ),
    ModelCase(
        "ImageTransformer_blocks",
        _image(
            (4, 4, 2),
            heads.Categorical(3),
            "local_2d",
            block_shape=(2, 2),
            memory_flange=(1, 1),
            embedding_dim=3,
            recompute=True,
            dropout=0.1,
        ),
        blind=blind_of_image_transformer,
        runtimes=True,
    ),
    ModelCase(
        "ImageTransformer_logistic",
        _image(
            (4, 4, 3),
            heads.DiscretizedLogisticMixture(2, bits=3),
            "local_2d",
            block_shape=(2, 2),
            memory_flange=(2, 0),
            attention_width=12,
            condition=Spatial(2),
        ),
        blind=blind_of_image_transformer,
    ),
    ModelCase(
        "ImageTransformer_full",
        _image((2, 3, 3), heads.DiscretizedLogisticMixture(2, bits=3), "full", norm="pre", condition=Vector(2)),
    ),
    ModelCase(
        "LocallyMaskedPixelCNN_zigzag",
        _local((3, 3, 1), heads.Bernoulli(), ordering="zigzag"),
        enumerable=True,
        blind=blind_of_locally_masked_pixel_cnn,
    ),
    ModelCase(
        "LocallyMaskedPixelCNN_several",
        _local(
            (2, 3, 1),
            heads.Categorical(3),
            ordering=["snake", "column_major", orderings.random(2, 3, seed=0)],
            kernel_size=5,
            condition=Label(2),
            embedding_dim=2,
        ),
        enumerable=True,
        representative=True,
        runtimes=True,
    ),
    ModelCase(
        "LocallyMaskedPixelCNN_logistic",
        _local(
            (3, 4, 3),
            heads.DiscretizedLogisticMixture(2, bits=3),
            ordering=orderings.snake(3, 4),
            condition=Spatial(2),
        ),
        blind=blind_of_locally_masked_pixel_cnn,
    ),
]
