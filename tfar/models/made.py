r"""MADE: an autoencoder whose masks make it autoregressive, in any order, or in many orders at once.

    p(x | h) = prod_d p(x_d | those before x_d in the order, h)            one pass gives all factors

Hidden units have degrees: a unit of degree m knows the elements of ranks 0, ..., m. Weights between units are masked
so that degrees never fall, and outputs see strictly smaller degrees. For the order x2, x3, x1 and four hidden units
(x marks a weight that is kept; `tfar.layers.MaskedDense` draws the same as matrices):

    rank               0        1        2
    input              x2       x3       x1
                       |\  \     \
    hidden, degree     0   0    1   1
                        \___\___ |___|
    output             x2       x3       x1            x2: bias only,  x3: units 0,  x1: units 0 and 1

Reference:
    Germain, Gregor, Murray, Larochelle, MADE: Masked Autoencoder for Distribution Estimation, ICML 2015.

Differences from the paper:
    Hidden degrees of a single mask are spread evenly instead of drawn, so that no element lacks hidden units by chance
    (`hidden_degrees="random"` draws them). The weights that tell the network its mask are left out. Any head, and a
    condition h, which every unit and every output sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfar.core.event import Event
from tfar.core.orderings import Ordering, raster
from tfar.core.protocols import Condition, EventShape, Head
from tfar.layers import MaskedDense
from tfar.layers.composite import Composite
from tfar.models.ensemble import Ensemble, flat_ordering
from tfar.models.presets import MNIST

# Degrees of hidden units: of every layer, of every member.
Degrees = Sequence[Sequence[Sequence[int]]]


@keras.saving.register_keras_serializable("tfar")
class MADENetwork(Composite):
    """Masked layers: [B, N, F] -> [B, N, outputs].

    Args:
        ranks: int [M, N], the order of every member.
        hidden_degrees: int [M, units] for every hidden layer.
        outputs: numbers per element.
        activation: of the hidden units.
        direct: whether inputs are also connected to outputs.
        kernel_initializer: of all kernels, see `MaskedDense`.
    """

    def __init__(
        self,
        ranks: np.ndarray,
        hidden_degrees: list[np.ndarray],
        outputs: int,
        activation: Any,
        direct: bool,
        kernel_initializer: keras.initializers.Initializer | None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        degrees = [ranks, *hidden_degrees]

        def masked(below: np.ndarray, own: np.ndarray, **arguments: Any) -> MaskedDense:
            # One initializer gives layers of one shape the same values; its clones do not.
            initializer = None if kernel_initializer is None else kernel_initializer.clone()
            return MaskedDense(below, own, kernel_initializer=initializer, **arguments)

        self.hidden = [masked(below, own) for below, own in zip(degrees[:-1], degrees[1:], strict=True)]
        self.outputs = masked(degrees[-1], ranks, features=outputs)
        self.direct = masked(ranks, ranks, features=outputs, use_bias=False) if direct else None
        self.activation = keras.activations.get(activation)

    def call(self, x: tf.Tensor, condition: tf.Tensor | None = None, member: tf.Tensor | None = None) -> tf.Tensor:
        """Parameters of the head for every element.

        Args:
            x: encoded elements, [B, N, F].
            condition: features of the condition, [B, ...].
            member: index of the member of an ensemble, a scalar or [B].
        """
        if condition is not None and condition.shape.rank > 2:
            condition = tf.reshape(condition, [-1, int(np.prod(condition.shape[1:]))])
        h = x
        for layer in self.hidden:
            h = self.activation(layer(h, condition, member))
        y = self.outputs(h, condition, member)
        return y if self.direct is None else y + self.direct(x, None, member)


@keras.saving.register_keras_serializable("tfar")
class MADE(Ensemble):
    """A density over events of any shape, which are flattened, by a masked autoencoder.

    With `num_masks` > 1 the model is trained connectivity-agnostic (every member has hidden degrees of its own), with
    `order_agnostic` every member has an order of its own too; see `tfar.models.ensemble.Ensemble` for the meaning
    of `log_prob`, `score` and `sample` then.

    Args:
        event_shape: (height, width, channels) or (length,).
        head: distribution of an element: of a value, or of a whole pixel (`DiscretizedLogisticMixture`).
        hidden: units of every hidden layer (paper: 500 for UCI, 8000 for MNIST); with () and `direct` the model is a
            fully visible belief net.
        activation: of the hidden units.
        direct: whether inputs are connected to outputs directly, too.
        condition: `Label`, `Vector` or `Spatial`.
        ordering: order of drawing, over the values or over the pixels of an image; or one per member.
        num_masks: number of members M.
        order_agnostic: draw the order of every member.
        hidden_degrees: "equal" (spread evenly over 0, ..., N - 2; the default of a single mask), "random" (the default
            of several), or the degrees of every hidden layer of every member.
        seed: of drawn orders and degrees; member m draws from seed + m.
        kernel_initializer: of all kernels; see `tfar.layers.MaskedDense`.
        embedding_dim: size of a learned embedding of the input values; None feeds scaled values.
        **kwargs: name and dtype.

    Raises:
        ValueError: sizes, orders or degrees that do not fit together.

    Example:
        >>> import tfar
        >>> model = MADE((6,), tfar.heads.Bernoulli(), hidden=(16,), num_masks=2)
        >>> x = model.sample(3, seed=0, jit_compile=False)
        >>> tuple(model.log_prob(x).shape), tuple(model.score(x, member=1).shape)
        ((3,), (3, 6))
    """

    PRESETS = {
        "made_tiny": {"hidden": (16,)},
        "made_small": {"hidden": (500,)},
        # One hidden layer of 500 units, one mask.
        "made_uci": {"head": ("Bernoulli",), "hidden": (500,)},
        # The best of the paper (86.64 nats), and the best with a single mask (88.40).
        "made_binarized_mnist": {**MNIST, "hidden": (8000, 8000), "num_masks": 32, "order_agnostic": True},
        "made_binarized_mnist_1": {**MNIST, "hidden": (8000,), "hidden_degrees": "random"},
    }

    def __init__(
        self,
        event_shape: EventShape,
        head: Head,
        hidden: Sequence[int] = (500,),
        activation: Any = "relu",
        direct: bool = False,
        condition: Condition | None = None,
        ordering: Ordering | Sequence[Ordering] | None = None,
        num_masks: int = 1,
        order_agnostic: bool = False,
        hidden_degrees: str | Degrees | None = None,
        seed: int = 0,
        kernel_initializer: Any = None,
        embedding_dim: int | None = None,
        **kwargs: Any,
    ):
        event = Event(event_shape, head, "sequence")
        if None in event.grid:
            raise ValueError(f"event_shape must be known for MADE, got {tuple(event_shape)}")
        if num_masks < 1 or any(units < 1 for units in hidden):
            raise ValueError(f"num_masks and hidden must be positive, got {num_masks} and {tuple(hidden)}")
        if hidden_degrees is None:
            hidden_degrees = "equal" if num_masks == 1 else "random"
        orderings = _orderings(ordering, event, num_masks)
        ranks, degrees = draw_degrees(
            np.stack([each.ranks for each in orderings]), tuple(hidden), order_agnostic, hidden_degrees, seed
        )
        initializer = None if kernel_initializer is None else keras.initializers.get(kernel_initializer)
        network = MADENetwork(ranks, degrees, event.num_outputs, activation, direct, initializer)
        own: dict[str, Any] = {"condition": condition, "embedding_dim": embedding_dim, "layout": "sequence"}
        super().__init__(network, event_shape, head, [Ordering(row) for row in ranks], **own, **kwargs)
        self.kernel_initializer, self._ordering = initializer, self.orderings
        self.hidden_degrees = [[layer[member].tolist() for layer in degrees] for member in range(num_masks)]

    def member(self, index: int) -> MADE:
        """Returns a copy of one member as a model of its own, with a single mask.

        Args:
            index: of the member.
        """
        if not 0 <= index < self.num_members:
            raise ValueError(f"index must be from 0 to {self.num_members - 1}, got {index}")
        config = self.get_config()
        own = {"ordering": config["ordering"][index : index + 1], "hidden_degrees": [self.hidden_degrees[index]]}
        copy = type(self).from_config({**config, **own, "num_masks": 1})
        for weight, value in zip(copy.trainable_weights, self.trainable_weights, strict=True):
            weight.assign(value)
        return copy

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; orders and degrees as they were drawn, so that no generator is needed again."""
        config = super().get_config()
        return {name: value for name, value in config.items() if name not in ("order_agnostic", "seed")}


def _orderings(ordering: Any, event: Event, num_masks: int) -> list[Ordering]:
    """One order of the flat cells per member."""
    if ordering is None:
        ordering = raster(event.num_cells)
    every = [ordering] * num_masks if isinstance(ordering, Ordering) else list(ordering)
    if len(every) != num_masks:
        raise ValueError(f"ordering must be one order, or one per mask ({num_masks}), got {len(every)}")
    return [flat_ordering(each, event) for each in every]


def draw_degrees(
    ranks: np.ndarray, hidden: tuple[int, ...], order_agnostic: bool, hidden_degrees: str | Degrees, seed: int
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Degrees of inputs and hidden units.

    Args:
        ranks: int [M, N], orders to use unless they are drawn.
        hidden: units of every layer.
        order_agnostic: whether orders are drawn.
        hidden_degrees: see `MADE`.
        seed: member m draws from seed + m: its order first, then the degrees of every layer, uniformly between the
            smallest degree of the layer before and N - 2.

    Returns:
        Ranks int32 [M, N], and for every layer degrees int32 [M, units].

    Raises:
        ValueError: unknown or ill-formed `hidden_degrees`.
    """
    members, size = ranks.shape
    ranks, largest = ranks.copy(), max(size - 2, 0)
    if isinstance(hidden_degrees, str) and hidden_degrees not in ("equal", "random"):
        raise ValueError(f'hidden_degrees must be "equal", "random" or numbers, got {hidden_degrees!r}')
    every = []
    for member in range(members):
        rng = np.random.RandomState(seed + member)
        if order_agnostic:
            ranks[member] = rng.permutation(size)
        if hidden_degrees == "equal":
            layers = [np.ceil(np.linspace(0, largest, units)).astype(int) for units in hidden]
        elif hidden_degrees == "random":
            layers, smallest = [], 0
            for units in hidden:
                layers.append(rng.randint(smallest, largest + 1, size=units))
                smallest = layers[-1].min()
        else:
            layers = [np.asarray(layer) for layer in hidden_degrees[member]] if member < len(hidden_degrees) else []
        every.append(layers)
    if (
        isinstance(hidden_degrees, str)
        or [[len(layer) for layer in layers] for layers in every] == [list(hidden)] * members
    ):
        return ranks.astype(np.int32), [np.stack(layer).astype(np.int32) for layer in zip(*every, strict=True)]
    raise ValueError(f"hidden_degrees must hold {members} members with layers of {hidden} degrees")
