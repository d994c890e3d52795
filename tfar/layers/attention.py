"""Causal attention over the positions of a sequence or of an image, with a cache of keys and values."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfar.core import scope as scopes


def masked_attention(query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """softmax(q k / sqrt(d)) v over the visible keys only; 0 where no key is visible.

    The additive -10^10 of the literature gives a query without visible keys the mean of all values, which leaks the
    future into the first position. Here invisible weights are 0 after the exponential.

    Args:
        query: [B, Q, heads, d].
        key: [B, K, heads, d].
        value: [B, K, heads, e].
        mask: bool [Q, K], True where the key is visible.

    Returns:
        [B, Q, heads, e].
    """
    scores = tf.einsum("bqhd,bkhd->bhqk", query, key) * (query.shape[-1] ** -0.5)
    scores = tf.cast(scores, tf.float32) if scores.dtype != tf.float64 else scores
    lowest = tf.constant(scores.dtype.min, scores.dtype)
    peak = tf.reduce_max(tf.where(mask, scores, lowest), -1, keepdims=True)
    weights = tf.where(mask, tf.exp(tf.where(mask, scores, peak) - peak), 0)
    weights /= tf.maximum(tf.reduce_sum(weights, -1, keepdims=True), 1e-30)
    return tf.einsum("bhqk,bkhe->bqhe", tf.cast(weights, value.dtype), value)


@keras.saving.register_keras_serializable("tfar")
class CausalAttention(keras.layers.Layer):
    """Attention of every position over the positions before it, in raster order or along the sequence.

    The layer has no weights: queries, keys and values come from the caller. An exclusive layer sees strictly earlier
    positions; its keys and values are aligned with their own position in parallel, and belong to the previous
    position in a step (pass what they are made of through `Previous`). An inclusive layer sees its own position too.

    The cache holds one slot per position: a step writes one slot and reads all, under a mask that follows from the
    position.

    Args:
        num_heads: number of heads; the channels are split between them.
        exclusive: whether the own position is hidden.
        max_length: slots of the cache; by default the number of positions that the layer is built with.

    Input shapes `[B, *grid, heads * d]` (query, key) and `[B, *grid, heads * e]` (value), output shape as the value.

    References:
        Vaswani et al., Attention Is All You Need, 2017. Chen et al., PixelSNAIL, 2018, section 2.2 (exclusive).
    """

    def __init__(self, num_heads: int = 1, exclusive: bool = False, max_length: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        if num_heads < 1:
            raise ValueError(f"num_heads must be at least 1, got {num_heads}")
        self.num_heads, self.exclusive, self.max_length = num_heads, exclusive, max_length

    def build(
        self,
        query_shape: tuple[int | None, ...],
        key_shape: tuple[int | None, ...] | None = None,
        value_shape: tuple[int | None, ...] | None = None,
    ) -> None:
        """Notes the number of positions, which is the length of the cache."""
        for name, shape in (("query", query_shape), ("key", key_shape), ("value", value_shape)):
            if shape is not None and shape[-1] % self.num_heads:
                raise ValueError(f"channels of {name} must be a multiple of {self.num_heads} heads, got {shape[-1]}")
        self._slots = self.max_length or int(np.prod(query_shape[1:-1]))
        self._width = query_shape[2] if len(query_shape) == 4 else 1

    def call(self, query: tf.Tensor, key: tf.Tensor | None = None, value: tf.Tensor | None = None) -> tf.Tensor:
        """[B, *grid, heads * e]; without a key it is the query, without a value it is the key."""
        key = query if key is None else key
        value = key if value is None else value
        scope = scopes.current()
        outer = tf.concat([tf.shape(query)[:-1], [value.shape[-1]]], 0)
        if scope is not None and scope.phase == "row":
            scope.cell(self).keep()
            return tf.zeros(outer, value.dtype)
        q, k, v = (self._split(x) for x in (query, key, value))
        length = tf.shape(q)[1]
        if scope is None:
            index = tf.range(length)
            mask = index[None, :] < index[:, None] + int(not self.exclusive)
        else:
            first = self._position(scope, query)
            cell = scope.cell(self)
            k, v = self._append(cell, "keys", k, first), self._append(cell, "values", v, first)
            # The keys of an exclusive layer belong to the position before: slot s holds position s - 1, slot 0 none.
            slot, position = tf.range(self._slots), first + tf.range(length)
            mask = (slot[None, :] <= position[:, None]) & (slot >= int(self.exclusive))[None, :]
        return tf.reshape(masked_attention(q, k, v, mask), outer)

    def _split(self, x: tf.Tensor) -> tf.Tensor:
        """[B, *grid, heads * d] -> [B, N, heads, d]."""
        return tf.reshape(x, [tf.shape(x)[0], -1, self.num_heads, x.shape[-1] // self.num_heads])

    def _position(self, scope: scopes.Incremental, query: tf.Tensor) -> Any:
        """Number of the first position of the step in the order of drawing."""
        if scope.phase == "step":
            return scope.at
        if scope.whole_rows:
            return scope.at * query.shape[2]
        return scope.at * self._width + scope.column

    def _append(self, cell: scopes.Cell, name: str, x: tf.Tensor, first: Any) -> tf.Tensor:
        """Writes [B, n, heads, d] into the slots from `first` on; returns all slots."""
        slots = cell.read(name, [self._slots, tf.shape(x)[0], *x.shape[2:]], x.dtype)
        index = first + tf.range(tf.shape(x)[1])
        slots = tf.tensor_scatter_nd_update(slots, index[:, None], tf.transpose(x, [1, 0, 2, 3]))
        cell.write(name, slots)
        return tf.transpose(slots, [1, 0, 2, 3])

    def compute_output_shape(
        self,
        query_shape: tuple[int | None, ...],
        key_shape: tuple[int | None, ...] | None = None,
        value_shape: tuple[int | None, ...] | None = None,
    ) -> tuple[int | None, ...]:
        """[B, *grid, heads * e]."""
        return (*query_shape[:-1], (value_shape or key_shape or query_shape)[-1])

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "exclusive": self.exclusive,
            "max_length": self.max_length,
        }
