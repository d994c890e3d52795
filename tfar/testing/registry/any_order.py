"""Tiny models that draw in other orders than raster, too."""

from __future__ import annotations

from tfar import heads, models
from tfar.core import orderings
from tfar.core.conditions import Label, Spatial, Vector
from tfar.testing.blind import blind_of_image_transformer, blind_of_locally_masked_pixel_cnn
from tfar.testing.registry.cases import ModelCase, tiny

_LOGISTIC = heads.DiscretizedLogisticMixture(2, bits=3)

_attention = tiny(models.MaskedAttention, num_layers=1, width=8, num_heads=2)
_image = tiny(models.ImageTransformer, num_layers=1, width=8, num_heads=2, blind=blind_of_image_transformer)
_local = tiny(
    models.LocallyMaskedPixelCNN, filters=4, num_resnets=1, num_stages=1, blind=blind_of_locally_masked_pixel_cnn
)

ANY_ORDER: list[ModelCase] = [
    _attention(
        "zigzag", (3, 3, 1), heads.Bernoulli(), ordering="zigzag", num_layers=2, condition=Label(3), enumerable=True
    ),
    _attention(
        "several",
        (2, 3, 1),
        heads.Categorical(3),
        ordering=["raster", "column_major", orderings.random(2, 3, seed=0)],
        condition=Label(2),
        embedding_dim=2,
        enumerable=True,
        representative=True,
        runtimes=True,
    ),
    _attention(
        "random",
        (5,),
        heads.Categorical(3),
        ordering="random",
        order_annealing=(2, 8),
        condition=Vector(2),
        enumerable=True,
        exempt={"complete_refuses_a_gap": "it completes whatever is observed"},
    ),
    _attention("logistic", (2, 3, 3), _LOGISTIC, ordering=orderings.snake(2, 3), condition=Spatial(2)),
    _image(
        "binary",
        (2, 4, 1),
        heads.Bernoulli(),
        "local_1d",
        block_size=2,
        num_layers=2,
        enumerable=True,
        representative=True,
    ),
    _image("rgb", (2, 3, 3), heads.Categorical(4), "local_1d", block_size=4, positions="learned", condition=Label(3)),
    _image(
        "blocks",
        (4, 4, 2),
        heads.Categorical(3),
        "local_2d",
        block_shape=(2, 2),
        memory_flange=(1, 1),
        embedding_dim=3,
        recompute=True,
        dropout=0.1,
        runtimes=True,
    ),
    _image(
        "logistic",
        (4, 4, 3),
        _LOGISTIC,
        "local_2d",
        block_shape=(2, 2),
        memory_flange=(2, 0),
        attention_width=12,
        condition=Spatial(2),
    ),
    _image("full", (2, 3, 3), _LOGISTIC, "full", norm="pre", condition=Vector(2), blind=None),
    _local("zigzag", (3, 3, 1), heads.Bernoulli(), ordering="zigzag", enumerable=True),
    _local(
        "several",
        (2, 3, 1),
        heads.Categorical(3),
        ordering=["snake", "column_major", orderings.random(2, 3, seed=0)],
        kernel_size=5,
        condition=Label(2),
        embedding_dim=2,
        enumerable=True,
        blind=None,
        representative=True,
        runtimes=True,
    ),
    _local("logistic", (3, 4, 3), _LOGISTIC, ordering=orderings.snake(3, 4), condition=Spatial(2)),
]
