r"""Locally masked PixelCNN: a convolutional network in any order of drawing, with one set of weights.

    p(x | h) = prod_t p(x_(pi_t) | x_(pi_1), ..., x_(pi_(t-1)), h)            pi: the order, the pixel of every rank

Every kernel has a mask of its own at every pixel, which keeps the pixels drawn before that one (see
`tfar.layers.LocallyMaskedConv2D`). One stream of gated residual blocks at full resolution, with shortcuts from the
first half to the second; where PixelCNN++ changes the resolution, there are dilated convolutions:

    x, 1 --- first --- blocks --- dilated --- blocks --- dilated --- blocks --.
               |         |           |          |           |          |      |        "first" is exclusive,
               v         v           v          v           v          v      |        everything else inclusive
    out --- blocks --- dilated --- blocks --- dilated --- blocks -------------'

Reference:
    Jain, Abbeel, Pathak, Locally Masked Convolution for Autoregressive Models, UAI 2020.

Differences from the paper:
    Every training example has an order of its own (there: every batch). Any head, conditions, dropout, and
    random orders (`ordering="random"`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfar.core.checks import check_sizes
from tfar.core.conditions import Label, Spatial, Vector
from tfar.core.event import Event
from tfar.core.example_orders import select_order
from tfar.core.orderings import Ordering
from tfar.core.protocols import Condition, EventShape, Head
from tfar.layers import LocallyMaskedConv2D
from tfar.layers.composite import Composite
from tfar.layers.gated_resnet import concat_elu
from tfar.layers.ordered import cells_at_hand
from tfar.models.any_order import AnyOrder, trained_orderings
from tfar.models.presets import RGB_PIXELS


@keras.saving.register_keras_serializable("tfar")
class LocallyMaskedBlock(Composite):
    r"""A gated residual block, [B, N, filters] -> [B, N, filters].

    x --- concat_elu --- conv --- norm --- add --- concat_elu --- dropout --- conv --- add V h --- f, g
    |                                       |                                                       |
    |         earlier --- concat_elu --- 1 x 1                                       norm(f) sigmoid(g)
    \_____________________________________________________________________________________ add ____/
    """

    def __init__(
        self, filters: int, conv: dict[str, Any], shortcut: bool, conditional: bool, dropout: float, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.first, self.first_norm = LocallyMaskedConv2D(filters, **conv), _normalization()
        self.shortcut = keras.layers.Dense(filters) if shortcut else None
        self.dropout = keras.layers.Dropout(dropout)
        self.second, self.second_norm = LocallyMaskedConv2D(2 * filters, **conv), _normalization()
        self.condition = keras.layers.Dense(2 * filters, use_bias=False) if conditional else None

    def call(self, x: tf.Tensor, order: Any, earlier: tf.Tensor | None = None, condition: Any = None) -> tf.Tensor:
        """[B, N, filters] of this and of an earlier layer, and features [B, 1 or N, d] -> [B, N, filters]."""
        y = self.first_norm(self.first(concat_elu(x), order))
        if self.shortcut is not None:
            y += self.shortcut(concat_elu(earlier))
        y = self.second(self.dropout(concat_elu(y)), order)
        if self.condition is not None:
            y += self.condition(condition)
        f, g = tf.split(y, 2, -1)
        return x + self.second_norm(f) * tf.sigmoid(g)


@keras.saving.register_keras_serializable("tfar")
class LocallyMaskedNetwork(Composite):
    """First layer, blocks up, blocks down with shortcuts, ELU, outputs: [B, N, F] -> [B, N, outputs].

    Args:
        permutations: int [M, N], the order of every member.
        filters: features of every layer.
        num_resnets: blocks of a stage.
        num_stages: stages of each half, with a dilated convolution between two of them.
        dilation_rate: of these.
        conv: arguments of every convolution.
        conditional: whether there is a condition.
        outputs: numbers per pixel.
        dropout: rate in every block.
    """

    def __init__(
        self,
        permutations: np.ndarray,
        filters: int,
        num_resnets: int,
        num_stages: int,
        dilation_rate: int,
        conv: dict[str, Any],
        conditional: bool,
        outputs: int,
        dropout: float,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._permutations = permutations

        def blocks(count: int, shortcut: bool) -> list[LocallyMaskedBlock]:
            return [LocallyMaskedBlock(filters, conv, shortcut, conditional, dropout) for _ in range(count)]

        def between() -> list[LocallyMaskedConv2D]:
            return [LocallyMaskedConv2D(filters, dilation_rate=dilation_rate, **conv) for _ in range(num_stages - 1)]

        # The first pixel sees nothing but this bias, and a normalization magnifies what is near 0.
        bias = keras.initializers.RandomNormal(stddev=0.1)
        self.first = LocallyMaskedConv2D(filters, exclusive=True, mask_channel=True, bias_initializer=bias, **conv)
        self.first_norm = _normalization()
        self.up = [blocks(num_resnets, False) for _ in range(num_stages)]
        self.up_dilated, self.up_norms = between(), [_normalization() for _ in range(num_stages - 1)]
        # Every layer of the first half but the last hands its features over.
        self.down = [blocks(num_resnets + int(stage > 0), True) for stage in range(num_stages)]
        self.down_dilated, self.down_norms = between(), [_normalization() for _ in range(num_stages - 1)]
        self.outputs = keras.layers.Dense(outputs)

    def call(self, x: tf.Tensor, condition: Any = None, order: Any = None, member: Any = None) -> tf.Tensor:
        """Parameters of the head for every pixel; in a step those of the pixel of this rank.

        Args:
            x: encoded pixels as stored, [B, N, F]; in a step the pixel that was drawn last, [B, n, F].
            condition: its features.
            order: int [B, N], an order for every example instead of the model's.
            member: index of one of the trained orders, a scalar or [B].
        """
        order = select_order(self._permutations, order, member)
        condition = _at_pixels(condition, order)
        u = self.first_norm(self.first(x, order))
        features = [u]
        for stage, blocks in enumerate(self.up):
            if stage:
                u = self.up_norms[stage - 1](self.up_dilated[stage - 1](u, order))
                features.append(u)
            for block in blocks:
                u = block(u, order, condition=condition)
                features.append(u)
        features.pop()
        for stage, blocks in enumerate(self.down):
            if stage:
                u = self.down_norms[stage - 1](self.down_dilated[stage - 1](u, order))
            for block in blocks:
                u = block(u, order, features.pop(), condition)
        return self.outputs(tf.nn.elu(u))


def _normalization() -> keras.layers.Layer:
    """Over the features of one pixel: what is normalized over pixels leaks."""
    return keras.layers.LayerNormalization(epsilon=1e-5)


def _at_pixels(condition: tf.Tensor | None, order: Any) -> tf.Tensor | None:
    """Returns a vector [B, 1, d]; of a map [B, H, W, d] the pixels at hand, [B, N or n, d]."""
    if condition is None:
        return None
    if condition.shape.rank == 2:
        return condition[:, None]
    pixels = tf.reshape(condition, [tf.shape(condition)[0], -1, condition.shape[-1]])
    return cells_at_hand(pixels, order)


@keras.saving.register_keras_serializable("tfar")
class LocallyMaskedPixelCNN(AnyOrder):
    """A density over images by convolutions, in any order.

    Args:
        event_shape: (height, width, channels).
        head: distribution of a whole pixel (`DiscretizedLogisticMixture`), or of a value where there is one channel.
        ordering: the order or the orders of the pixels: an `Ordering`, a name ("raster", "snake", "hilbert", ...;
            "snakes" for the paper's eight), a list of these, or "random" for all; see
            `tfar.models.any_order.AnyOrder`. Raster by default.
        filters: features of every layer.
        num_resnets: blocks of a stage in the first half.
        num_stages: stages of each half.
        kernel_size: k, odd.
        dilation_rate: of the convolutions between stages.
        dropout: rate in every block.
        condition: `Label`, `Vector` or `Spatial`, added in every block.
        embedding_dim: size of a learned embedding of the input values; None feeds scaled values.
        order_annealing: (begin, end): see `AnyOrder`.
        **kwargs: name and dtype.

    Raises:
        ValueError: sizes or orders that do not fit.

    Example:
        >>> import tfar
        >>> sizes = {"filters": 4, "num_resnets": 1, "num_stages": 1}
        >>> model = LocallyMaskedPixelCNN((4, 4, 1), tfar.heads.Bernoulli(), ["snake", "hilbert"], **sizes)
        >>> x = model.sample(2, seed=0, jit_compile=False)
        >>> tuple(model.log_prob(x).shape), tuple(model.score(x, member=1).shape)
        ((2,), (2, 4, 4, 1))
    """

    CONDITIONS = (Label, Vector, Spatial)
    PRESETS = {
        "locally_masked_pixel_cnn_tiny": {"filters": 4, "num_resnets": 1, "num_stages": 1},
        "locally_masked_pixel_cnn_small": {"filters": 32, "num_resnets": 2, "num_stages": 2},
        # Sizes of the authors' program, here 46M parameters; the paper has 2.89 bits/dim for the average of the orders.
        "locally_masked_pixel_cnn_cifar10": {
            **RGB_PIXELS,
            "ordering": "snakes",
            "filters": 160,
            "num_resnets": 5,
            "num_stages": 3,
        },
    }

    def __init__(
        self,
        event_shape: EventShape,
        head: Head,
        ordering: Ordering | str | Sequence[Ordering | str] | None = None,
        filters: int = 32,
        num_resnets: int = 2,
        num_stages: int = 2,
        kernel_size: int = 3,
        dilation_rate: int = 2,
        dropout: float = 0.0,
        condition: Condition | None = None,
        embedding_dim: int | None = None,
        order_annealing: Sequence[int] | None = None,
        **kwargs: Any,
    ):
        event = Event(event_shape, head, "sequence")
        height, width = event.image_shape
        if event.num_cells != height * width:
            raise ValueError(
                "head must model whole pixels (DiscretizedLogisticMixture) where they have "
                f"{event.event_shape[2]} channels, got {head!r}"
            )
        check_sizes(num_resnets=num_resnets, num_stages=num_stages)
        network = LocallyMaskedNetwork(
            np.stack([each.permutation for each in trained_orderings(ordering, event)]),
            filters,
            num_resnets,
            num_stages,
            dilation_rate,
            {"grid": (height, width), "kernel_size": kernel_size},
            condition is not None,
            event.num_outputs,
            dropout,
        )
        own: dict[str, Any] = {"condition": condition, "embedding_dim": embedding_dim}
        super().__init__(network, event_shape, head, ordering, order_annealing, **own, **kwargs)
