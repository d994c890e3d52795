r"""PixelSNAIL: causal convolutions over near pixels, masked attention over all pixels before.

    p(x) = prod_i p(x_i | x_<i)        one factor per pixel; the colours are ordered by the logistic mixture

    block      ul --- M gated residual blocks (2 x 2) ---+-----------------------------+--- + ---> ul
                                                         |                             |    |
               keys, values from [x, ul, coordinates] ---+--- attention to all pixels -- 1 x 1
               queries from [ul, coordinates]            |    strictly before
                                                         +

Reference: Chen, Mishra, Rohaninejad, Abbeel, PixelSNAIL: An Improved Autoregressive Generative Model, 2018;
https://github.com/neocxi/pixelsnail-public.

Differences from the reference implementation: attention is a softmax over the visible keys, exactly (the reference
divides by the sum + 1e-6, after it has subtracted the maximum over all keys, hidden ones included); data-dependent
initialization runs without dropout.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfar.core.checks import check_sizes
from tfar.core.event import Event
from tfar.core.protocols import Condition, EventShape, Head
from tfar.layers.attention import CausalAttention
from tfar.layers.causal_conv2d import CausalConv2D
from tfar.layers.composite import Composite
from tfar.layers.coordinates import Coordinates
from tfar.layers.gated_resnet import GatedResnet
from tfar.layers.ones_channel import OnesChannel
from tfar.layers.pointwise import Pointwise
from tfar.layers.pooled_attention import PooledCausalAttention
from tfar.layers.previous import Previous
from tfar.layers.recompute import recomputed
from tfar.layers.stacks import VerticalConv2D
from tfar.models.autoregressive import AutoregressiveModel
from tfar.models.pixel_cnn_pp import check_whole_pixels
from tfar.models.presets import RGB_PIXELS


@keras.saving.register_keras_serializable("tfar")
class SNAILBlock(Composite):
    """Gated residual blocks, then attention that is added to them through one more block."""

    def __init__(
        self,
        channels: int,
        filters: int,
        num_resnets: int,
        key_dim: int,
        value_dim: int,
        attention_downsample: int,
        attention_block_size: int | None,
        options: dict[str, Any],
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.resnets = [GatedResnet(filters, **options) for _ in range(num_resnets)]
        self.previous = Previous()
        # Keys and values see x itself, which is legal because attention is strictly to pixels before.
        self.content = GatedResnet(3 * channels + filters, "pointwise", delayed=True, **options)
        self.key_value = Pointwise(key_dim + value_dim, weight_norm=True)
        self.question = GatedResnet(2 * channels + filters, "pointwise", **options)
        self.query = Pointwise(key_dim, weight_norm=True)
        if attention_downsample > 1:
            self.attention = PooledCausalAttention(attention_downsample, attention_block_size)
        else:
            self.attention = CausalAttention(exclusive=True, block_size=attention_block_size)
        self.join = GatedResnet(filters, "pointwise", **options)
        self.key_dim, self.value_dim = key_dim, value_dim

    def call(
        self, x: tf.Tensor, ul: tf.Tensor, coordinates: tf.Tensor, condition: tf.Tensor | None = None
    ) -> tf.Tensor:
        """[B, H, W, filters]."""
        for block in self.resnets:
            ul = block(ul, condition=condition)
        own = tf.concat([ul, coordinates], -1)
        # In a step x is the pixel before, so what is joined with it has to be of the pixel before, too.
        content = self.content(tf.concat([x, self.previous(own)], -1), condition=condition)
        key, value = tf.split(self.key_value(content), [self.key_dim, self.value_dim], -1)
        query = self.query(self.question(own, condition=condition))
        return self.join(ul, self.attention(query, key, value), condition=condition)


@keras.saving.register_keras_serializable("tfar")
class PixelSNAILNetwork(Composite):
    """Shifted input, blocks, ELU, outputs: [B, H, W, F] -> [B, H, W, outputs]."""

    def __init__(self, blocks: list[SNAILBlock], filters: int, outputs: int, recompute: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self._recompute = recompute
        self.ones, self.coordinates = OnesChannel(), Coordinates()
        self.row_above = VerticalConv2D(filters, (1, 3), exclusive=True, shift_output=True, weight_norm=True)
        self.left = CausalConv2D(filters, (2, 1), exclusive=True, weight_norm=True)
        self.blocks = blocks
        self.outputs = Pointwise(outputs, weight_norm=True)

    def call(self, x: tf.Tensor, condition: tf.Tensor | None = None, training: bool | None = None) -> tf.Tensor:
        """Parameters of the head for every pixel."""
        padded, coordinates = self.ones(x), self.coordinates(x)
        ul = self.row_above(padded) + self.left(padded)
        for block in self.blocks:
            inputs = x, ul, coordinates, condition
            ul = recomputed(block, *inputs, training=training) if self._recompute else block(*inputs)
        return self.outputs(tf.nn.elu(ul))


@keras.saving.register_keras_serializable("tfar")
class PixelSNAIL(AutoregressiveModel):
    """A density over images by causal convolutions and masked attention.

    Args:
        event_shape: (height, width, channels).
        head: `DiscretizedLogisticMixture(K)` (paper: K = 10, ImageNet 32), or any head for images of one channel.
        filters: feature maps (paper: 256).
        num_blocks: blocks with attention (paper: 12).
        num_resnets: gated residual blocks in front of every attention (paper: 4).
        key_dim: size of queries and keys (paper: 16).
        value_dim: size of values; half of `filters` by default (paper: 128).
        attention_downsample: keys and values are pooled over squares of so many pixels, by their maximum; a square
            is seen once all of its pixels are past.
        nonlinearity: "elu" (paper), "concat_elu" or "relu".
        dropout: rate inside of the blocks (paper: 0.5).
        condition: `Label`, `Vector` or `Spatial`; enters every gated residual block.
        embedding_dim: size of a learned embedding of the input values; None feeds scaled values.
        recompute: keep only the blocks' inputs while training and compute the rest again in the backward pass: memory
            for one more forward pass, see `tfar.layers.recompute`. Results do not depend on it.
        attention_block_size: in parallel, compute the attention of so many pixels at a time, and again in the backward
            pass: memory that grows with the pixels instead of their square. Results do not depend on it.
        **kwargs: name and dtype.

    Raises:
        ValueError: a size is out of range, or the head orders the colours of an image itself.

    Example:
        >>> import tfar
        >>> head = tfar.heads.DiscretizedLogisticMixture(2)
        >>> model = tfar.models.PixelSNAIL((4, 4, 3), head, filters=4, num_blocks=1, num_resnets=1)
        >>> model(tf.zeros([1, 4, 4, 3], tf.uint8)).shape
        TensorShape([1, 4, 4, 20])
    """

    _RGB = {**RGB_PIXELS, "filters": 256, "num_blocks": 12, "num_resnets": 4}
    network: PixelSNAILNetwork

    PRESETS = {
        "pixel_snail_tiny": {"filters": 4, "num_blocks": 1, "num_resnets": 1, "key_dim": 2, "dropout": 0.0},
        "pixel_snail_small": {"filters": 48, "num_blocks": 3, "num_resnets": 2, "dropout": 0.1},
        "pixel_snail_cifar10": {**_RGB, "dropout": 0.5},
        "pixel_snail_imagenet32": {**_RGB, "head": ("DiscretizedLogisticMixture", 32), "dropout": 0.0},
    }

    def __init__(
        self,
        event_shape: EventShape,
        head: Head,
        filters: int = 256,
        num_blocks: int = 12,
        num_resnets: int = 4,
        key_dim: int = 16,
        value_dim: int | None = None,
        attention_downsample: int = 1,
        nonlinearity: str = "elu",
        dropout: float = 0.5,
        condition: Condition | None = None,
        embedding_dim: int | None = None,
        recompute: bool = False,
        attention_block_size: int | None = None,
        **kwargs: Any,
    ):
        event = Event(event_shape, head)
        check_whole_pixels(event, type(self).__name__)
        value_size = max(filters // 2, 1) if value_dim is None else value_dim
        check_sizes(filters=filters, num_blocks=num_blocks, num_resnets=num_resnets)
        check_sizes(key_dim=key_dim, value_dim=value_size, attention_block_size=attention_block_size)
        check_sizes(attention_downsample=attention_downsample)
        options = {"nonlinearity": nonlinearity, "dropout": dropout}
        features = event.channels * (embedding_dim or 1)
        attention = attention_downsample, attention_block_size
        blocks = [
            SNAILBlock(features, filters, num_resnets, key_dim, value_size, *attention, options)
            for _ in range(num_blocks)
        ]
        network = PixelSNAILNetwork(blocks, filters, event.num_outputs, recompute)
        super().__init__(network, event_shape, head, condition, embedding_dim=embedding_dim, **kwargs)
