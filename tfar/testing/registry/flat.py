"""Tiny models that flatten their events: MADE, and networks per conditional."""

from __future__ import annotations

from tfar import heads, models
from tfar.core import orderings
from tfar.core.conditions import Label, Vector
from tfar.models.autoregressive import AutoregressiveModel
from tfar.testing.registry.cases import ModelCase, tiny


def _not_parents(model: AutoregressiveModel) -> list[tuple[int, int]]:
    """Pairs (node, earlier node that is not among its parents) of a Bayesian network."""
    ranks = model.ordering.ranks.tolist()
    nodes = range(len(ranks))
    return [(i, j) for i in nodes for j in nodes if ranks[j] < ranks[i] and j not in model.parents[i]]


_made = tiny(models.MADE, hidden=(12,))
_toy = tiny(models.ToyHistogram)
_per_conditional = tiny(models.PerConditional)
_bayes_net = tiny(models.BayesNet, blind=_not_parents)

FLAT: list[ModelCase] = [
    _made("binary", (6,), heads.Bernoulli(), enumerable=True, runtimes=True),
    _made(
        "deep",
        (2, 2, 2),
        heads.Categorical(2),
        hidden=(14, 16),
        direct=True,
        condition=Label(2),
        ordering=orderings.snake(2, 2),
        enumerable=True,
        representative=True,
    ),
    _made(
        "logistic",
        (2, 3, 3),
        heads.DiscretizedLogisticMixture(2, bits=3),
        direct=True,
        condition=Vector(2),
        ordering=orderings.column_major(2, 3),
    ),
    _made(
        "ensemble",
        (5,),
        heads.Categorical(3),
        hidden=(12, 10),
        num_masks=2,
        order_agnostic=True,
        direct=True,
        condition=Label(2),
        embedding_dim=2,
        enumerable=True,
        runtimes=True,
    ),
    _toy("embedded", (2,), heads.Categorical(5), enumerable=True, representative=True, runtimes=True),
    _per_conditional("linear", (5,), heads.Bernoulli(), ordering=orderings.random(5, seed=1), enumerable=True),
    _per_conditional(
        "hidden",
        (4,),
        heads.Categorical(3),
        hidden=(4, 3),
        condition=Label(2),
        enumerable=True,
        representative=True,
        runtimes=True,
    ),
    _bayes_net(
        "binary",
        (5,),
        heads.Bernoulli(),
        {0: [2], 1: [4, 0], 3: [2, 1]},
        hidden=(4,),
        enumerable=True,
        representative=True,
    ),
    _bayes_net("continuous", (4,), heads.Mixture("Normal", 2), {0: [3], 1: [0, 3]}, condition=Vector(2), runtimes=True),
]
