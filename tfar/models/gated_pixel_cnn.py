"""Gated PixelCNN: two stacks of gated convolutions, no blind spot, conditions in every gate.

    p(x | h) = prod_(i,j,c) p(x_ijc | rows above, pixels to the left, earlier colours, h)

Reference:
    van den Oord, Kalchbrenner, Vinyals, Espeholt, Graves, Kavukcuoglu,
    Conditional Image Generation with PixelCNN Decoders, NIPS 2016, figure 2, equations 2 to 5.

Differences from the paper:
    Kernels of the vertical stack are stored cropped to the rows that they see, instead of masked.
    Dropout on the gated maps (0 by default) and any head of `tfar.heads` besides the 256-way softmax.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfar.core.event import Event
from tfar.core.protocols import Condition, EventShape, Head
from tfar.layers import GatedActivation, HorizontalConv2D, VerticalConv2D
from tfar.layers.composite import Composite
from tfar.models.autoregressive import AutoregressiveModel
from tfar.models.presets import RGB


@keras.saving.register_keras_serializable("tfar")
class GatedBlock(Composite):
    r"""One layer of figure 2: vertical stack v and horizontal stack h, [B, H, W, filters] each.

        v --- n x n --+------------- gate --------------------> v
                      | 1 x 1
        h --- 1 x n --+ add -------- gate --- 1 x 1 --- add --> h
          \___________________________________________/          (no residual in the first layer)

    The vertical maps enter the horizontal stack before their gate; v at row i knows rows < i only. Behind the last
    block no layer reads v, so it has no vertical gate.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        first: bool,
        last: bool,
        groups: dict[str, Any],
        dropout: float,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        rows = kernel_size // 2 + (0 if first else 1)
        self.first = first
        self.vertical = VerticalConv2D(2 * filters, (rows, kernel_size), exclusive=first, hand_out=False)
        self.vertical_gate = None if last else GatedActivation()
        inputs: dict[str, Any] = {"input_groups": "contiguous"} if first else {}
        self.horizontal = HorizontalConv2D(2 * filters, kernel_size, first, halves=2, **groups, **inputs)
        self.horizontal_gate = GatedActivation()
        self.dropout = keras.layers.Dropout(dropout)
        self.project = HorizontalConv2D(filters, 1, **groups)

    def call(self, v: tf.Tensor, h: tf.Tensor, condition: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """Both stacks, [B, H, W, filters] each."""
        v = self.vertical(v)
        gated = self.horizontal_gate(self.horizontal(h, v), condition)
        out = self.project(self.dropout(gated))
        if self.vertical_gate is not None:
            v = self.vertical_gate(v, condition)
        return v, out if self.first else h + out


@keras.saving.register_keras_serializable("tfar")
class GatedPixelCNNNetwork(Composite):
    """Blocks, then ReLU, 1 x 1, ReLU, 1 x 1: [B, H, W, F] -> [B, H, W, outputs]."""

    def __init__(
        self, blocks: list[GatedBlock], head_filters: int, outputs: int, groups: dict[str, Any], **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.blocks = blocks
        self.hidden = HorizontalConv2D(head_filters, 1, **groups)
        last = {**groups, "input_groups": groups["channel_groups"], "channel_groups": "contiguous"}
        self.outputs = HorizontalConv2D(outputs, 1, **last)

    def call(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """Parameters of the head for every pixel."""
        v = h = x
        for block in self.blocks:
            v, h = block(v, h, condition)
        return self.outputs(tf.nn.relu(self.hidden(tf.nn.relu(h))))


@keras.saving.register_keras_serializable("tfar")
class GatedPixelCNN(AutoregressiveModel):
    """A density over images by two stacks of gated convolutions.

    Args:
        event_shape: (height, width, channels).
        head: distribution of a channel (`Bernoulli`, `Categorical`, `Mixture`: the network orders the colours) or of
            a whole pixel (`DiscretizedLogisticMixture`).
        filters: feature maps p of each stack (paper: 384 for ImageNet, 128 for CIFAR-10).
        num_blocks: gated layers after the first (paper: 20 for ImageNet).
        kernel_size: n of the n x n and 1 x n convolutions (paper: 5).
        first_kernel_size: n of the first, masked layer.
        head_filters: maps of the 1 x 1 layer in front of the outputs; `filters` by default.
        condition: `Label`, `Vector` or `Spatial`.
        channel_groups: layout of the colours in the feature maps, "interleaved" or "contiguous".
        dropout: rate on the gated maps of the horizontal stack.
        embedding_dim: size of a learned embedding of the input values; None feeds scaled values.
        **kwargs: name and dtype.

    Example:
        >>> import tfar
        >>> model = tfar.models.GatedPixelCNN((4, 4, 1), tfar.heads.Categorical(4), filters=4, num_blocks=1)
        >>> x = model.sample(2, seed=0, jit_compile=False)
        >>> tuple(x.shape), tuple(model.log_prob(x).shape)
        ((2, 4, 4, 1), (2,))
    """

    _RGB = {**RGB, "num_blocks": 20, "kernel_size": 5, "first_kernel_size": 7, "head_filters": 1024}
    PRESETS = {
        "gated_pixel_cnn_tiny": {"filters": 4, "num_blocks": 2, "kernel_size": 3, "first_kernel_size": 3},
        "gated_pixel_cnn_small": {"filters": 32, "num_blocks": 5, "kernel_size": 3, "first_kernel_size": 5},
        "gated_pixel_cnn_cifar10": {**_RGB, "filters": 128},
        "gated_pixel_cnn_imagenet32": {**_RGB, "filters": 384},
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
        groups = {"groups": event.groups, "channel_groups": channel_groups}
        blocks = [
            GatedBlock(filters, kernel_size if i else first_kernel_size, i == 0, i == num_blocks, groups, dropout)
            for i in range(num_blocks + 1)
        ]
        network = GatedPixelCNNNetwork(blocks, head_filters or filters, event.num_outputs, groups)
        super().__init__(network, event_shape, head, condition, embedding_dim=embedding_dim, **kwargs)
