"""Causal attention to squares of pixels, pooled by their maximum."""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfar.core import scope as scopes
from tfar.core.checks import check_sizes
from tfar.core.configured import Configured
from tfar.core.policies import Typed
from tfar.core.sizes import batch_size
from tfar.core.slicing import entry, look_up, pick, put, take, varies
from tfar.layers.attention import masked_attention
from tfar.layers.blocked_attention import Block, blocked_attention


@keras.saving.register_keras_serializable("tfar")
class PooledCausalAttention(Configured, keras.layers.Layer, metaclass=Typed):
    """Attention of every pixel to the squares of s x s pixels that are complete before it, in raster order.

    Keys and values of a square are the maxima over its pixels. The memory of the weights is s^2 times smaller than that
    of `CausalAttention(exclusive=True)`; the newest s - 1 rows and pixels are not seen. As there, keys and values are
    those of the previous pixel in a step (pass what they are made of through `Previous`).

    Args:
        downsample: s.
        block_size: in parallel, take so many queries at a time, see `CausalAttention`; None: all at once.

    Input shapes `[B, H, W, d]` (query, key) and `[B, H, W, e]` (value), output shape as the value.

    Raises:
        ValueError: s is not positive or does not divide height and width, or `block_size` is not positive.

    References:
        Chen et al., PixelSNAIL, 2018; https://github.com/neocxi/pixelsnail-public (att_downsample).
    """

    def __init__(self, downsample: int, block_size: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        check_sizes(downsample=downsample, block_size=block_size)
        self.downsample, self.block_size = downsample, block_size

    def build(self, query_shape: tuple[int | None, ...], *_: Any) -> None:
        """Notes which squares are complete before a pixel."""
        height, width = query_shape[1:3]
        s = self.downsample
        if height % s or width % s:
            raise ValueError(f"downsample must divide height and width ({height}, {width}), got {s}")
        self._grid = (height, width)
        pixel = np.arange(height * width).reshape(height, width)
        last = pixel[s - 1 :: s, s - 1 :: s].reshape(-1)
        self._visible = last[None, :] < pixel.reshape(-1)[:, None]  # [pixels, squares]

    def call(self, query: tf.Tensor, key: tf.Tensor | None = None, value: tf.Tensor | None = None) -> tf.Tensor:
        """[B, H, W, e]; without a key it is the query, without a value it is the key."""
        key = query if key is None else key
        value = key if value is None else value
        scope, s = scopes.current(), self.downsample
        if scope is None:
            keys, values = (_flat(tf.nn.max_pool2d(x, s, s, "VALID")) for x in (key, value))
            return self._parallel(query, keys, values)
        state = scope.state_of(self)
        width = self._grid[1]
        if scope.phase == "row":
            state.keep_unchanged()
            return tf.zeros([batch_size(query), scope.length, width, value.shape[-1]], value.dtype)
        first = scope.at * width + (0 if scope.whole_rows else scope.column)
        count = scope.length * width if scope.whole_rows else 1
        keys, values = (self._store(state, name, x, first, count) for name, x in (("keys", key), ("values", value)))
        visible = look_up(tf.constant(self._visible), first, count)
        return self._attend(query, keys, values, visible[:, None] if varies(first) else visible)

    def _store(self, state: scopes.LayerState, name: str, x: tf.Tensor, first: Any, count: int) -> tf.Tensor:
        """Adds pixels first - 1, ..., first + count - 2 to their squares, [B, squares, d]."""
        height, width = self._grid
        s, squares = self.downsample, self._visible.shape[1]
        old = state.read(name, [squares, batch_size(x), x.shape[-1]], x.dtype)
        pixels = first - 1 if varies(first) else first - 1 + tf.range(count)
        row, column = pixels // width, pixels % width
        begins = (row % s == 0) & (column % s == 0)
        # The place holder before the first pixel belongs to no square.
        square = tf.where(pixels < 0, -1, row // s * (width // s) + column // s)
        flat = tf.transpose(_flat(x), [1, 0, 2])
        if varies(first):
            place, new = entry(tf.maximum(square, 0)), flat[0]
            begins = (begins | (pixels < 0))[:, None]
            new = put(old, place, tf.where(begins, new, tf.maximum(new, pick(old, place))))
        elif count == 1:
            place = tf.maximum(square, 0)
            merged = tf.where(begins | (pixels < 0), flat, tf.maximum(flat, take(old, 0, place[0])))
            new = tf.tensor_scatter_nd_update(old, place[:, None], merged)
        else:
            most = tf.math.unsorted_segment_max(flat, square, squares)
            begun = tf.math.unsorted_segment_max(tf.cast(begins, tf.int32), square, squares) > 0
            new = tf.where(begun[:, None, None], most, tf.maximum(old, most))
        state.write(name, new)
        return tf.transpose(new, [1, 0, 2])

    def _parallel(self, query: tf.Tensor, keys: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
        if self.block_size is None:
            return self._attend(query, keys, values, tf.constant(self._visible))
        blocks = []
        for first in range(0, len(self._visible), self.block_size):
            visible = self._visible[first : first + self.block_size]
            # The last query of a block sees the most squares, but not all of them are the first ones.
            count = max(1, int(np.flatnonzero(visible.any(0)).max(initial=-1)) + 1)
            mask = functools.partial(tf.constant, visible[:, :count])
            blocks.append(Block((first, first + len(visible)), (0, count), mask))
        y = blocked_attention(masked_attention, _flat(query)[:, None], keys[:, None], values[:, None], blocks)
        return self._reshape(y, query)

    def _attend(self, query: tf.Tensor, keys: tf.Tensor, values: tf.Tensor, visible: tf.Tensor) -> tf.Tensor:
        y = masked_attention(_flat(query)[:, None], keys[:, None], values[:, None], visible)
        return self._reshape(y, query)

    def _reshape(self, y: tf.Tensor, query: tf.Tensor) -> tf.Tensor:
        """[B, 1, n, e] -> [B, H, W, e], the grid of the query."""
        return tf.reshape(y, tf.concat([tf.shape(query)[:-1], [y.shape[-1]]], 0))

    def compute_output_shape(self, query_shape: tuple[int | None, ...], *shapes: Any) -> tuple[int | None, ...]:
        """[B, H, W, e]."""
        return (*query_shape[:-1], (shapes or (query_shape,))[-1][-1])


def _flat(x: tf.Tensor) -> tf.Tensor:
    """[B, H, W, d] -> [B, H * W, d]."""
    return tf.reshape(x, [batch_size(x), int(np.prod(x.shape[1:-1])), x.shape[-1]])
