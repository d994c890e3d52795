"""What is modelled: the shape of an event, its positions, and the network that factorises it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfar.core.orderings import Ordering
from tfar.core.scope import call_network


class Event:
    """The shape of one example under a head.

    A network sees an example on a *grid* of cells with channels, [B, H, W, C] or [B, N, C]; the head needs one set of
    parameters per *position*. Heads with autoregressive channels have one position per channel of a cell, the others
    one per cell.

    Args:
        event_shape: (height, width, channels) or (length,); a length of None stands for any length.
        head: the head; bound to the channels here.
        layout: "grid" keeps the two dimensions of an image; "sequence" flattens it (by scalars, or by pixels where
            the head models whole pixels).

    Attributes:
        head: the head bound to the number of channels.
        channels: values per cell C.
        groups: positions per cell G: C where the network orders the channels, otherwise 1.
        grid: shape of the cells, (H, W) or (N,).
        positions: shape of the positions in terms of the event, as in `score`.
        num_outputs: numbers that the network yields per cell, G * P.

    Raises:
        ValueError: the event shape is not of this form.
    """

    def __init__(self, event_shape: Sequence[int | None], head: Any, layout: str = "grid"):
        shape = tuple(None if size is None else int(size) for size in event_shape)
        if len(shape) not in (1, 3) or any(size is not None and size < 1 for size in shape):
            raise ValueError(f"event_shape must be (height, width, channels) or (length,), got {tuple(event_shape)}")
        if None in shape and len(shape) == 3:
            raise ValueError(f"event_shape of an image must be known, got {tuple(event_shape)}")
        if layout == "grid" and len(shape) == 1:
            raise ValueError(f"event_shape must be (height, width, channels) for a model of images, got {shape}")
        self.event_shape: tuple[Any, ...] = shape
        self.layout = layout
        self.grid: tuple[Any, ...]
        self.positions: tuple[Any, ...]
        image = len(shape) == 3
        self.head = head.with_channels(shape[-1] if image else 1)
        scalar = self.head.autoregressive_channels
        if layout == "grid":
            self.channels, self.grid = shape[-1], shape[:2]
        elif scalar:
            self.channels, self.grid = 1, (None if None in shape else int(np.prod(shape)),)
        else:
            self.channels, self.grid = (shape[-1], (shape[0] * shape[1],)) if image else (1, shape)
        self.groups = self.channels if layout == "grid" and scalar else 1
        self.positions = shape if scalar or not image else shape[:2]
        self.num_outputs = self.groups * self.head.params_size

    @property
    def num_dimensions(self) -> int:
        """Values per example, the number that bits/dim divides by."""
        return int(np.prod(self.event_shape))

    @property
    def num_positions(self) -> int:
        """Factors per example; the length must be known."""
        return self.count_positions(self.event_shape)

    def count_positions(self, shape: Sequence[int]) -> int:
        """Factors of an example of `shape`, which fills in a length of None."""
        return int(np.prod(shape if len(shape) == 1 else self.positions))

    @property
    def num_cells(self) -> int:
        """Cells of the grid."""
        return int(np.prod(self.grid))

    def to_grid(self, x: tf.Tensor) -> tf.Tensor:
        """Values [B, *event_shape] -> [B, *grid, C]."""
        batch = tf.shape(x)[0] if None in self.grid else -1
        return tf.reshape(x, [batch, *(-1 if size is None else size for size in self.grid), self.channels])

    def split(self, outputs: tf.Tensor) -> tf.Tensor:
        """Outputs of the network [B, *grid, G * P] -> the head's parameters [B, *positions, P]."""
        shape = tf.shape(outputs)
        sizes = [shape[1] if size is None else size for size in self.positions]
        return tf.reshape(outputs, [shape[0], *sizes, self.head.params_size])

    def to_head(self, x: tf.Tensor) -> tf.Tensor:
        """Values [B, *event_shape] in the shape that the head's log_prob takes beside `split`."""
        return x if self.head.event_ndims == 0 or len(self.event_shape) == 3 else x[..., None]


@dataclasses.dataclass(frozen=True)
class Stage:
    """All that a sampler or a score needs to know of a model.

    Attributes:
        network: callable `network(x, context)` of encoded cells, causal in `ordering`, run in parallel or in a scope.
        event: shapes and the head.
        ordering: over the cells of the grid.
        encode: data values [..., C] -> float input [..., F] of the network, cell by cell.
    """

    network: keras.layers.Layer
    event: Event
    ordering: Ordering
    encode: Callable[[tf.Tensor], tf.Tensor]

    @property
    def copies(self) -> int:
        """Rows of the network's batch for every row that is drawn."""
        return 1

    @property
    def key(self) -> Any:
        """Tells stages of one model apart where functions made of them are kept."""
        return None

    def copy(self, x: tf.Tensor) -> tf.Tensor:
        """Rows [B, ...] as often as the network sees them, [B * copies, ...]."""
        return x

    def order(self, context: Any = None) -> tuple[Any, Any] | None:
        """The order of drawing: the cell of every rank and the rank of every cell.

        Args:
            context: second argument of the network; where it says in which order a row is drawn, a subclass reads it.

        Returns:
            Two int32 [N] (or [B, N], where every row has its own order), or None where cells are drawn as stored.
        """
        del context
        if self.ordering is None or self.ordering.is_raster:
            return None
        return self.ordering.permutation, self.ordering.ranks.reshape(-1)

    def run(self, x: tf.Tensor, context: Any = None) -> tf.Tensor:
        """Outputs [B, ..., G * P] of the network for encoded cells [B, ..., F]."""
        return call_network(self.network, x, context)

    def encode_drawn(self, values: tf.Tensor, num_drawn: int) -> tf.Tensor:
        """Encoded cells of which only the first `num_drawn` channels are drawn; the features of the others are 0."""
        features = self.encode(values)
        size = features.shape[-1] // self.event.channels
        mask = np.arange(features.shape[-1]) < num_drawn * size
        return features * tf.constant(mask, features.dtype)


@dataclasses.dataclass(frozen=True)
class GuidedStage(Stage):
    """A stage whose network is asked twice, with the condition and without: classifier-free guidance.

        parameters = without + scale * (with - without)

    Where parameters are logits this draws from p(x_i | x_<i) (p(x_i | x_<i, h) / p(x_i | x_<i))^scale, normalized;
    means and log-scales of a mixture are extrapolated likewise. Both rows of a pair see the same values.

    Attributes:
        scale: 1 is the condition as it is, more exaggerates it, 0 leaves it out.

    References:
        Ho, Salimans, Classifier-Free Diffusion Guidance, 2022, equation 6 (with w = scale - 1).
    """

    scale: float = 1.0

    @property
    def copies(self) -> int:
        """See `Stage.copies`."""
        return 2

    @property
    def key(self) -> Any:
        """See `Stage.key`."""
        return ("guided", self.scale)

    def copy(self, x: tf.Tensor) -> tf.Tensor:
        """See `Stage.copy`."""
        return tf.concat([x, x], 0)

    def run(self, x: tf.Tensor, context: Any = None) -> tf.Tensor:
        """See `Stage.run`."""
        both = tf.nest.map_structure(lambda h: tf.concat([h, tf.zeros_like(h)], 0), context)
        given, free = tf.split(super().run(self.copy(x), both), 2)
        return free + self.scale * (given - free)
