"""The shape of an event, its positions and its grid of cells."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from tfar.core.protocols import EventShape, Head, Shape
from tfar.core.sizes import batch_size


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

    def __init__(self, event_shape: EventShape, head: Head, layout: str = "grid"):
        if isinstance(head, type) or not hasattr(head, "with_channels"):
            shown = head.__name__ if isinstance(head, type) else repr(head)
            raise ValueError(f"head must be a head of tfar.heads, Bernoulli() or Categorical(256) say, got {shown}")
        if isinstance(event_shape, str) or not isinstance(event_shape, Iterable):
            raise ValueError(f"event_shape must be (height, width, channels) or (length,), got {event_shape!r}")
        event_shape = tuple(event_shape)
        if not all(size is None or (isinstance(size, int | np.integer) and size is not True) for size in event_shape):
            raise ValueError(
                f"event_shape must be (height, width, channels) or (length,) of integers, got {event_shape}"
            )
        shape = tuple(None if size is None else int(size) for size in event_shape)
        if len(shape) not in (1, 3) or any(size is not None and size < 1 for size in shape):
            raise ValueError(f"event_shape must be (height, width, channels) or (length,), got {tuple(event_shape)}")
        if None in shape and len(shape) == 3:
            raise ValueError(f"event_shape of an image must be known, got {tuple(event_shape)}")
        if layout == "grid" and len(shape) == 1:
            raise ValueError(
                f"event_shape must be (height, width, channels) for a model of images, got {shape}; "
                'layout="sequence" is for flat events'
            )
        self.event_shape: Shape = shape
        self.layout = layout
        self.grid: Shape
        self.positions: Shape
        image = len(shape) == 3
        self._known = tuple(size for size in shape if size is not None)
        channels = self._known[2] if image else 1
        self.head = head.with_channels(channels)
        scalar = self.head.autoregressive_channels
        if layout == "grid":
            self.channels, self.grid = channels, shape[:2]
        elif image:
            cells = _product(self._known)
            self.channels, self.grid = (1, (cells,)) if scalar else (channels, (cells // channels,))
        else:
            self.channels, self.grid = 1, shape
        self.groups = self.channels if layout == "grid" and scalar else 1
        self.positions = shape if scalar or not image else shape[:2]
        self.num_outputs = self.groups * self.head.params_size

    @property
    def image_shape(self) -> tuple[int, int]:
        """Height and width; ValueError where events are no images."""
        if len(self.event_shape) != 3:
            raise ValueError(f"event_shape must be (height, width, channels), got {self.event_shape}")
        height, width, _ = self._known
        return height, width

    @property
    def num_dimensions(self) -> int:
        """Values per example, the number that bits/dim divides by."""
        return _product(self.event_shape)

    @property
    def num_positions(self) -> int:
        """Factors per example; the length must be known."""
        return self.count_positions(self.event_shape)

    def count_positions(self, shape: EventShape) -> int:
        """Factors of an example of `shape`, which fills in a length of None."""
        return _product(shape if len(shape) == 1 else self.positions)

    @property
    def num_cells(self) -> int:
        """Cells of the grid."""
        return _product(self.grid)

    def to_grid(self, x: tf.Tensor) -> tf.Tensor:
        """Values [B, *event_shape] -> [B, *grid, C]."""
        length = -1 if x.shape[1] is None else x.shape[1]
        sizes = [length if size is None else size for size in self.grid]
        return tf.reshape(x, [batch_size(x) if -1 in sizes else -1, *sizes, self.channels])

    def split(self, outputs: tf.Tensor) -> tf.Tensor:
        """Outputs of the network [B, *grid, G * P] -> the head's parameters [B, *positions, P].

        Raises:
            ValueError: the network yields another number of outputs per cell.
        """
        if outputs.shape[-1] not in (None, self.num_outputs):
            raise ValueError(
                f"the network must yield {self.num_outputs} numbers per cell (Event.num_outputs) for {self.head!r}, "
                f"got {outputs.shape[-1]}"
            )
        shape = tf.shape(outputs)
        sizes = [shape[1] if size is None else size for size in self.positions]
        return tf.reshape(outputs, [shape[0], *sizes, self.head.params_size])

    def to_head(self, x: tf.Tensor) -> tf.Tensor:
        """Values [B, *event_shape] in the shape that the head's log_prob takes beside `split`."""
        return x if self.head.event_ndims == 0 or len(self.event_shape) == 3 else x[..., None]


def _product(shape: EventShape) -> int:
    known = [size for size in shape if size is not None]
    if len(known) < len(tuple(shape)):
        raise ValueError(f"event_shape must be known here, got {tuple(shape)}")
    return math.prod(known)
