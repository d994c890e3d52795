r"""Multiscale PixelCNN: a PixelCNN draws a small image, and a few parallel passes double it again and again.

    p(x | h) = p(base | h) prod_scales prod_groups p(group | groups before, coarser image, h)

    one doubling, four groups of 2 x 2        the same, width and then height
    1 2 1 2                                   1 2 1 2
    3 4 3 4       1: the coarser image        3 3 3 3       1: the coarser image
    1 2 1 2       2, 3, 4: a pass each        1 2 1 2       2, 3: a pass each
    3 4 3 4                                   3 3 3 3

Pixels of a group are independent given the groups before, which an unmasked residual network reads as channels of one
map. An image of N x N takes as many steps as the base has pixels, and 3 (or 2) passes for every doubling.

Reference:
    Reed, van den Oord, Kalchbrenner, Gomez Colmenarejo, Wang, Belov, de Freitas, Parallel Multiscale Autoregressive
    Density Estimation, ICML 2017, sections 3 and 4, figures 2 and 3.

Differences from the paper:
    Numbers of layers and widths are not published in full; these are free choices. The base is a Gated PixelCNN.
    Colours of a pixel in a group are coupled: by the mixture of logistics, or by masked 1 x 1 layers for heads of
    single channels, with one pass of these layers for each colour (the residual network runs once). In the variant with
    patches a shallow Gated PixelCNN draws the patches of a group, all of them in parallel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfar.core.checks import check_choice, check_sizes
from tfar.core.conditions import Label, Spatial, Vector
from tfar.core.event import Event
from tfar.core.orderings import Ordering
from tfar.core.protocols import Condition, EventShape, Head
from tfar.core.views import Cells, View
from tfar.layers import MaskedConv2D
from tfar.layers.composite import Composite
from tfar.models.autoregressive import AutoregressiveModel
from tfar.models.chain import Chain
from tfar.models.gated_pixel_cnn import GatedBlock, GatedPixelCNN, GatedPixelCNNNetwork
from tfar.models.part import Part

UPSCALING = ("quads", "width_height")


@keras.saving.register_keras_serializable("tfar")
class ResidualBlock(Composite):
    """x + conv(dropout(relu(conv(relu(x))))), 3 x 3 each, unmasked."""

    def __init__(self, filters: int, dropout: float, **kwargs: Any):
        super().__init__(**kwargs)
        self.first = keras.layers.Conv2D(filters, 3, padding="same")
        self.dropout = keras.layers.Dropout(dropout)
        self.second = keras.layers.Conv2D(filters, 3, padding="same")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """[B, h, w, filters] -> [B, h, w, filters]."""
        return x + self.second(self.dropout(tf.nn.relu(self.first(tf.nn.relu(x)))))


@keras.saving.register_keras_serializable("tfar")
class Upscaler(Composite):
    """Features of a group from the groups before, stacked as channels, and the condition: an unmasked residual network.

    Args:
        head: encodes values.
        event_shape: of the whole image.
        earlier: views of the parts before.
        inputs: views of the groups to stack, each of the size of the group.
        filters: feature maps.
        num_blocks: residual blocks.
        dropout: rate inside of the blocks.
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(
        self,
        head: Head,
        event_shape: tuple[int, ...],
        earlier: Sequence[View],
        inputs: Sequence[Cells],
        filters: int,
        num_blocks: int,
        dropout: float,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._head, self._event_shape, self._earlier, self._inputs = head, event_shape, list(earlier), list(inputs)
        self.first = keras.layers.Conv2D(filters, 3, padding="same")
        self.blocks = [ResidualBlock(filters, dropout) for _ in range(num_blocks)]

    def call(self, earlier: list[tf.Tensor], condition: tf.Tensor | None = None) -> tf.Tensor:
        """Values of the parts before, and features [B, d] of the condition -> [B, h, w, filters]."""
        image = tf.add_n([view.put(y, self._event_shape) for view, y in zip(self._earlier, earlier, strict=True)])
        maps = [self._head.encode(view.take(image)) for view in self._inputs]
        if condition is not None:
            shape = tf.concat([tf.shape(maps[0])[:3], tf.shape(condition)[1:]], 0)
            maps.append(tf.broadcast_to(tf.cast(condition, maps[0].dtype)[:, None, None], shape))
        x = self.first(tf.concat(maps, -1))
        for block in self.blocks:
            x = block(x)
        return x


@keras.saving.register_keras_serializable("tfar")
class GroupNetwork(Composite):
    """Parameters of every pixel of a group from its features alone; a later colour of a pixel sees the earlier ones."""

    def __init__(self, filters: int, event: Event, **kwargs: Any):
        super().__init__(**kwargs)
        self.hidden = keras.layers.Dense(filters)
        self.colours = self.last = None
        if event.groups > 1:
            groups: dict[str, Any] = {"groups": event.groups}
            self.colours = MaskedConv2D(filters, 1, "A", input_groups="contiguous", **groups)
            self.last = MaskedConv2D(
                event.num_outputs, 1, "B", channel_groups="contiguous", input_groups="interleaved", **groups
            )
        self.outputs = keras.layers.Dense(event.num_outputs) if event.groups == 1 else None

    def call(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """Encoded pixels [B, h, w, F] and features [B, h, w, filters] -> [B, h, w, outputs]."""
        y = self.hidden(tf.nn.relu(condition))
        if self.outputs is not None:
            return self.outputs(tf.nn.relu(y))
        return self.last(tf.nn.relu(y + self.colours(x)))


@keras.saving.register_keras_serializable("tfar")
class PatchNetwork(Composite):
    """A shallow Gated PixelCNN inside of every patch of a group; patches do not see each other.

    Args:
        network: of a patch.
        patch_size: rows and columns of a patch.
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(self, network: GatedPixelCNNNetwork, patch_size: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.network, self.patch_size = network, patch_size

    def call(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """Encoded pixels [B, h, w, F] and features [B, h, w, filters] -> [B, h, w, outputs]."""
        height, width = x.shape[1:3]
        y = self.network(self._fold(x), self._fold(condition))
        size, channels = self.patch_size, y.shape[-1]
        y = tf.reshape(y, [-1, height // size, width // size, size, size, channels])
        return tf.reshape(tf.transpose(y, [0, 1, 3, 2, 4, 5]), [-1, height, width, channels])

    def _fold(self, x: tf.Tensor) -> tf.Tensor:
        """[B, h, w, F] -> [patches of all examples, size, size, F]."""
        height, width, features = x.shape[1:]
        size = self.patch_size
        x = tf.reshape(x, [-1, height // size, size, width // size, size, features])
        return tf.reshape(tf.transpose(x, [0, 1, 3, 2, 4, 5]), [-1, size, size, features])


@keras.saving.register_keras_serializable("tfar")
class MultiscalePixelCNN(Chain):
    """A density over images: a Gated PixelCNN for a small image, then groups of pixels that double it, drawn at once.

    Parts are "base", and for each doubling "8x8_01", "8x8_10", "8x8_11" (size of the image, row and column of the group
    in its squares of 2 x 2), or "4x8_columns", "8x8_rows".

    Args:
        event_shape: (height, width, channels); 2^num_doublings divides height and width.
        head: distribution of a channel, or of a whole pixel (`DiscretizedLogisticMixture`).
        num_doublings: doublings of the base.
        upscaling: "quads" for three groups of pixels for each doubling, "width_height" for two.
        patch_size: rows and columns of the patches of a group in which pixels are drawn one after the other by a
            shallow PixelCNN; None where all pixels of a group are independent.
        filters: feature maps of the base.
        num_blocks: gated layers of the base after the first.
        kernel_size: of the base.
        first_kernel_size: of the first layer of the base.
        upscaler_filters: feature maps of the residual networks.
        upscaler_blocks: residual blocks of each of them.
        patch_blocks: gated layers after the first of the PixelCNN of patches.
        condition: `Label` or `Vector`.
        dropout: rate, of the base and of the residual networks.
        condition_dropout: see `Chain`.
        train_parts: see `Chain`.
        **kwargs: name and dtype.

    Raises:
        ValueError: the doublings do not divide the image, or the patches not its groups.

    Example:
        >>> import tfar
        >>> model = tfar.models.MultiscalePixelCNN.from_preset(
        ...     "multiscale_pixel_cnn_tiny", event_shape=(8, 8, 1), head=tfar.heads.Bernoulli()
        ... )
        >>> [part.name for part in model.parts], model.num_passes
        (['base', '8x8_01', '8x8_10', '8x8_11'], 19)
    """

    CONDITIONS = (Label, Vector)
    PRESETS = {
        "multiscale_pixel_cnn_tiny": {
            "num_doublings": 1,
            "filters": 4,
            "num_blocks": 1,
            "first_kernel_size": 3,
            "upscaler_filters": 4,
            "upscaler_blocks": 1,
        },
        "multiscale_pixel_cnn_small": {
            "num_doublings": 2,
            "filters": 32,
            "num_blocks": 3,
            "upscaler_filters": 32,
            "upscaler_blocks": 4,
        },
    }

    def __init__(
        self,
        event_shape: EventShape,
        head: Head,
        num_doublings: int = 2,
        upscaling: str = "quads",
        patch_size: int | None = None,
        filters: int = 64,
        num_blocks: int = 5,
        kernel_size: int = 3,
        first_kernel_size: int = 5,
        upscaler_filters: int = 64,
        upscaler_blocks: int = 4,
        patch_blocks: int = 2,
        condition: Condition | None = None,
        dropout: float = 0.0,
        condition_dropout: float = 0.0,
        train_parts: str = "all",
        **kwargs: Any,
    ):
        check_choice(UPSCALING, upscaling=upscaling)
        check_sizes(num_doublings=num_doublings, upscaler_filters=upscaler_filters, patch_size=patch_size)
        (height, width), channels = Event(event_shape, head).image_shape, tuple(event_shape)[2]
        step = 2**num_doublings
        if height % step or width % step:
            raise ValueError(
                f"event_shape must have a height and width that {step} divides for num_doublings={num_doublings}, got "
                f"{tuple(event_shape)}"
            )
        if condition is not None and not isinstance(condition, self.CONDITIONS):
            raise ValueError(f"condition must be a Label or Vector for {type(self).__name__}, got {condition!r}")
        shape = (height // step, width // step, channels)
        sizes = (filters, num_blocks, kernel_size, first_kernel_size)
        base = GatedPixelCNN(shape, head, *sizes, condition=condition, dropout=dropout)
        parts = [Part("base", base, Cells((0, 0), (step, step)))]
        while step > 1:
            for name, view, inputs in _groups(height, width, step, upscaling):
                shape = (height // view.stride[0], width // view.stride[1], channels)
                network, ordering = _group_network(Event(shape, head), upscaler_filters, patch_size, patch_blocks)
                model = AutoregressiveModel(network, shape, head, Spatial(upscaler_filters), ordering)
                views = [part.view for part in parts]
                settings = (upscaler_filters, upscaler_blocks, dropout)
                link = Upscaler(base.head, (height, width, channels), views, inputs, *settings)
                parts.append(Part(name, model, view, link))
            step //= 2
        super().__init__(event_shape, head, parts, condition, condition_dropout, train_parts, **kwargs)


def _groups(height: int, width: int, step: int, upscaling: str) -> list[tuple[str, Cells, list[Cells]]]:
    """Names, views and inputs of the groups that double an image whose pixels are `step` apart."""
    half = step // 2
    down, across = height // half, width // half
    if upscaling == "quads":
        offsets = [(0, 0), (0, half), (half, 0), (half, half)]
        views = [Cells(offset, (step, step)) for offset in offsets]
        names = [f"{down}x{across}_{row // half}{column // half}" for row, column in offsets]
        return [(names[index], views[index], views[:index]) for index in (1, 2, 3)]
    columns, rows = Cells((0, half), (step, step)), Cells((half, 0), (step, half))
    return [
        (f"{down // 2}x{across}_columns", columns, [Cells((0, 0), (step, step))]),
        (f"{down}x{across}_rows", rows, [Cells((0, 0), (step, half))]),
    ]


def _group_network(event: Event, filters: int, patch_size: int | None, patch_blocks: int) -> tuple[Any, Ordering]:
    """Returns the network of a group and the ordering of its pixels."""
    height, width = event.image_shape
    if patch_size is None:
        return GroupNetwork(filters, event), Ordering(np.zeros((height, width), np.int32))
    if height % patch_size or width % patch_size:
        raise ValueError(f"patch_size must divide every group of pixels, {(height, width)} too, got {patch_size}")
    groups = {"groups": event.groups, "channel_groups": "interleaved"}
    last = patch_blocks
    blocks = [GatedBlock(filters, 3, index == 0, index == last, groups, 0.0) for index in range(last + 1)]
    network = GatedPixelCNNNetwork(blocks, filters, event.num_outputs, groups)
    ranks = np.arange(height)[:, None] % patch_size * patch_size + np.arange(width) % patch_size
    return PatchNetwork(network, patch_size), Ordering(ranks)
