"""Grayscale PixelCNN: a PixelCNN draws the image in few levels of grey, another one draws the image given it.

    p(x, g | h) = p(g | h) p(x | g, h)          g = luminance of x in 2^gray_bits levels

The grey image holds shapes and objects; what is left to the second model is colour and texture. g is an auxiliary
variable, a function of x. log p(x, g) at its true value is a lower bound of log p(x): the second model may also draw
images whose grey image is another one.

Reference:
    Kolesnikov, Lampert, PixelCNN Models with Auxiliary Variables for Natural Image Modeling, ICML 2017, section 3.1.

Differences from the paper:
    Numbers of layers and widths are not published in full; these are free choices. Both models are a PixelCNN++, by
    default at one resolution; the grey image, its levels scaled to [-1, 1], goes through an unmasked residual network,
    whose features are added in every block.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfar.core.auxiliary_views import Gray
from tfar.core.checks import check_sizes, checked_integer
from tfar.core.conditions import Label, Spatial, Vector
from tfar.core.event import Event
from tfar.core.protocols import Condition, EventShape, Head
from tfar.core.views import Cells
from tfar.heads import Categorical
from tfar.layers.composite import Composite
from tfar.models.chain import Chain
from tfar.models.multiscale_pixel_cnn import ResidualBlock
from tfar.models.part import Part
from tfar.models.pixel_cnn_pp import PixelCNNPP, check_whole_pixels
from tfar.models.presets import RGB_PIXELS


@keras.saving.register_keras_serializable("tfar")
class GrayEmbedding(Composite):
    """Features of the grey image, and of the condition, for the model of the image: an unmasked residual network.

    Args:
        head: encodes the grey image.
        filters: feature maps.
        num_blocks: residual blocks.
        dropout: rate inside of the blocks.
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(self, head: Head, filters: int, num_blocks: int, dropout: float, **kwargs: Any):
        super().__init__(**kwargs)
        self._head = head
        self.first = keras.layers.Conv2D(filters, 3, padding="same")
        self.blocks = [ResidualBlock(filters, dropout) for _ in range(num_blocks)]

    def call(self, earlier: list[tf.Tensor], condition: tf.Tensor | None = None) -> tf.Tensor:
        """The grey image alone in a list, and features [B, d] of the condition -> [B, H, W, filters]."""
        x = self._head.encode(earlier[0])
        if condition is not None:
            shape = tf.concat([tf.shape(x)[:3], tf.shape(condition)[1:]], 0)
            x = tf.concat([x, tf.broadcast_to(tf.cast(condition, x.dtype)[:, None, None], shape)], -1)
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        return x


@keras.saving.register_keras_serializable("tfar")
class GrayscalePixelCNN(Chain):
    """A density over images and their versions in few levels of grey, which are drawn first.

    `log_prob` is that of the pair (x, grey image of x), in nats: a lower bound of that of x alone. `log_prob_auxiliary`
    and `log_prob_given` are its two summands. Parts are "gray" and "image".

    Args:
        event_shape: (height, width, channels).
        head: `DiscretizedLogisticMixture`, or any head with levels for images of one channel.
        gray_bits: of the grey image; 2^gray_bits is at most the number of levels. By default 4 (paper), or as many as
            the head's values have where these are fewer.
        filters: feature maps of the model of the image.
        num_resnets: gated residual blocks of it per resolution, stack and direction.
        num_resolutions: of both models, see `PixelCNNPP`.
        gray_filters: feature maps of the model of the grey image; `filters` by default.
        gray_resnets: its blocks; `num_resnets` by default.
        embedding_filters: feature maps of the network that embeds the grey image; `filters` by default.
        embedding_blocks: residual blocks of that network.
        condition: `Label` or `Vector`.
        dropout: rate inside of the blocks.
        condition_dropout: see `Chain`.
        train_parts: see `Chain`.
        **kwargs: name and dtype.

    Raises:
        ValueError: the grey image would have more levels than x, the head has no levels, or orders the colours.

    Example:
        >>> import tfar
        >>> head = tfar.heads.DiscretizedLogisticMixture(1)
        >>> model = tfar.models.GrayscalePixelCNN((4, 4, 3), head, filters=4, num_resnets=1, embedding_blocks=1)
        >>> x = tf.zeros([1, 4, 4, 3], tf.uint8)
        >>> nats = model.log_prob_auxiliary(x) + model.log_prob_given(x)
        >>> bool(abs(nats - model.log_prob(x)) < 1e-3)
        True
    """

    CONDITIONS = (Label, Vector)
    PRESETS = {
        "grayscale_pixel_cnn_tiny": {"gray_bits": 1, "filters": 4, "num_resnets": 1, "embedding_blocks": 1},
        "grayscale_pixel_cnn_small": {"filters": 32, "num_resnets": 2},
        "grayscale_pixel_cnn_cifar10": {**RGB_PIXELS, "filters": 160, "num_resnets": 5, "dropout": 0.5},
    }

    def __init__(
        self,
        event_shape: EventShape,
        head: Head,
        gray_bits: int | None = None,
        filters: int = 64,
        num_resnets: int = 3,
        num_resolutions: int = 1,
        gray_filters: int | None = None,
        gray_resnets: int | None = None,
        embedding_filters: int | None = None,
        embedding_blocks: int = 4,
        condition: Condition | None = None,
        dropout: float = 0.0,
        condition_dropout: float = 0.0,
        train_parts: str = "all",
        **kwargs: Any,
    ):
        check_sizes(filters=filters, num_resnets=num_resnets, gray_filters=gray_filters, gray_resnets=gray_resnets)
        check_sizes(embedding_filters=embedding_filters)
        event, name = Event(event_shape, head), type(self).__name__
        (height, width), levels = event.image_shape, event.head.levels
        check_whole_pixels(event, name)
        if levels is None:
            raise ValueError(f"head must have levels in a {name}, whose grey image has some, got {event.head!r}")
        if gray_bits is None:
            gray_bits = min(4, levels.bit_length() - 1)
        if 2 ** checked_integer("gray_bits", gray_bits, low=1, high=16) > levels:
            raise ValueError(
                f"gray_bits must give at most the {levels} levels of {event.head!r}, got {gray_bits}, which gives "
                f"{2**gray_bits}"
            )
        if condition is not None and not isinstance(condition, self.CONDITIONS):
            raise ValueError(f"condition must be a Label or Vector for {name}, got {condition!r}")
        common: dict[str, Any] = {"dropout": dropout, "num_resolutions": num_resolutions}
        gray = PixelCNNPP(
            (height, width, 1),
            Categorical(2**gray_bits),
            gray_filters or filters,
            gray_resnets or num_resnets,
            condition=condition,
            **common,
        )
        features = embedding_filters or filters
        image = PixelCNNPP(event_shape, head, filters, num_resnets, condition=Spatial(features), **common)
        link = GrayEmbedding(gray.head, features, embedding_blocks, dropout)
        parts = [Part("gray", gray, Gray(levels, 2**gray_bits)), Part("image", image, Cells(), link)]
        super().__init__(event_shape, head, parts, condition, condition_dropout, train_parts, **kwargs)
