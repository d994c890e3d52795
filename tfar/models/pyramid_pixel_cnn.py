r"""Pyramid PixelCNN: a PixelCNN draws a small average of the image, and others draw each finer image given the coarser.

    p(x, a_1, ..., a_K | h) = p(a_K | h) p(a_(K-1) | a_K, h) ... p(x | a_1, h)          a_k = averages over 2^k x 2^k

    a_2      ->  a_1          ->  x               each arrow: a U-Net of the coarser image, unmasked, whose features
    o o          o o o o          o o o o o o ... enter every block of the finer image's network
                 o o o o          o o o o o o ...

The averages are auxiliary variables, functions of x. log p(x, a) at their true values is a lower bound of log p(x): the
finer models may also draw images whose averages are others.

Reference:
    Kolesnikov, Lampert, PixelCNN Models with Auxiliary Variables for Natural Image Modeling, ICML 2017, section 3.2;
    https://github.com/kolesman/FaceGeneration, whose wiring this is.

Differences from the reference implementation:
    Draws are whole levels, not rounded after the fact, and scales of the mixture are as they were learned (the
    reference draws with log scales that are lowered by 10: a temperature). A label or vector h, dropout inside of the
    blocks, other heads than mixtures of logistics, and images whose coarser levels have odd sizes are additions.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfar.core.auxiliary_views import Averages
from tfar.core.checks import check_sizes, checked_integer
from tfar.core.conditions import Label, Spatial, Vector
from tfar.core.event import Event
from tfar.core.protocols import Condition, EventShape, Head
from tfar.core.views import Cells
from tfar.heads import Categorical
from tfar.layers.causal_conv2d import CausalConv2D
from tfar.layers.composite import Composite
from tfar.layers.gated_resnet import GatedResnet, shared_activations
from tfar.layers.map_rows import MapRows
from tfar.layers.ones_channel import OnesChannel
from tfar.layers.pointwise import Pointwise
from tfar.layers.stacks import VerticalConv2D
from tfar.layers.unmasked_conv import UnmaskedConv2D, UnmaskedTransposedConv2D
from tfar.models.autoregressive import AutoregressiveModel
from tfar.models.chain import Chain
from tfar.models.part import Part
from tfar.models.pixel_cnn_pp import check_whole_pixels
from tfar.models.presets import RGB_PIXELS


@keras.saving.register_keras_serializable("tfar")
class UNet(Composite):
    r"""Features of a finer image from the coarser one before it, unmasked.

        coarser image      conv --- num_resnets blocks ------------------------- num_resnets blocks -+
                                    | stride 2                                       | up            | up
        half of it                  num_resnets blocks --- num_resnets blocks -------+               |
        finer image                                                                  num_resnets blocks - conv

    drawn for two stages. Every block on the way up, but for those of the finer image, has a shortcut from its mirror
    image on the way down.

    Args:
        head: encodes the coarser image.
        filters: feature maps.
        num_stages: resolutions on the way down, that of the coarser image among them.
        num_resnets: blocks of a stage.
        dropout: rate inside of the blocks.
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(self, head: Head, filters: int, num_stages: int, num_resnets: int, dropout: float, **kwargs: Any):
        super().__init__(**kwargs)
        self._head, self._num_resnets = head, num_resnets
        blocks = lambda number: [GatedResnet(filters, "unmasked", dropout=dropout) for _ in range(number)]  # noqa: E731
        self.first = UnmaskedConv2D(filters)
        self.down, self.up = blocks(num_stages * num_resnets), blocks((num_stages + 1) * num_resnets)
        self.coarser = [UnmaskedConv2D(filters, strides=2) for _ in range(num_stages - 1)]
        self.finer = [UnmaskedTransposedConv2D(filters) for _ in range(num_stages)]
        self.last = UnmaskedConv2D(filters)

    def call(self, earlier: list[tf.Tensor], condition: tf.Tensor | None = None) -> tf.Tensor:
        """Values of the parts before, and features [B, d] of the condition -> [B, 2 h, 2 w, filters]."""
        x = self._head.encode(earlier[-1])
        if condition is not None:
            shape = tf.concat([tf.shape(x)[:3], tf.shape(condition)[1:]], 0)
            x = tf.concat([x, tf.broadcast_to(tf.cast(condition, x.dtype)[:, None, None], shape)], -1)
        x, kept = self.first(x), []
        for index, block in enumerate(self.down):
            if index and index % self._num_resnets == 0:
                x = self.coarser[index // self._num_resnets - 1](x)
            x = block(x)
            kept.append(x)
        for index, block in enumerate(self.up):
            if index and index % self._num_resnets == 0:
                x = self.finer[index // self._num_resnets - 1](x)
                if kept:  # an odd size was rounded up
                    x = x[:, : kept[-1].shape[1], : kept[-1].shape[2]]
            x = block(x, kept.pop() if kept else None)
        return self.last(x)


@keras.saving.register_keras_serializable("tfar")
class PyramidNetwork(Composite):
    """The network of one image of the pyramid: two stacks of gated blocks with 3 x 3 kernels, [B, H, W, outputs].

    u is the vertical stack (rows above), ul the horizontal one (rows above and pixels to the left), which reads u in
    every block. Features of the coarser image are a shortcut into every block of both; a vector h adds a bias to it.
    """

    def __init__(self, filters: int, num_resnets: int, outputs: int, dropout: float, **kwargs: Any):
        super().__init__(**kwargs)
        self.ones, self.map_rows = OnesChannel(), MapRows()
        shifted: dict[str, Any] = {"exclusive": True, "shift_output": True, "weight_norm": True}
        self.rows_above = VerticalConv2D(filters, (2, 3), hand_out=False, **shifted)
        self.row_above = VerticalConv2D(filters, (1, 3), **shifted)
        self.left = CausalConv2D(filters, (2, 1), exclusive=True, weight_norm=True)
        options: dict[str, Any] = {"dropout": dropout, "vertical_shortcut": True, "kernel_size": (3, 3)}
        self.u = [GatedResnet(filters, "vertical", **options) for _ in range(num_resnets)]
        self.ul = [GatedResnet(filters, "causal", **options) for _ in range(num_resnets)]
        self.outputs = Pointwise(outputs, weight_norm=True)

    def call(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """Encoded pixels [B, H, W, F] and features, a map [B, H, W, d] or a vector [B, d] -> [B, H, W, outputs]."""
        x = self.ones(x)
        u, ul = self.rows_above(x), self.row_above(x) + self.left(x)
        maps, vector = None, condition
        if condition is not None and condition.shape.rank == 4:
            maps, vector = self.map_rows(u, condition), None
        with shared_activations():
            for u_block, ul_block in zip(self.u, self.ul, strict=True):
                u = u_block(u, maps, condition=vector)
                ul = ul_block(ul, u if maps is None else tf.concat([u, maps], -1), condition=vector)
        return self.outputs(tf.nn.elu(ul))


@keras.saving.register_keras_serializable("tfar")
class PyramidPixelCNN(Chain):
    """A density over images and their averages at coarser resolutions, drawn from the coarsest to the image itself.

    `log_prob` is that of the pair (x, averages of x), in nats: a lower bound of that of x alone. `log_prob_auxiliary`
    and `log_prob_given` are its two summands. Parts are named by their size, "8x8", "16x16", "32x32" say; the last is
    the image.

    Args:
        event_shape: (height, width, channels); 2^num_doublings divides height and width.
        head: `DiscretizedLogisticMixture`, or any head with levels for images of one channel.
        num_doublings: coarser images (reference: 4, from 8 x 8 to 128 x 128).
        average_levels: levels of the coarser images, which then are `Categorical`; None for the head of the image.
        filters: feature maps of the networks of finer images and of their U-Nets (reference: 100).
        num_resnets: blocks of each stack of every image (reference: 3).
        unet_stages: resolutions of a U-Net (reference: 2).
        unet_resnets: blocks of each stage of a U-Net (reference: 2).
        top_filters: feature maps of the coarsest image's network; `filters` by default.
        top_resnets: its blocks; `num_resnets` by default.
        condition: `Label` or `Vector`.
        dropout: rate inside of the blocks.
        condition_dropout: see `Chain`.
        train_parts: see `Chain`.
        **kwargs: name and dtype.

    Raises:
        ValueError: the doublings do not divide the image, the head has no levels, or orders the colours of an image.

    Example:
        >>> import tfar
        >>> model = tfar.models.PyramidPixelCNN.from_preset(
        ...     "pyramid_pixel_cnn_tiny", event_shape=(4, 4, 1), head=tfar.heads.Bernoulli()
        ... )
        >>> [part.name for part in model.parts], model.num_passes
        (['2x2', '4x4'], 20)
    """

    CONDITIONS = (Label, Vector)
    PRESETS = {
        "pyramid_pixel_cnn_tiny": {
            "num_doublings": 1,
            "filters": 4,
            "num_resnets": 1,
            "unet_stages": 1,
            "unet_resnets": 1,
        },
        "pyramid_pixel_cnn_small": {"num_doublings": 1, "filters": 32, "num_resnets": 2, "top_resnets": 4},
        "pyramid_pixel_cnn_faces": {**RGB_PIXELS, "event_shape": (128, 128, 3), "num_doublings": 4},
    }

    def __init__(
        self,
        event_shape: EventShape,
        head: Head,
        num_doublings: int = 2,
        average_levels: int | None = None,
        filters: int = 100,
        num_resnets: int = 3,
        unet_stages: int = 2,
        unet_resnets: int = 2,
        top_filters: int | None = None,
        top_resnets: int | None = None,
        condition: Condition | None = None,
        dropout: float = 0.0,
        condition_dropout: float = 0.0,
        train_parts: str = "all",
        **kwargs: Any,
    ):
        check_sizes(num_doublings=num_doublings, filters=filters, num_resnets=num_resnets, unet_stages=unet_stages)
        check_sizes(unet_resnets=unet_resnets, top_filters=top_filters, top_resnets=top_resnets)
        event = Event(event_shape, head)
        (height, width), name = event.image_shape, type(self).__name__
        check_whole_pixels(event, name)
        coarser_head, levels = _head_of_averages(event, average_levels, name)
        if height % 2**num_doublings or width % 2**num_doublings:
            raise ValueError(
                f"event_shape must have a height and width that {2**num_doublings} divides for num_doublings="
                f"{num_doublings}, got {tuple(event_shape)}"
            )
        if condition is not None and not isinstance(condition, self.CONDITIONS):
            raise ValueError(f"condition must be a Label or Vector for {name}, got {condition!r}")
        parts: list[Part] = []
        for factor in (2**exponent for exponent in range(num_doublings, -1, -1)):
            shape = (height // factor, width // factor, event.channels)
            own = coarser_head if factor > 1 else head
            sizes = (filters, num_resnets) if parts else (top_filters or filters, top_resnets or num_resnets)
            network = PyramidNetwork(*sizes, Event(shape, own).num_outputs, dropout)
            told: Condition | None = Spatial(filters) if parts else condition
            view = Averages(factor, levels, own.levels) if factor > 1 else Cells()
            link = UNet(parts[-1].model.head, filters, unet_stages, unet_resnets, dropout) if parts else None
            model = AutoregressiveModel(network, shape, own, told)
            parts.append(Part(f"{shape[0]}x{shape[1]}", model, view, link))
        super().__init__(event_shape, head, parts, condition, condition_dropout, train_parts, **kwargs)


def _head_of_averages(event: Event, average_levels: int | None, name: str) -> tuple[Head, int]:
    """Returns the head of coarser images, and the levels of the image."""
    levels = event.head.levels
    if levels is None:
        raise ValueError(f"head must have levels in a {name}, whose averages are rounded to levels, got {event.head!r}")
    if average_levels is None:
        return event.head, levels
    if event.channels > 1:
        raise ValueError(
            f"average_levels must be None for images of {event.channels} channels, whose averages have the head of the "
            f"image, got {average_levels}"
        )
    return Categorical(checked_integer("average_levels", average_levels, low=2)), levels
