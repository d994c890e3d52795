"""Bayesian network: every variable given its parents in a directed acyclic graph, each conditional a small network.

    p(x | h) = prod_i p(x_i | x_j : j in parents(i), h)

References:
    Pearl, Probabilistic Reasoning in Intelligent Systems, 1988 (the graph and the independences that it implies).
    Neal, Connectionist learning of belief networks, 1992 (a logistic unit per conditional: `hidden=()`).

Differences from the literature:
    Conditionals are neural networks over the parents' values, not tables; with a hidden layer and enough data they
    come as close to any table as one likes, and the graph's independences hold exactly by construction.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from tfar.core.conditions import Label, Vector
from tfar.core.event import Event
from tfar.core.orderings import Ordering, from_permutation, raster
from tfar.core.protocols import Condition, EventShape, Head
from tfar.heads import Categorical
from tfar.layers import ConditionalNetworks
from tfar.models.autoregressive import AutoregressiveModel

Node = str | int

# === The graph ===


def parents_by_node(
    parents: Mapping[Node, Sequence[Node]] | Sequence[Sequence[Node]], names: Sequence[str] | None, num_nodes: int
) -> list[list[int]]:
    """Returns the parents of every node as sorted indices.

    Args:
        parents: {child: its parents}, nodes without an entry having none; or a row of parents for every node.
        names: name of every node, or None where nodes are indices.
        num_nodes: number of nodes.

    Raises:
        ValueError: an unknown node, or a parent that is named twice.

    Example:
        >>> parents_by_node({"c": ["b", "a"]}, ["a", "b", "c"], 3)
        [[], [], [0, 1]]
    """
    if names is not None and (len(names) != num_nodes or len(set(names)) != num_nodes):
        raise ValueError(f"names must be {num_nodes} different names, one for each node, got {list(names)}")
    known = {name: index for index, name in enumerate(names or [])}

    def index(node: Node) -> int:
        if node in known:
            return known[node]
        if isinstance(node, str):
            accepted = f"one of {list(names)}" if names else "an index, or names= must be given"
            raise ValueError(f"parents holds node {node!r}; a node must be {accepted}")
        if isinstance(node, bool) or not 0 <= int(node) < num_nodes:
            raise ValueError(f"parents holds node {node!r}; an index must be from 0 to {num_nodes - 1}")
        return int(node)

    rows: list[list[int]] = [[] for _ in range(num_nodes)]
    items = parents.items() if isinstance(parents, Mapping) else enumerate(parents)
    for child, row in items:
        indices = sorted(index(node) for node in ([row] if isinstance(row, str) else row))
        if len(set(indices)) != len(indices):
            raise ValueError(f"parents of {child!r} must be different nodes, got {list(row)}")
        if rows[index(child)]:
            raise ValueError(f"parents names the child {child!r} twice, by name and by index")
        rows[index(child)] = indices
    return rows


def topological_order(parents: Sequence[Sequence[int]], names: Sequence[str] | None = None) -> list[int]:
    """Nodes in an order in which parents come before their children; of several possible nodes the lowest first.

    Raises:
        ValueError: the graph has a cycle, which is named.

    Example:
        >>> topological_order([[2], [0], []])
        [2, 0, 1]
    """
    waiting = [len(row) for row in parents]
    children: list[list[int]] = [[] for _ in parents]
    for child, row in enumerate(parents):
        for parent in row:
            children[parent].append(child)
    ready = [node for node, count in enumerate(waiting) if count == 0]
    order = []
    while ready:
        node = heapq.heappop(ready)
        order.append(node)
        for child in children[node]:
            waiting[child] -= 1
            if waiting[child] == 0:
                heapq.heappush(ready, child)
    if len(order) < len(parents):
        cycle = _cycle(parents, set(range(len(parents))) - set(order))
        raise ValueError(f"parents has a cycle: {' -> '.join(str(names[node] if names else node) for node in cycle)}")
    return order


def _cycle(parents: Sequence[Sequence[int]], among: set[int]) -> list[int]:
    """A cycle from parent to child among nodes that each have a parent among them; its lowest node stands first."""
    path = [min(among)]
    while True:
        parent = next(node for node in parents[path[-1]] if node in among)
        if parent in path:
            cycle = path[path.index(parent) :][::-1]
            first = cycle.index(min(cycle))
            return [*cycle[first:], *cycle[:first], min(cycle)]
        path.append(parent)


# === The model ===


@keras.saving.register_keras_serializable("tfar")
class BayesNet(AutoregressiveModel):
    """A Bayesian network whose conditionals are neural networks over the parents.

    A node that is no parent of another is not even connected to it, so every independence that the graph implies
    (d-separation) holds exactly, whatever the weights.

    Args:
        event_shape: (D,) for D nodes; images are flattened to one node per value (per pixel where the head models
            whole pixels).
        head: distribution of every node: `Bernoulli`, `Categorical`, `Mixture`, ...
        parents: {child: [its parents]} by name or index, nodes without an entry having no parents (or the rows of all
            nodes). None is the complete graph: no independence is assumed where none is stated.
        names: name of every node; needed where `parents` uses names.
        hidden: sizes of the hidden layers of every conditional; () gives logistic units.
        activation: of the hidden layers.
        condition: `Label` or `Vector`, added to the first hidden layer and to the outputs of every node.
        ordering: order of drawing, parents before children; by default a topological order, lowest index first.
        embedding_dim: size of the learned embedding of the values; None feeds scaled values; "auto" embeds for a
            `Categorical` head (levels have no scale; min(levels, 16) numbers), and scales for the others.
        **kwargs: name and dtype.

    Attributes:
        parents: sorted indices of the parents of every node; None for the complete graph.
        names: names of the nodes, or None.

    Raises:
        ValueError: a cycle (named: "a -> b -> a"), an unknown node, or an ordering that draws a child first.

    Example:
        >>> import tfar
        >>> sprinkler = {"sprinkler": ["rain"], "wet": ["rain", "sprinkler"]}
        >>> model = BayesNet((3,), tfar.heads.Bernoulli(), parents=sprinkler, names=["sprinkler", "rain", "wet"])
        >>> model.ordering.permutation.tolist()                     # rain, sprinkler, wet
        [1, 0, 2]
        >>> tuple(model.sample(4, seed=0, jit_compile=False).shape)
        (4, 3)
    """

    CONDITIONS = (Label, Vector)
    PRESETS = {"bayes_net_tiny": {"hidden": (4,)}, "bayes_net_small": {"hidden": (32,)}}

    def __init__(
        self,
        event_shape: EventShape,
        head: Head,
        parents: Mapping[Node, Sequence[Node]] | Sequence[Sequence[Node]] | None = None,
        names: Sequence[str] | None = None,
        hidden: Sequence[int] = (16,),
        activation: Any = "relu",
        condition: Condition | None = None,
        ordering: Ordering | None = None,
        embedding_dim: int | str | None = "auto",
        **kwargs: Any,
    ):
        event = Event(event_shape, head, layout="sequence")
        if None in event.grid:
            raise ValueError(f"event_shape must be known, one network per position is built; got {event.event_shape}")
        size: Any = embedding_dim
        if size == "auto":
            size = min(event.head.levels, 16) if isinstance(event.head, Categorical) else None
        if ordering is not None and ordering.shape != event.grid and ordering.ranks.size == event.num_cells:
            ordering = Ordering(ordering.ranks.reshape(-1))  # an ordering of an image's pixels
        rows = None if parents is None else parents_by_node(parents, names, event.num_cells)
        first = raster(event.num_cells) if rows is None else from_permutation(topological_order(rows, names))
        ordering = ordering or first
        network = ConditionalNetworks(event.num_cells, event.num_outputs, rows, hidden, activation, ordering)
        super().__init__(network, event_shape, head, condition, ordering, size, layout="sequence", **kwargs)
        self.parents = None if rows is None else tuple(map(tuple, rows))
        self.names = None if names is None else tuple(names)
