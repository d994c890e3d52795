"""Causal attention over the positions of a sequence or of an image, with a cache of keys and values."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfar.core import scope as scopes
from tfar.core.checks import check_sizes
from tfar.core.configured import Configured
from tfar.core.policies import Typed
from tfar.core.sizes import batch_size
from tfar.core.slicing import varies
from tfar.layers.blocked_attention import blocked_attention, causal_blocks

# Caches of fewer slots are read whole: a branch costs more.
_LEAST_HALVED = 300


def masked_attention(
    query: tf.Tensor,
    key: tf.Tensor,
    value: tf.Tensor,
    mask: tf.Tensor,
    dropout: Callable[[tf.Tensor], tf.Tensor] | None = None,
    scale: float | None = None,
) -> tf.Tensor:
    """softmax(scale q k) v over the visible keys only; 0 where no key is visible.

    The additive -10^10 of the literature gives a query without visible keys the mean of all values, which leaks the
    future into the first position. Here the lowest number of the type is added, so that invisible weights are exactly
    0 beside any visible one, and queries without one are set to 0.

    Args:
        query: [B, heads, Q, d]; local attention has blocks in front of Q, and of K.
        key: [B, heads, K, d].
        value: [B, heads, K, e].
        mask: bool [Q, K] (or [blocks, Q, K]), True where the key is visible.
        dropout: applied to the weights [B, heads, Q, K].
        scale: factor of the scores; 1 / sqrt(d) by default.

    Returns:
        [B, heads, Q, e].
    """
    # The smaller factor is scaled: there are fewer queries than weights.
    scores = tf.matmul(query * (query.shape[-1] ** -0.5 if scale is None else scale), key, transpose_b=True)
    scores = tf.cast(scores, tf.float32) if scores.dtype != tf.float64 else scores
    weights = tf.nn.softmax(scores + tf.where(mask, tf.zeros([], scores.dtype), scores.dtype.min))
    weights = tf.cast(weights, value.dtype)
    if dropout is not None:
        weights = dropout(weights)
    return tf.matmul(weights, value) * tf.cast(tf.reduce_any(mask, -1, keepdims=True), value.dtype)


def each(position: Any) -> Any:
    """Reshapes a position for comparison with slots [K]: a scalar stays, [B] becomes [B, 1, 1, 1]."""
    return position[:, None, None, None] if varies(position) else position


def cache_index(batch: Any, num_heads: int, slot: Any) -> tf.Tensor:
    """Index [B, heads, 3] of a slot, or of one for each example [B], in a cache [B, heads, slots, d].

    One index per example and head: XLA then writes in place, and a head's keys lie side by side.
    """
    if varies(slot):
        example, head = tf.meshgrid(tf.range(batch), tf.range(num_heads), indexing="ij")
        return tf.stack([example, head, tf.repeat(slot[:, None], num_heads, 1)], -1)
    return tf.stack(tf.meshgrid(tf.range(batch), tf.range(num_heads), slot, indexing="ij"), -1)[:, :, 0]


@keras.saving.register_keras_serializable("tfar")
class CausalAttention(Configured, keras.layers.Layer, metaclass=Typed):
    """Attention of every position over the positions before it, in raster order or along the sequence.

    The layer has no weights: queries, keys and values come from the caller. An exclusive layer sees strictly earlier
    positions; its keys and values are aligned with their own position in parallel, and belong to the previous
    position in a step (pass their input through `Previous`). An inclusive layer sees its own position too.

    The cache holds `max_length` slots, used in turn: a step writes one and reads those that are filled. Where an event
    is longer, in parallel too, a position sees the last `max_length` positions only.

    Args:
        num_heads: number of heads; the channels are split between them.
        exclusive: whether the own position is hidden.
        max_length: slots of the cache; by default the number of positions that the layer is built with.
        dropout: rate on the attention weights while training.
        scale: factor of the scores q k; 1 / sqrt(d) by default.
        block_size: in parallel, take so many queries at a time and compute their weights again in the backward pass:
            memory grows with block_size * N instead of N^2. The result is the same. None: all at once.

    Raises:
        ValueError: an argument is out of range, or `block_size` with dropout, whose masks would differ.

    Input shapes `[B, *grid, heads * d]` (query, key) and `[B, *grid, heads * e]` (value), output shape as the value.

    References:
        Vaswani et al., Attention Is All You Need, 2017. Chen et al., PixelSNAIL, 2018, section 2.2 (exclusive).
    """

    def __init__(
        self,
        num_heads: int = 1,
        exclusive: bool = False,
        max_length: int | None = None,
        dropout: float = 0.0,
        scale: float | None = None,
        block_size: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_sizes(num_heads=num_heads, max_length=max_length, block_size=block_size)
        if block_size is not None and dropout:
            raise ValueError(f"dropout must be 0 with block_size={block_size}, got {dropout}")
        self.block_size = block_size
        self.num_heads, self.exclusive, self.max_length, self.scale = num_heads, exclusive, max_length, scale
        self._dropout, self.dropout = dropout, keras.layers.Dropout(dropout) if dropout else None

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
        if self.max_length is None and None in query_shape[1:-1]:
            raise ValueError(f"max_length is needed where the number of positions is not known, got {query_shape}")
        self._slots = self.max_length or int(np.prod(query_shape[1:-1]))
        self._width = query_shape[2] if len(query_shape) == 4 else 1

    @property
    def rewindable(self) -> int:
        """Positions within which no slot is used twice, see `tfar.core.rewinding`."""
        return self._slots

    def call(self, query: tf.Tensor, key: tf.Tensor | None = None, value: tf.Tensor | None = None) -> tf.Tensor:
        """[B, *grid, heads * e]; without a key it is the query, without a value it is the key."""
        key = query if key is None else key
        value = key if value is None else value
        scope = scopes.current()
        if scope is not None and scope.phase == "row":
            scope.state_of(self).keep_unchanged()
            return tf.zeros(tf.concat([tf.shape(query)[:-1], [value.shape[-1]]], 0), value.dtype)
        q, k, v = (self._split(x) for x in (query, key, value))
        if scope is None:
            return self._merge(self._parallel(q, k, v), query)
        first, state = self._position(scope, query), scope.state_of(self)
        length = q.shape[2] if q.shape[2] is not None else scope.length
        attend = self._step if length == 1 else self._block
        return self._merge(attend(state, q, k, v, first), query)

    def _parallel(self, q: tf.Tensor, k: tf.Tensor, v: tf.Tensor) -> tf.Tensor:
        """Attends at all positions, [B, heads, N, d]."""

        def visible(key: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
            # Key s is entry s + 1 of an exclusive layer: as in the cache, position t sees entries up to t.
            return self._visible(key + int(self.exclusive), position)

        if self.block_size is None:
            position = tf.range(tf.shape(q)[2])
            return masked_attention(q, k, v, visible(position, position), self.dropout, self.scale)
        if q.shape[2] is None:
            raise ValueError(f"block_size must be None where the number of positions is not known, got {q.shape}")
        blocks = causal_blocks(q.shape[2], self.block_size, int(self.exclusive), self._slots, visible)
        return blocked_attention(functools.partial(masked_attention, scale=self.scale), q, k, v, blocks)

    def _visible(self, entry: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
        """Returns which cache entries [K] positions [Q] see, bool [Q, K]: the newest `max_length` up to their own."""
        age = position[:, None] - entry[None, :]
        return (age >= 0) & (age < self._slots) & (entry >= int(self.exclusive))[None, :]

    def _step(self, state: scopes.LayerState, q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, position: Any) -> tf.Tensor:
        """One position, [B, heads, 1, d]: writes its slot, then reads all."""
        index = cache_index(batch_size(q), self.num_heads, position % self._slots)
        keys = tf.tensor_scatter_nd_update(self._cache(state, "keys", k), index, k[:, :, 0])
        values = tf.tensor_scatter_nd_update(self._cache(state, "values", v), index, v[:, :, 0])
        state.write("keys", keys)
        state.write("values", values)
        return self._attend(q, keys, values, position, self._slots)

    def _attend(self, q: tf.Tensor, keys: tf.Tensor, values: tf.Tensor, position: Any, slots: int) -> tf.Tensor:
        """Attends to the first `slots` slots, or to half of them while no more are filled.

        Slots are filled in order; a step's cost is the slots that it reads.
        """

        def attend() -> tf.Tensor:
            slot, at = tf.range(slots), each(position)
            # Only the first entry of an exclusive layer belongs to no position.
            visible = (slot <= at) & ((slot >= int(self.exclusive)) | (at >= self._slots))
            return masked_attention(q, keys[:, :, :slots], values[:, :, :slots], visible, scale=self.scale)

        if slots < _LEAST_HALVED:
            return attend()
        half = slots // 2
        newest = tf.reduce_max(position) if varies(position) else tf.convert_to_tensor(position)
        return tf.cond(newest < half, lambda: self._attend(q, keys, values, position, half), attend)

    def _block(self, state: scopes.LayerState, q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, first: Any) -> tf.Tensor:
        """Several positions, [B, heads, n, d]: read what is cached and one another, then fill the slots."""
        length, slots = tf.shape(q)[2], tf.range(self._slots)
        position = first + tf.range(length)
        # Slot s holds the newest entry before `first` that is s modulo the number of slots; a negative one is none.
        held = first - 1 - (first - 1 - slots) % self._slots
        entry = tf.concat([tf.where(held < 0, first + length, held), position], 0)
        keys = tf.concat([self._cache(state, "keys", k), k], 2)
        values = tf.concat([self._cache(state, "values", v), v], 2)
        last = first + length - 1
        newest = last - (last - slots) % self._slots
        source = tf.where(newest < first, slots, newest - first + self._slots)
        state.write("keys", tf.gather(keys, source, axis=2))
        state.write("values", tf.gather(values, source, axis=2))
        if isinstance(first, int) and first == 0:  # nothing is cached yet
            entry, keys, values = position, k, v
        return masked_attention(q, keys, values, self._visible(entry, position), self.dropout, self.scale)

    def _cache(self, state: scopes.LayerState, name: str, x: tf.Tensor) -> tf.Tensor:
        """Returns all slots [B, heads, slots, d]."""
        return state.read(name, [batch_size(x), self.num_heads, self._slots, x.shape[-1]], x.dtype)

    def _split(self, x: tf.Tensor) -> tf.Tensor:
        """[B, *grid, heads * d] -> [B, heads, N, d]."""
        grid = x.shape[1:-1]
        positions = -1 if None in grid else int(np.prod(grid))
        x = tf.reshape(x, [batch_size(x), positions, self.num_heads, x.shape[-1] // self.num_heads])
        return tf.transpose(x, [0, 2, 1, 3])

    def _merge(self, y: tf.Tensor, query: tf.Tensor) -> tf.Tensor:
        """[B, heads, N, e] -> [B, *grid, heads * e], the grid of the query."""
        features = self.num_heads * y.shape[-1]
        return tf.reshape(tf.transpose(y, [0, 2, 1, 3]), tf.concat([tf.shape(query)[:-1], [features]], 0))

    def _position(self, scope: scopes.Incremental, query: tf.Tensor) -> Any:
        """Number of the first position of the step in the order of drawing."""
        if scope.phase == "step":
            return scope.at
        if scope.whole_rows:
            return scope.at * query.shape[2]
        return scope.at * self._width + scope.column

    def compute_output_shape(
        self,
        query_shape: tuple[int | None, ...],
        key_shape: tuple[int | None, ...] | None = None,
        value_shape: tuple[int | None, ...] | None = None,
    ) -> tuple[int | None, ...]:
        """[B, *grid, heads * e]."""
        return (*query_shape[:-1], (value_shape or key_shape or query_shape)[-1])
