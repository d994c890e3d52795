"""Rearranges cells into the order of drawing and back."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfar.core import scope as scopes
from tfar.core.example_orders import cells_at_ranks, gather_cells, inverse_order


@keras.saving.register_keras_serializable("tfar")
class Ordered(keras.layers.Layer):
    """Shifts cells by one in an order of drawing; causal layers behind it make a network of any order.

        y_r = x_(order(r - 1)),     y_0 = 0

    `restore` takes what these layers compute back to the cells as they are stored. In a step the input of a network is
    the cell that was drawn last and its output belongs to the cell that is drawn now: both are the identity, `sources`
    and `targets` name the two cells.

    Input shapes `[B, N, F]`, cells as stored, and the order: the cell of every rank, int `[N]` or `[B, N]`, raster
    without it. Output shape `[B, N, F]`, by rank.

    Example:
        >>> x = tf.constant([[[1.0], [2.0], [3.0]]])
        >>> layer, order = Ordered(), tf.constant([2, 0, 1])
        >>> layer(x, order).numpy().ravel().tolist()
        [0.0, 3.0, 1.0]
        >>> layer.restore(tf.gather(x, order, axis=1), order).numpy().ravel().tolist()
        [1.0, 2.0, 3.0]
    """

    def call(self, x: tf.Tensor, order: Any = None) -> tf.Tensor:
        """[B, N, F] as stored -> [B, N, F] by rank; in a step x."""
        if scopes.current() is not None:
            return x
        x = x if _is_raster(order) else gather_cells(x, order)
        return tf.pad(x, [[0, 0], [1, 0], [0, 0]])[:, :-1]

    def restore(self, y: tf.Tensor, order: Any = None) -> tf.Tensor:
        """[B, N, F] by rank -> as stored; in a step y."""
        if scopes.current() is not None or _is_raster(order):
            return y
        return gather_cells(y, inverse_order(order))

    def targets(self, order: Any) -> tf.Tensor:
        """Returns the cells that are computed, by rank: [N] or [B, N]; in a step [n] or [B, n]."""
        scope = scopes.current()
        return tf.convert_to_tensor(order) if scope is None else cells_at_ranks(order, scope.at, scope.length)

    def sources(self, order: Any) -> tf.Tensor:
        """Returns the cells before them, N where there is none; of the same shape."""
        order = tf.convert_to_tensor(order)
        *batch, cells = tf.unstack(tf.shape(order))
        nothing = tf.cast(tf.fill([*batch, 1], cells), order.dtype)
        return self.targets(tf.concat([nothing, order[..., :-1]], -1))

    def compute_output_shape(self, x_shape: tuple[int | None, ...], order_shape: Any = None) -> tuple[int | None, ...]:
        """[B, N, F]."""
        return x_shape


def cells_at_hand(x: tf.Tensor, order: Any) -> tf.Tensor:
    """Cells [B, N, ...]; in a step those of the ranks at hand, [B, n, ...]: for layers that compute cells as stored."""
    scope = scopes.current()
    return x if scope is None else gather_cells(x, cells_at_ranks(order, scope.at, scope.length))


def _is_raster(order: Any) -> bool:
    """Returns whether the graph knows that nothing is moved."""
    known = None if order is None else tf.get_static_value(tf.convert_to_tensor(order))
    return order is None or (known is not None and bool((np.diff(known) == 1).all()))
