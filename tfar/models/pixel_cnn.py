"""PixelCNN: residual blocks of masked convolutions, the fast and simple one of the PixelRNN paper.

    p(x | h) = prod_(i,j,c) p(x_ijc | rows above, pixels to the left, earlier colours, h)

Reference:
    van den Oord, Kalchbrenner, Kavukcuoglu, Pixel Recurrent Neural Networks, ICML 2016, table 1 and figure 5 (left).

Differences from the paper:
    A condition enters every block through a bias V h; the paper has none.
    The table ends with two layers "ReLU, 1 x 1" of `head_filters` maps and the softmax; the map from these features
    to the logits is a third "ReLU, 1 x 1" here.
    Dropout on the maps of every block (0 by default) and any head of `tfar.heads`.

The blind spot: a 3 x 3 kernel of type B climbs one row and moves one pixel to the right at a time, so a stack of them
never sees pixel (i - r, j + c) with c > r (c > r + 2 behind a 7 x 7 mask A). `tfar.testing.blind` derives the set from
the kernel sizes and the tests assert it; `GatedPixelCNN` has none.

    x x x x x x x .
    x x x x x x . .        o current pixel, x seen, . never seen (3 x 3 kernels alone)
    x x x x x . . .
    x x x o
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfar.core.event import Event
from tfar.core.protocols import Condition, EventShape, Head
from tfar.layers import ConditionalBias, MaskedConv2D
from tfar.layers.composite import Composite
from tfar.models.autoregressive import AutoregressiveModel
from tfar.models.presets import RGB


@keras.saving.register_keras_serializable("tfar")
class PixelCNNBlock(Composite):
    r"""Figure 5, left: [B, H, W, 2h] -> [B, H, W, 2h].

    x --- ReLU --- 1 x 1, h --- ReLU --- k x k, h (+ V h) --- ReLU --- 1 x 1, 2h --- add -->
      \____________________________________________________________________________/
    """

    def __init__(self, filters: int, kernel_size: int, groups: dict[str, Any], dropout: float, **kwargs: Any):
        super().__init__(**kwargs)
        self.reduce = MaskedConv2D(filters, 1, "B", **groups)
        self.convolution = MaskedConv2D(filters, kernel_size, "B", **groups)
        self.condition = ConditionalBias()
        self.dropout = keras.layers.Dropout(dropout)
        self.expand = MaskedConv2D(2 * filters, 1, "B", **groups)

    def call(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """[B, H, W, 2h] -> [B, H, W, 2h]."""
        y = self.convolution(tf.nn.relu(self.reduce(tf.nn.relu(x))))
        y = tf.nn.relu(self.condition(y, condition))
        return x + self.expand(self.dropout(y))


@keras.saving.register_keras_serializable("tfar")
class PixelCNNNetwork(Composite):
    """Table 1: mask A, blocks, and three times ReLU, 1 x 1: [B, H, W, F] -> [B, H, W, outputs]."""

    def __init__(
        self,
        first: MaskedConv2D,
        blocks: list[PixelCNNBlock],
        head_filters: int,
        outputs: int,
        groups: dict[str, Any],
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.first, self.blocks = first, blocks
        self.hidden = [MaskedConv2D(head_filters, 1, "B", **groups) for _ in range(2)]
        # The parameters of a colour stand together, whatever the layout of the feature maps.
        last = {**groups, "input_groups": groups["channel_groups"], "channel_groups": "contiguous"}
        self.outputs = MaskedConv2D(outputs, 1, "B", **last)

    def call(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """Parameters of the head for every pixel."""
        h = self.first(x)
        for block in self.blocks:
            h = block(h, condition)
        for layer in [*self.hidden, self.outputs]:
            h = layer(tf.nn.relu(h))
        return h


@keras.saving.register_keras_serializable("tfar")
class PixelCNN(AutoregressiveModel):
    """A density over images by residual blocks of masked convolutions.

    Args:
        event_shape: (height, width, channels).
        head: distribution of a channel (`Bernoulli`, `Categorical`, `Mixture`: the network orders the colours) or of
            a whole pixel (`DiscretizedLogisticMixture`).
        filters: h of the paper; the residual stream has 2h maps (paper: 128 for CIFAR-10).
        num_blocks: residual blocks (paper: 15 for CIFAR-10).
        kernel_size: k of the mask B convolutions (paper: 3).
        first_kernel_size: k of the mask A convolution (paper: 7).
        head_filters: maps of the 1 x 1 layers in front of the outputs; 2h by default (paper: 1024).
        condition: `Label`, `Vector` or `Spatial`; needs at least one block.
        channel_groups: layout of the colours in the feature maps, "interleaved" or "contiguous".
        dropout: rate inside of the blocks.
        embedding_dim: size of a learned embedding of the input values; None feeds scaled values.
        **kwargs: name and dtype.

    Raises:
        ValueError: a condition without a block that could take it, or fewer maps than colours.

    Example:
        >>> import tfar
        >>> model = tfar.models.PixelCNN((4, 4, 1), tfar.heads.Categorical(4), filters=4, num_blocks=1)
        >>> x = model.sample(2, seed=0, jit_compile=False)
        >>> tuple(x.shape), tuple(model.log_prob(x).shape)
        ((2, 4, 4, 1), (2,))
    """

    PRESETS = {
        "pixel_cnn_tiny": {"filters": 4, "num_blocks": 2, "first_kernel_size": 3},
        "pixel_cnn_small": {"filters": 32, "num_blocks": 5},
        "pixel_cnn_cifar10": {**RGB, "filters": 128, "num_blocks": 15, "head_filters": 1024},
    }

    def __init__(
        self,
        event_shape: EventShape,
        head: Head,
        filters: int = 64,
        num_blocks: int = 10,
        kernel_size: int = 3,
        first_kernel_size: int = 7,
        head_filters: int | None = None,
        condition: Condition | None = None,
        channel_groups: str = "interleaved",
        dropout: float = 0.0,
        embedding_dim: int | None = None,
        **kwargs: Any,
    ):
        event = Event(event_shape, head)
        if filters < event.groups:
            raise ValueError(f"filters must be at least the number of colours {event.groups}, got {filters}")
        if condition is not None and not num_blocks:
            raise ValueError("num_blocks must be at least 1 with a condition, which enters the blocks, got 0")
        groups: dict[str, Any] = {"groups": event.groups, "channel_groups": channel_groups}
        # Values of a channel stand together in the input (an embedding has several features per channel).
        first = MaskedConv2D(2 * filters, first_kernel_size, "A", **groups, input_groups="contiguous")
        blocks = [PixelCNNBlock(filters, kernel_size, groups, dropout) for _ in range(num_blocks)]
        network = PixelCNNNetwork(first, blocks, head_filters or 2 * filters, event.num_outputs, groups)
        super().__init__(network, event_shape, head, condition, embedding_dim=embedding_dim, **kwargs)
