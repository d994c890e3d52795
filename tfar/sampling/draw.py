"""One draw: noise, temperature and observed values become the value of a position."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from tfar.core.event import Event
from tfar.core.sizes import batch_size
from tfar.core.slicing import put


@dataclasses.dataclass(frozen=True)
class Draw:
    """What the draws of a batch depend on besides the network.

    Attributes:
        noise: float32 [B, positions, k], uniform in (0, 1).
        temperature: float32 [B].
        values: known values [B, *grid, C], read where `observed` is True; None where everything is drawn.
        observed: bool [B, *grid, C], or None.
    """

    noise: tf.Tensor
    temperature: tf.Tensor
    values: tf.Tensor | None = None
    observed: tf.Tensor | None = None

    def by_cell(self, event: Event) -> Draw:
        """The same with cells first: noise [N, G, B, k], values and observed [N, B, C]; a step reads one row."""
        batch = tf.shape(self.noise)[0]
        noise = tf.reshape(self.noise, [batch, -1, event.groups, event.head.noise_size])
        return Draw(
            tf.transpose(noise, [1, 2, 0, 3]),
            self.temperature,
            None if self.values is None else cells_first(self.values),
            None if self.observed is None else cells_first(self.observed),
        )

    def in_order(self, permutation: Any) -> Draw:
        """The same with cells in another order: row r is what was row permutation[r]; `self` is cells first."""
        rest = {
            name: None if getattr(self, name) is None else reorder(getattr(self, name), permutation, batch_axis)
            for name, batch_axis in (("noise", 2), ("values", 1), ("observed", 1))
        }
        return dataclasses.replace(self, **rest)

    def channel(self, event: Event, params: tf.Tensor, cell: tf.Tensor, channel: int) -> tf.Tensor:
        """The value [B] of one channel of a cell from its parameters [B, P]; `self` is cells first."""
        value = event.head.sample(params, tf.gather(self.noise, cell)[channel], self.temperature)
        if self.observed is None:
            return value
        return tf.where(self.observed[cell][:, channel], self.values[cell][:, channel], value)

    def pixel(self, event: Event, params: tf.Tensor, cell: tf.Tensor) -> tf.Tensor:
        """The values [B, C] of a whole cell from its parameters [B, P]; `self` is cells first."""
        known = {} if self.observed is None else {"value": self.values[cell], "observed": self.observed[cell]}
        if event.head.event_ndims == 0:
            return self.channel(event, params, cell, 0)[:, None]
        return event.head.sample(params, tf.gather(self.noise, cell)[0], self.temperature, **known)


def cells_first(x: tf.Tensor) -> tf.Tensor:
    """[B, *grid, C] -> [N, B, C]."""
    x = tf.reshape(x, [batch_size(x), -1, x.shape[-1]])
    return tf.transpose(x, [1, 0, 2])


def batch_first(x: tf.Tensor, event: Event) -> tf.Tensor:
    """[N, B, C] -> [B, *grid, C]."""
    x = tf.transpose(x, [1, 0, 2])
    grid = [-1 if size is None else size for size in event.grid]
    return tf.reshape(x, [batch_size(x), *grid, event.channels])


def reorder(x: tf.Tensor, permutation: Any, batch_axis: int = 1) -> tf.Tensor:
    """Cells [N, ..., B, ...] in another order: entry r is what was entry permutation[r].

    Args:
        x: cells first.
        permutation: int [N], or [B, N] with an order for every row of the batch.
        batch_axis: where B stands.
    """
    permutation = tf.convert_to_tensor(permutation)
    if permutation.shape.rank == 1:
        return tf.gather(x, permutation)
    axes = [batch_axis, *(axis for axis in range(x.shape.rank) if axis != batch_axis)]
    rows = tf.gather(tf.transpose(x, axes), permutation, axis=1, batch_dims=1)
    return tf.transpose(rows, np.argsort(axes))


def write(canvas: tf.Tensor, cell: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    """Writes value [B, C] into cell `cell` of a canvas [N, B, C]."""
    return put(canvas, cell, value)
