"""Draws values from parameters of the head, by noise, temperature and known values."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from tfar.core.carry import Choose, Site
from tfar.core.event import Event
from tfar.core.protocols import Head
from tfar.core.request import Request
from tfar.core.sizes import batch_size
from tfar.core.stage import Stage


@dataclasses.dataclass(frozen=True)
class SampleInputs:
    """Noise, temperature and known values of a batch, cells as they are stored.

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

    @property
    def canvas(self) -> tf.Tensor:
        """`values`, which a sampler of whole events begins with; ValueError without them."""
        if self.values is None:
            raise ValueError("values must be given to draw whole events, got None")
        return self.values

    def chooser(self, event: Event, order: Any = None, origin: Any = 0) -> Choose:
        """Returns the function that draws the value of a site, see `tfar.core.stage`.

        Args:
            event: shapes and the head.
            order: the cell of every rank, [N] or [B, N]; None where cells are drawn as stored.
            origin: the first cell of these inputs, a scalar; or [B] where every example has its own. All examples
                then stand equally many cells behind theirs.
        """
        batch, size = tf.shape(self.noise)[0], event.head.noise_size
        noise = cells_first(tf.reshape(self.noise, [batch, -1, event.groups * size]), order)
        known = None if self.observed is None else [cells_first(x, order) for x in (self.values, self.observed)]

        def choose(params: tf.Tensor, site: Site, aux: Any) -> tuple[tf.Tensor, Any]:
            cell = site.cell if isinstance(origin, int) and origin == 0 else site.cell - origin
            cell = cell[0] if isinstance(cell, tf.Tensor) and cell.shape.rank else cell
            numbers = tf.gather(noise, cell)
            if event.groups > 1:
                numbers = numbers[:, site.group * size : (site.group + 1) * size]
            here = None if known is None else [tf.gather(x, cell) for x in known]
            return _draw(event.head, params, numbers, self.temperature, here, site.group), aux

        return choose

    def draw_all(self, event: Event, outputs: tf.Tensor, group: int = 0) -> tf.Tensor:
        """Draws the values of all cells at once.

        Args:
            event: shapes and the head.
            outputs: of the network for the cells of these inputs, [B, *cells, G * P].
            group: the colour to draw, where the network orders them.

        Returns:
            [B, *cells, C], or [B, *cells, 1] of a colour or of a single channel.
        """
        head, lead = event.head, tf.shape(outputs)[:-1]
        params = tf.reshape(outputs, [-1, event.groups, head.params_size])[:, group]
        noise = tf.reshape(self.noise, [-1, event.groups, head.noise_size])[:, group]
        known = None
        if self.observed is not None:
            known = [tf.reshape(x, [-1, event.channels]) for x in (self.values, self.observed)]
        cells = tf.reduce_prod(lead[1:])
        drawn = _draw(head, params, noise, tf.repeat(self.temperature, cells), known, group)
        return tf.reshape(drawn, tf.concat([lead, drawn.shape[-1:]], 0))


def _draw(head: Head, params: tf.Tensor, noise: tf.Tensor, temperature: tf.Tensor, known: Any, group: int) -> tf.Tensor:
    """Draws values of cells, [n, C], or of one of their colours, [n, 1].

    Args:
        head: the head.
        params: [n, P].
        noise: [n, k].
        temperature: [n].
        known: values and observed flags of whole cells, [n, C] each, or None.
        group: the colour.
    """
    if head.event_ndims:
        given = {} if known is None else {"value": known[0], "observed": known[1]}
        return head.sample(params, noise, temperature, **given)
    drawn = head.sample(params, noise, temperature)[:, None]
    if known is None:
        return drawn
    value, observed = (x[:, group : group + 1] for x in known)
    return tf.where(observed, value, drawn)


def cells_first(x: tf.Tensor, order: Any = None) -> tf.Tensor:
    """[B, *grid, C] -> [N, B, C] in the order of drawing.

    Args:
        x: cells as they are stored.
        order: the cell of every rank, [N] or [B, N]; None for the order in which they are stored.
    """
    x = tf.reshape(x, [batch_size(x), -1, x.shape[-1]])
    if order is not None:
        x = in_order(x, order)
    return tf.transpose(x, [1, 0, 2])


def in_order(x: tf.Tensor, order: Any) -> tf.Tensor:
    """Cells [B, N, ...] in another order, [N] or [B, N]: entry r is what was entry order[r]."""
    order = tf.convert_to_tensor(order)
    return tf.gather(x, order, axis=1, batch_dims=order.shape.rank - 1)


def batch_first(x: tf.Tensor, event: Event, ranks: Any = None) -> tf.Tensor:
    """[N, B, F] in the order of drawing -> [B, *grid, F] as stored.

    Args:
        x: cells first.
        event: shapes.
        ranks: the rank of every cell, [N] or [B, N]; None where the order is that in which they are stored.
    """
    x = tf.transpose(x, [1, 0, 2])
    x = x if ranks is None else in_order(x, ranks)
    return tf.reshape(x, [batch_size(x), *(-1 if size is None else size for size in event.grid), x.shape[-1]])


def cells_in_order(stage: Stage, context: Request, num: int, cells: int) -> np.ndarray:
    """Returns the cell of every rank for each of `num` examples, int [num, cells]."""
    order = stage.order(context)
    permutation = np.arange(cells) if order is None else np.asarray(order[0])
    return np.broadcast_to(permutation, (num, cells))
