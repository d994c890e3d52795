"""One approximator per conditional: D separate networks, net i over the i values that come before it.

    p(x | h) = prod_i p(x_i | net_i(x_<i, h))

References:
    Frey, Hinton, Dayan, Does the wake-sleep algorithm produce good density estimators?, NIPS 1996: the fully visible
        sigmoid belief network (FVSBN), linear nets: `hidden=()`.
    Bengio, Bengio, Modeling High-Dimensional Discrete Data with Multi-Layer Neural Networks, NIPS 2000 (hidden layers).

Differences from the papers:
    Any head, ordering and condition. Bengio and Bengio share weights between the nets; here nothing is shared (what
    sharing buys is the next model of the field, MADE).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from tfar.core.orderings import Ordering
from tfar.core.protocols import Condition, EventShape, Head
from tfar.models.bayes_net import BayesNet


@keras.saving.register_keras_serializable("tfar")
class PerConditional(BayesNet):
    """A separate network for every conditional: the Bayesian network of the complete graph.

    Net 0 is a bias. Linear nets with a Bernoulli head have D(D - 1)/2 + D parameters, 307,720 for D = 784; with H
    hidden units about H D(D - 1)/2.

    Args:
        event_shape: (D,), or (height, width, channels), which is flattened.
        head: distribution of every factor: `Bernoulli`, `Categorical`, `Mixture`, ...
        hidden: sizes of the hidden layers of every net; () gives linear nets (FVSBN).
        activation: of the hidden layers.
        condition: `Label` or `Vector`, added to the first hidden layer and to the outputs of every net.
        ordering: order of drawing, any; raster by default.
        embedding_dim: size of the learned embedding of the values; None feeds scaled values; "auto" embeds for a
            `Categorical` head (min(levels, 16) numbers) and scales for the others.
        **kwargs: name and dtype.

    Example:
        >>> import tfar
        >>> model = PerConditional((784,), tfar.heads.Bernoulli())
        >>> model.count_params()
        307720
    """

    PRESETS = {"per_conditional_tiny": {"hidden": (4,)}, "per_conditional_small": {"hidden": (32,)}}

    def __init__(
        self,
        event_shape: EventShape,
        head: Head,
        hidden: Sequence[int] = (),
        activation: Any = "relu",
        condition: Condition | None = None,
        ordering: Ordering | None = None,
        embedding_dim: int | str | None = "auto",
        **kwargs: Any,
    ):
        graph = None, None
        super().__init__(event_shape, head, *graph, hidden, activation, condition, ordering, embedding_dim, **kwargs)
