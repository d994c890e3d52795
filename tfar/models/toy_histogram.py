"""The toy model: a histogram for x1 and a small network for x2 given x1.

    p(x1, x2) = p(x1) p(x2 | x1) = softmax(b)_x1  softmax(MLP(E[x1]))_x2

The first factor's likelihood has its maximum at the empirical histogram. The model's mean negative log-likelihood of x1
is then the empirical entropy, an exact reference for tests. The value x1 enters as a learned embedding
E[x1] (the same as a one-hot vector times a matrix): a network over the bare number cannot learn a table of many values.

Reference:
    Abbeel, Chen, Ho, Srinivas, CS294-158 Deep Unsupervised Learning, UC Berkeley 2019, lecture 2 and homework 1.

Differences from the course:
    An embedding of fixed size instead of a one-hot vector, so that 65,536 values are possible.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfar.core.protocols import Condition, EventShape, Head
from tfar.heads import Categorical
from tfar.layers.conditional_networks import ConditionalNetworks
from tfar.models.per_conditional import PerConditional


@dataclasses.dataclass(frozen=True)
class HistogramFit:
    """The result of `ToyHistogram.fit_histogram`.

    Attributes:
        num_examples: number of values counted.
        num_empty_bins: values that never occur; without smoothing their probability is 0 and held-out examples that
            contain one have a log-likelihood of -inf.
        smoothing: the count that was added to every bin.
        entropy: empirical entropy of the values in nats, the least possible mean negative log-likelihood.
        nats: mean negative log-likelihood of the values in nats; equal to the entropy without smoothing.
    """

    num_examples: int
    num_empty_bins: int
    smoothing: float
    entropy: float
    nats: float


@keras.saving.register_keras_serializable("tfar")
class ToyHistogram(PerConditional):
    """A histogram for x1, an MLP over an embedding of x1 for x2.

    Args:
        event_shape: (2,).
        head: `Categorical(V)` for the histogram; other heads give x1 free parameters of their own.
        hidden: sizes of the hidden layers of the MLP.
        activation: of the hidden layers.
        condition: `Label` or `Vector`, added to the hidden layer and to the logits of both factors.
        embedding_dim: size of the embedding E; "auto" is min(V, 16) for a `Categorical` head and scaled values for
            the others; None feeds scaled values.
        **kwargs: name and dtype.

    Raises:
        ValueError: event_shape is not (2,).

    Example:
        >>> import numpy as np, tfar
        >>> model = ToyHistogram((2,), tfar.heads.Categorical(3))
        >>> model.fit_histogram(np.array([0, 0, 1, 0])).num_empty_bins
        1
        >>> [round(float(p), 3) for p in model.conditionals(np.zeros([1, 2], "int32")).probs_parameter()[0, 0]]
        [0.75, 0.25, 0.0]
    """

    network: ConditionalNetworks

    PRESETS = {"toy_histogram_tiny": {"hidden": (8,)}, "toy_histogram_small": {"hidden": (64,)}}

    def __init__(
        self,
        event_shape: EventShape,
        head: Head,
        hidden: Sequence[int] = (64,),
        activation: Any = "relu",
        condition: Condition | None = None,
        embedding_dim: int | str | None = "auto",
        **kwargs: Any,
    ):
        if tuple(event_shape) != (2,):
            raise ValueError(f"event_shape must be (2,), the toy model has two variables; got {tuple(event_shape)}")
        super().__init__(event_shape, head, hidden, activation, condition, None, embedding_dim, **kwargs)

    def fit_histogram(self, x1: Any, smoothing: float = 0.0) -> HistogramFit:
        """Sets p(x1) to the histogram of the values: the maximum-likelihood solution, in closed form.

            p(x1 = v) = (count_v + smoothing) / (n + smoothing V)

        Args:
            x1: values of the first variable, int [n].
            smoothing: count added to every bin, at least 0 (1: Laplace's rule).

        Returns:
            Counts and likelihoods of the fit; `num_empty_bins` tells how many values never occurred.

        Raises:
            ValueError: the head is not `Categorical`, the model has a condition, there are no values, or values or
                smoothing are out of range.
        """
        if not isinstance(self.head, Categorical) or self.condition is not None:
            raise ValueError(
                f"fit_histogram needs a Categorical head and no condition, got {self.head!r} and {self.condition!r}"
            )
        x1 = np.asarray(x1)
        if x1.ndim != 1 or not x1.size:
            raise ValueError(f"x1 must be a vector of at least one value, got shape {x1.shape}")
        self.head.check(x1, "x1")
        if not (np.isfinite(smoothing) and smoothing >= 0):
            raise ValueError(f"smoothing must be a number of at least 0, got {smoothing!r}")
        counts = np.bincount(x1.astype(np.int64), minlength=self.head.levels)
        smoothed = counts + float(smoothing)
        with np.errstate(divide="ignore"):
            logits = np.log(smoothed) - np.log(smoothed.sum())
        bias = self.network.bias.numpy()
        bias[0] = logits
        self.network.bias.assign(bias)
        seen = counts > 0
        share = counts[seen] / x1.size
        return HistogramFit(
            num_examples=int(x1.size),
            num_empty_bins=int((~seen).sum()),
            smoothing=float(smoothing),
            entropy=float(-(share * np.log(share)).sum()),
            nats=float(-(share * logits[seen]).sum()),
        )
