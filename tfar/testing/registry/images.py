"""Tiny models of images in raster order."""

from __future__ import annotations

from tfar import heads, models
from tfar.core.conditions import Label, Spatial, Vector
from tfar.testing.blind import blind_of_pixel_cnn, blind_of_pooled_snail, blind_of_row_lstm
from tfar.testing.registry.cases import ModelCase, tiny

_LOGISTIC = heads.DiscretizedLogisticMixture(2, bits=3)

_gated = tiny(models.GatedPixelCNN, filters=4, num_blocks=1, kernel_size=3, first_kernel_size=3)
_pixel = tiny(models.PixelCNN, filters=6, num_blocks=1, first_kernel_size=3, blind=blind_of_pixel_cnn)
_rnn = tiny(models.PixelRNN, filters=6, num_layers=1, first_kernel_size=3, cell="diagonal_bilstm")
_row = tiny(models.PixelRNN, filters=6, num_layers=1, first_kernel_size=3, cell="row_lstm", blind=blind_of_row_lstm)
_pixel_pp = tiny(models.PixelCNNPP, filters=4, num_resnets=1, num_resolutions=2, dropout=0.0)
_autoencoder = tiny(models.PixelCNNAutoencoder, filters=4, num_blocks=1, first_kernel_size=3)
_snail = tiny(models.PixelSNAIL, filters=4, num_blocks=1, num_resnets=1, key_dim=3, dropout=0.0)

IMAGES: list[ModelCase] = [
    _gated("binary", (3, 3, 1), heads.Bernoulli(), num_blocks=2, enumerable=True, runtimes=True),
    _gated(
        "rgb",
        (2, 2, 3),
        heads.Categorical(2),
        filters=6,
        condition=Label(3),
        enumerable=True,
        representative=True,
        runtimes=True,
    ),
    _gated(
        "contiguous",
        (3, 2, 3),
        heads.Categorical(4),
        channel_groups="contiguous",
        condition=Spatial(2),
        embedding_dim=2,
    ),
    _gated("logistic", (2, 3, 3), _LOGISTIC, condition=Vector(2)),
    _pixel("binary", (3, 4, 1), heads.Bernoulli(), enumerable=True),
    _pixel("rgb", (3, 5, 3), heads.Categorical(3), condition=Label(3), representative=True),
    _pixel(
        "contiguous",
        (4, 3, 3),
        heads.Categorical(4),
        channel_groups="contiguous",
        condition=Spatial(2),
        embedding_dim=2,
    ),
    _pixel("logistic", (3, 4, 3), _LOGISTIC, num_blocks=2, condition=Vector(2), runtimes=True),
    _row("row", (3, 3, 1), heads.Bernoulli(), enumerable=True, runtimes=True),
    _row("row_logistic", (3, 7, 3), _LOGISTIC, num_layers=2, kernel_size=5, skip=True, condition=Vector(2)),
    _row("row_rgb", (3, 5, 3), heads.Categorical(3), channel_groups="contiguous", condition=Spatial(2)),
    _rnn("diagonal", (3, 4, 1), heads.Bernoulli(), enumerable=True),
    _rnn("diagonal_rgb", (2, 4, 3), heads.Categorical(3), condition=Label(3), representative=True, runtimes=True),
    _rnn(
        "diagonal_contiguous",
        (3, 4, 2),
        heads.Categorical(4),
        num_layers=2,
        first_kernel_size=5,
        residual=False,
        skip=True,
        channel_groups="contiguous",
        condition=Spatial(2),
        embedding_dim=2,
    ),
    # Presets are tried on the events of the first case of a class: these can be halved twice.
    _pixel_pp("logistic", (4, 4, 3), _LOGISTIC, dropout=0.5, condition=Label(3)),
    _pixel_pp("binary", (2, 4, 1), heads.Bernoulli(), enumerable=True, representative=True, runtimes=True),
    _pixel_pp("map", (4, 2, 1), heads.Categorical(4), nonlinearity="elu", condition=Spatial(2), embedding_dim=2),
    _pixel_pp(
        "sparse", (2, 4, 1), heads.Bernoulli(), filters=8, num_resolutions=1, block_size=2, density=0.5, enumerable=True
    ),
    _autoencoder(
        "code",
        (3, 3, 1),
        heads.Bernoulli(),
        2,
        4,
        condition_dropout=0.1,
        enumerable=True,
        representative=True,
        runtimes=True,
    ),
    _snail("binary", (3, 3, 1), heads.Bernoulli(), enumerable=True, representative=True, runtimes=True),
    _snail("logistic", (3, 4, 3), _LOGISTIC, nonlinearity="concat_elu", condition=Label(3), attention_block_size=5),
    _snail(
        "pooled",
        (4, 6, 1),
        heads.Categorical(4),
        attention_downsample=2,
        condition=Spatial(2),
        embedding_dim=2,
        blind=blind_of_pooled_snail,
    ),
]
