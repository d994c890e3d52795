r"""Subscale Pixel Network: an image as interleaved slices, drawn one after the other by one shared decoder.

    p(x | h) = prod_s p(slice_s | slices before, h)         p(slice | ...) = prod_i p(x_i | x_<i of the slice, ...)

    scaling factor 2, 4 x 4 pixels, 4 slices of 2 x 2           what the embedder sees for slice 3, by relative offset
    1 2 1 2
    3 4 3 4                                                     (-1, -1)  (-1, 0)  (-1, 1)  (0, -1)
    1 2 1 2                                                      absent      1        2      absent
    3 4 3 4

Earlier slices lie on the grid of the target, stacked as channels by their offset relative to it. Each has a channel of
ones, which is 0 where there is no such slice: a slice of zeros is another thing. An unmasked residual network reads
them and the place of the target; a masked decoder draws the target given these features.

    size upscaling     slice 1, a small image, has a decoder of its own
    depth upscaling    p(x) = p(high bits) p(low bits | all high bits), both by slices

A training step takes one slice of every image, drawn anew, and the number of slices times its nats.

Reference:
    Menick, Kalchbrenner, Generating High Fidelity Images with Subscale Pixel Networks and Multidimensional Upscaling,
    ICLR 2019, sections 3 and 4.

Differences from the paper:
    Numbers of layers and widths are free choices. The decoder's convolutions are gated layers without blind spot, in
    front of attention blocks; colours of a pixel are ordered behind both, by masked 1 x 1 layers or by the mixture of
    logistics. Without a condition the first slice has no features: there is nothing that they could tell.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfar.core.checks import check_sizes
from tfar.core.conditions import Label, Spatial, Vector
from tfar.core.event import Event
from tfar.core.protocols import Condition, EventShape, Head
from tfar.core.request import NOTHING, Request
from tfar.core.views import Cells
from tfar.heads import Categorical
from tfar.layers import Coordinates, ShiftRight
from tfar.layers.composite import Composite
from tfar.models.autoregressive import AutoregressiveModel
from tfar.models.causal_transformer import CausalTransformerBlock
from tfar.models.chain import Chain
from tfar.models.gated_pixel_cnn import GatedBlock
from tfar.models.multiscale_pixel_cnn import GroupNetwork
from tfar.models.part import Part
from tfar.models.slice_embedder import SliceEmbedder, SliceLink


@keras.saving.register_keras_serializable("tfar")
class SliceDecoder(Composite):
    """Gated convolutions, then masked attention over the pixels of the slice, then colours.

    Args:
        event: a slice.
        filters: feature maps of the convolutions and of the layers behind the attention.
        kernel_sizes: of the gated layers; the first of them hides the pixel itself.
        width: features of the attention blocks.
        num_layers: attention blocks.
        num_heads: heads of each.
        dropout: rate, everywhere.
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(
        self,
        event: Event,
        filters: int,
        kernel_sizes: Sequence[int],
        width: int,
        num_layers: int,
        num_heads: int,
        dropout: float,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        groups, last = {"groups": 1, "channel_groups": "interleaved"}, len(kernel_sizes) - 1
        self.blocks = [
            GatedBlock(filters, size, index == 0, index == last, groups, dropout)
            for index, size in enumerate(kernel_sizes)
        ]
        self.shift, self.coordinates = ShiftRight(), Coordinates()
        self.embed = keras.layers.Dense(width)
        small = 0.02 / max(2 * num_layers, 1) ** 0.5
        sizes = (width, num_heads, 4 * width, False, event.num_cells)
        self.attention = [CausalTransformerBlock(*sizes, "gelu", dropout, 0.0, small) for _ in range(num_layers)]
        self.norm = keras.layers.LayerNormalization(epsilon=1e-5)
        self.hidden = keras.layers.Dense(filters)
        self.colours = GroupNetwork(filters, event)

    def call(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """Encoded pixels [B, h, w, F] and features [B, h, w, d] or [B, d] -> [B, h, w, outputs]."""
        v = h = x
        for block in self.blocks:
            v, h = block(v, h, condition)
        # With the pixel before, so that attention reaches every earlier pixel, the last one of a row too.
        y = self.embed(tf.concat([h, self.shift(x), self.coordinates(x)], -1))
        for attention in self.attention:
            y = attention(y)
        return self.colours(x, self.hidden(self.norm(y)))


@keras.saving.register_keras_serializable("tfar")
class SubscalePixelNetwork(Chain):
    """A density over images: interleaved slices, drawn one after the other by one decoder, given those before.

    Parts are "slice_0_0", "slice_0_1", ... (row and column of the slice's pixels in their squares); with depth
    upscaling "high_0_0", ..., then "low_0_0", ... They share a decoder and an embedder for each depth.

    Args:
        event_shape: (height, width, channels); the scaling factor divides height and width.
        head: distribution of a channel, or of a whole pixel (`DiscretizedLogisticMixture`).
        scaling_factor: rows and columns between the pixels of a slice, S: there are S * S slices.
        high_bits: depth upscaling: so many high bits of all slices come first, then the low bits (paper: 3 and 5);
            for `Categorical` heads with 2^b levels. None: values are drawn at once.
        size_upscaling: whether the first slice, a small image, has a decoder of its own.
        filters: feature maps of the gated convolutions.
        num_blocks: gated layers after the first.
        kernel_size: of them.
        first_kernel_size: of the first gated layer.
        num_layers: attention blocks behind the convolutions.
        width: features of these.
        num_heads: heads of each attention; they split the width.
        embedder_filters: feature maps of the network that reads earlier slices.
        embedder_blocks: residual blocks of it.
        condition: `Label` or `Vector`.
        dropout: rate, of all networks.
        condition_dropout: see `Chain`.
        train_parts: "drawn" for one slice of every image in a training step, drawn for each, an unbiased estimate; or
            "all".
        **kwargs: name and dtype.

    Raises:
        ValueError: the scaling factor does not divide the image, or the values have no such bits.

    Example:
        >>> import tfar
        >>> model = tfar.models.SubscalePixelNetwork.from_preset(
        ...     "subscale_pixel_network_tiny", event_shape=(4, 4, 1), head=tfar.heads.Bernoulli()
        ... )
        >>> [part.name for part in model.parts], model.part("slice_0_1").model is model.part("slice_1_0").model
        (['slice_0_0', 'slice_0_1', 'slice_1_0', 'slice_1_1'], True)
    """

    CONDITIONS = (Label, Vector)
    PRESETS = {
        "subscale_pixel_network_tiny": {
            "filters": 4,
            "num_blocks": 1,
            "first_kernel_size": 3,
            "num_layers": 1,
            "width": 8,
            "num_heads": 2,
            "embedder_filters": 4,
            "embedder_blocks": 1,
        },
        "subscale_pixel_network_small": {"filters": 32, "embedder_filters": 32},
    }

    def __init__(
        self,
        event_shape: EventShape,
        head: Head,
        scaling_factor: int = 2,
        high_bits: int | None = None,
        size_upscaling: bool = False,
        filters: int = 64,
        num_blocks: int = 3,
        kernel_size: int = 3,
        first_kernel_size: int = 5,
        num_layers: int = 2,
        width: int = 64,
        num_heads: int = 4,
        embedder_filters: int = 64,
        embedder_blocks: int = 2,
        condition: Condition | None = None,
        dropout: float = 0.0,
        condition_dropout: float = 0.0,
        train_parts: str = "drawn",
        **kwargs: Any,
    ):
        check_sizes(scaling_factor=scaling_factor, filters=filters, embedder_filters=embedder_filters)
        check_sizes(width=width, num_heads=num_heads)
        (height, width_), channels = Event(event_shape, head).image_shape, tuple(event_shape)[2]
        if height % scaling_factor or width_ % scaling_factor:
            raise ValueError(
                f"event_shape must have a height and width that scaling_factor={scaling_factor} divides, got "
                f"{tuple(event_shape)}"
            )
        if condition is not None and not isinstance(condition, self.CONDITIONS):
            raise ValueError(f"condition must be a Label or Vector for {type(self).__name__}, got {condition!r}")
        if width % num_heads:
            raise ValueError(f"width must be a multiple of num_heads={num_heads}, got {width}")
        if size_upscaling and scaling_factor == 1:
            raise ValueError("size_upscaling must be False for scaling_factor=1: the first slice is the image")
        depths = _depths(head, high_bits)
        shape = (height // scaling_factor, width_ // scaling_factor, channels)
        kernel_sizes = [first_kernel_size, *[kernel_size] * num_blocks]
        sizes = (filters, kernel_sizes, width, num_layers, num_heads, dropout)

        def decoder(head: Head, condition: Condition | None) -> AutoregressiveModel:
            return AutoregressiveModel(SliceDecoder(Event(shape, head), *sizes), shape, head, condition)

        parts: list[Part] = []
        for index, (name, _, shift, bits) in enumerate(depths):
            heads = [Event(shape, own).head for _, own, *_ in depths[: index + 1]]
            embedder = SliceEmbedder(shape, scaling_factor, heads, embedder_filters, embedder_blocks, dropout)
            shared = decoder(heads[-1], Spatial(embedder_filters))
            for place, (row, column) in enumerate(itertools.product(range(scaling_factor), repeat=2)):
                view = Cells((row, column), (scaling_factor, scaling_factor), None, shift, bits)
                parts.append(Part(f"{name}_{row}_{column}", shared, view, SliceLink(embedder, place)))
        if size_upscaling or scaling_factor == 1:
            parts[0] = Part(parts[0].name, decoder(depths[0][1], condition), parts[0].view)
        elif condition is None:
            parts[0] = Part(parts[0].name, parts[0].model, parts[0].view)
        super().__init__(event_shape, head, parts, condition, condition_dropout, train_parts, **kwargs)

    # Parts that share a decoder are evaluated together.

    def _groups(self) -> list[list[int]]:
        """Indices of the parts, those that share a model together."""
        indices = range(len(self.parts))
        return [list(group) for _, group in itertools.groupby(indices, lambda index: id(self.parts[index].model))]

    def part_scores(self, values: Sequence[tf.Tensor], context: Request = NOTHING) -> list[tf.Tensor]:
        """See `Chain.part_scores`; slices that share a decoder are examples of one batch."""
        found: list[tf.Tensor] = []
        for group in self._groups():
            count, batch = len(group), tf.shape(values[0])[0]
            repeat = lambda x, count=count: tf.concat([x] * count, 0)  # noqa: E731
            chosen = tf.repeat(tf.range(count), batch)
            targets = tf.concat([values[index] for index in group], 0)
            scores = self._slice_scores(group, chosen, targets, [repeat(y) for y in values], context.map(repeat))
            found += tf.split(scores, count)
        return found

    def drawn_nats(self, values: Sequence[tf.Tensor], context: Request) -> tf.Tensor:
        """See `Chain.drawn_nats`: of every group of slices that share a decoder one, drawn for every example."""
        total: list[tf.Tensor] = []
        for group in self._groups():
            count, batch = len(group), tf.shape(values[0])[0]
            uniform = tf.random.stateless_uniform([batch], tf.cast(self.seed_generator.next(), tf.int32))
            chosen = tf.minimum(tf.cast(uniform * count, tf.int32), count - 1)
            targets = tf.gather(tf.stack([values[index] for index in group], 1), chosen, batch_dims=1)
            scores = self._slice_scores(group, chosen, targets, values, context)
            total.append(count * tf.reduce_sum(tf.reshape(scores, [batch, -1]), -1))
        return tf.add_n(total)

    def part_of_step(self, random: np.random.Generator) -> str | None:
        """See `Density.part_of_step`: none, slices are drawn for every example."""
        return None

    def _slice_scores(
        self, group: list[int], chosen: tf.Tensor, targets: tf.Tensor, values: Sequence[tf.Tensor], context: Request
    ) -> tf.Tensor:
        """Nats [B, *positions of a slice] of the values `targets` of another slice in every example.

        Args:
            group: indices of parts that share a model.
            chosen: int32 [B], which of them.
            targets: their values, [B, h, w, C].
            values: of all parts, [B, h, w, C] each.
            context: of the chain.
        """
        first, last = self.parts[group[0]], self.parts[group[-1]]
        if last.link is None:  # a decoder of its own
            return last.score(targets, context)
        places = chosen + group[0] % self.scaling_factor**2
        features = last.link.embedder(list(values[: group[-1] + 1]), places, context.condition)
        if first.link is None:
            features *= tf.cast(tf.reshape(places > 0, [-1, 1, 1, 1]), features.dtype)
        return last.score(targets, Request(features))


def _depths(head: Head, high_bits: int | None) -> list[tuple[str, Head, int, int | None]]:
    """Returns name, head, shift and number of bits (see `Cells`) of the values at every depth."""
    if high_bits is None:
        return [("slice", head, 0, None)]
    levels = head.levels if isinstance(head, Categorical) else 0
    bits = levels.bit_length() - 1
    if levels != 2**bits or not 0 < high_bits < bits:
        raise ValueError(
            f"high_bits must leave some of the b bits of a Categorical(2^b) head, got {high_bits} and {head!r}"
        )
    low = bits - high_bits
    return [("high", Categorical(2**high_bits), low, None), ("low", Categorical(2**low), 0, low)]
