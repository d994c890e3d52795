"""Tiny models: every class in its variants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tfar import heads, models
from tfar.core import orderings
from tfar.core.conditions import Label, Local, Vector
from tfar.models.autoregressive import AutoregressiveModel
from tfar.testing.blind import (
    blind_of_causal_conv_net,
    blind_of_wavenet,
)
from tfar.testing.registry.cases import ModelCase
from tfar.testing.registry.images import IMAGES


def _causal(length: int | None, head: Any, **kwargs: Any) -> Callable[[], AutoregressiveModel]:
    return lambda: models.CausalConvNet((length,), head, **{"filters": 4, "num_layers": 3, **kwargs})


def _transformer(length: int | None, head: Any, **kwargs: Any) -> Callable[[], AutoregressiveModel]:
    return lambda: models.CausalTransformer((length,), head, **{"width": 8, "num_layers": 2, "num_heads": 2, **kwargs})


def _wavenet(length: int | None, head: Any, **kwargs: Any) -> Callable[[], AutoregressiveModel]:
    sizes = {"residual_channels": 4, "dilation_channels": 3, "skip_channels": 5, "dilations": [1, 2]}
    return lambda: models.WaveNet((length,), head, **{**sizes, **kwargs})


def _not_parents(model: AutoregressiveModel) -> list[tuple[int, int]]:
    """Pairs (node, earlier node that is not among its parents) of a Bayesian network."""
    ranks = model.ordering.ranks.tolist()
    nodes = range(len(ranks))
    return [(i, j) for i in nodes for j in nodes if ranks[j] < ranks[i] and j not in model.parents[i]]


MODELS: list[ModelCase] = [
    *IMAGES,
    ModelCase(
        "CausalConvNet_gated",
        _causal(8, heads.Categorical(3), condition=Label(3)),
        enumerable=True,
        blind=blind_of_causal_conv_net,
        representative=True,
        runtimes=True,
    ),
    ModelCase(
        "CausalConvNet_relu",
        _causal(12, heads.Categorical(5), activation="relu", dilations=[2, 4, 1], kernel_size=3, condition=Vector(2)),
        blind=blind_of_causal_conv_net,
    ),
    ModelCase(
        "CausalTransformer_learned",
        _transformer(5, heads.Categorical(3), num_layers=1, condition=Label(3)),
        enumerable=True,
        representative=True,
        runtimes=True,
    ),
    ModelCase(
        "CausalTransformer_rotary",
        _transformer(6, heads.Categorical(4), positions="rotary", activation="relu", vocabulary="ehlo"),
    ),
    ModelCase(
        "CausalTransformer_continuous",
        _transformer(4, heads.Mixture("Normal", 2), num_layers=1, condition=Vector(2)),
    ),
    ModelCase(
        "CharRNN_lstm",
        lambda: models.CharRNN((6,), heads.Categorical(3), units=4, condition=Label(2)),
        enumerable=True,
        representative=True,
        runtimes=True,
    ),
    ModelCase(
        "CharRNN_gru",
        lambda: models.CharRNN((5,), heads.Categorical(4), units=4, cell="gru", vocabulary="ehlo", embedding_dim=2),
    ),
    ModelCase(
        "CharRNN_vanilla",
        lambda: models.CharRNN((2, 2, 2), heads.Bernoulli(), units=5, cell="vanilla", condition=Vector(2)),
        enumerable=True,
    ),
    ModelCase(
        "WaveNet_one_hot",
        _wavenet(7, heads.Categorical(3), condition=Label(3)),
        enumerable=True,
        blind=blind_of_wavenet,
        representative=True,
    ),
    ModelCase(
        "WaveNet_local",
        _wavenet(12, heads.Categorical(5), condition=Local(2, hop=4), upsampling="transposed", embedding_dim=3),
        blind=blind_of_wavenet,
        runtimes=True,
    ),
    ModelCase(
        "WaveNet_logistic",
        _wavenet(
            10,
            heads.DiscretizedLogisticMixture(2, bits=16),
            kernel_size=3,
            first_kernel_size=1,
            first_bias=True,
            residual_scale=0.7,
            skip_scale=0.5,
            condition=Vector(2),
        ),
        blind=blind_of_wavenet,
    ),
    ModelCase(
        "MADE_binary", lambda: models.MADE((6,), heads.Bernoulli(), hidden=(12,)), enumerable=True, runtimes=True
    ),
    ModelCase(
        "MADE_deep",
        lambda: models.MADE(
            (2, 2, 2),
            heads.Categorical(2),
            hidden=(14, 16),
            direct=True,
            condition=Label(2),
            ordering=orderings.snake(2, 2),
        ),
        enumerable=True,
        representative=True,
    ),
    ModelCase(
        "MADE_logistic",
        lambda: models.MADE(
            (2, 3, 3),
            heads.DiscretizedLogisticMixture(2, bits=3),
            hidden=(12,),
            direct=True,
            condition=Vector(2),
            ordering=orderings.column_major(2, 3),
        ),
    ),
    ModelCase(
        "MADE_ensemble",
        lambda: models.MADE(
            (5,),
            heads.Categorical(3),
            hidden=(12, 10),
            num_masks=2,
            order_agnostic=True,
            direct=True,
            condition=Label(2),
            embedding_dim=2,
        ),
        enumerable=True,
        runtimes=True,
    ),
    ModelCase(
        "ToyHistogram_embedded",
        lambda: models.ToyHistogram((2,), heads.Categorical(5)),
        enumerable=True,
        representative=True,
        runtimes=True,
    ),
    ModelCase(
        "PerConditional_linear",
        lambda: models.PerConditional((5,), heads.Bernoulli(), ordering=orderings.random(5, seed=1)),
        enumerable=True,
    ),
    ModelCase(
        "PerConditional_hidden",
        lambda: models.PerConditional((4,), heads.Categorical(3), hidden=(4, 3), condition=Label(2)),
        enumerable=True,
        representative=True,
        runtimes=True,
    ),
    ModelCase(
        "BayesNet_binary",
        lambda: models.BayesNet((5,), heads.Bernoulli(), {0: [2], 1: [4, 0], 3: [2, 1]}, hidden=(4,)),
        enumerable=True,
        blind=_not_parents,
        representative=True,
    ),
    ModelCase(
        "BayesNet_continuous",
        lambda: models.BayesNet((4,), heads.Mixture("Normal", 2), {0: [3], 1: [0, 3]}, condition=Vector(2)),
        blind=_not_parents,
        runtimes=True,
    ),
]
