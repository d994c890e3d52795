"""Local attention, computed in blocks: along a sequence, or over an image drawn block by block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfar.core import compat
from tfar.core import scope as scopes
from tfar.core.compiled import updates_slices
from tfar.core.configured import Configured
from tfar.core.policies import Typed
from tfar.core.sizes import batch_size
from tfar.core.slicing import varies
from tfar.layers.attention import cache_index, each, masked_attention


class LocalAttention(Configured, keras.layers.Layer, metaclass=Typed):
    """Queries of a block attend to positions of earlier blocks, the same for all, and causally to their own block.

    Base of `LocalAttention1D` and `LocalAttention2D`. The layer has no weights and works on positions in the order of
    drawing. In parallel it needs memory for N (E + L) weights instead of N^2: L positions of a block, E earlier ones.

    Args:
        num_heads: number of heads; the channels are split between them.
        block_length: positions L of a block.
        slots: positions that the cache holds.

    Input shapes `[B, T, heads * d]` (query, key) and `[B, T, heads * e]` (value), output shape as the value.
    """

    def __init__(self, num_heads: int, block_length: int, slots: int, **kwargs: Any):
        super().__init__(**kwargs)
        for name, value in (("num_heads", num_heads), ("block length", block_length)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.num_heads, self._length, self._slots = num_heads, block_length, slots

    def build(self, query_shape: tuple[int | None, ...], *shapes: tuple[int | None, ...]) -> None:
        """Checks the channels."""
        for shape in (query_shape, *shapes):
            if shape[-1] % self.num_heads:
                raise ValueError(f"channels must be a multiple of {self.num_heads} heads, got {shape[-1]}")

    def call(self, query: tf.Tensor, key: tf.Tensor | None = None, value: tf.Tensor | None = None) -> tf.Tensor:
        """[B, T, heads * e]; without a key it is the query, without a value it is the key."""
        key = query if key is None else key
        value = key if value is None else value
        scope = scopes.current()
        q, k, v = (self._split(x) for x in (query, key, value))
        if scope is None:
            return self._merge(self._blocks(q, k, v))
        if scope.phase != "step":
            raise RuntimeError(f"layer {self.name!r} works on sequences and has no {scope.phase} phase")
        attend = self._step if scope.length == 1 else self._several
        return self._merge(attend(scope.state_of(self), q, k, v, scope.at))

    # Subclasses define which earlier positions a block sees, and where the cache keeps them.

    def _earlier(self, x: tf.Tensor, num_blocks: int) -> tuple[tf.Tensor | None, np.ndarray]:
        """Earlier positions of every block, [B, heads, blocks, E, d], of x [B, heads, N, d], and which exist."""
        raise NotImplementedError

    def _visible(self, position: tf.Tensor, entry: tf.Tensor) -> tf.Tensor:
        """Returns which entries a position sees; both broadcast."""
        raise NotImplementedError

    def _recall(self, keys: tf.Tensor, values: tf.Tensor, t: Any) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Reads the cached entries that t's block may see; returns them and flags [K] or [B, 1, 1, K] for t."""
        raise NotImplementedError

    # All positions, one, or several.

    def _blocks(self, q: tf.Tensor, k: tf.Tensor, v: tf.Tensor) -> tf.Tensor:
        """Positions 0, ..., T - 1, [B, heads, T, d], block by block."""
        length, size = q.shape[2], self._length
        num_blocks = -(-length // size)
        padding = [[0, 0], [0, 0], [0, num_blocks * size - length], [0, 0]]
        q, k, v = (tf.pad(x, padding) if padding[2][1] else x for x in (q, k, v))

        def own(x: tf.Tensor) -> tf.Tensor:
            return tf.reshape(x, [batch_size(x), self.num_heads, num_blocks, size, x.shape[-1]])

        (earlier_k, exists), (earlier_v, _) = self._earlier(k, num_blocks), self._earlier(v, num_blocks)
        causal = np.broadcast_to(np.tri(size, dtype=bool), [num_blocks, size, size])
        if earlier_k is None:
            keys, values, mask = own(k), own(v), causal
        else:
            keys, values = tf.concat([earlier_k, own(k)], 3), tf.concat([earlier_v, own(v)], 3)
            seen = np.broadcast_to(exists[:, None], [num_blocks, size, exists.shape[1]])
            mask = np.concatenate([seen, causal], 2)
        y = masked_attention(own(q), keys, values, tf.constant(mask))
        y = tf.reshape(y, [batch_size(y), self.num_heads, num_blocks * size, y.shape[-1]])
        return y[:, :, :length]

    def _step(self, state: scopes.LayerState, q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, t: Any) -> tf.Tensor:
        """One position, [B, heads, 1, d]: writes its slot, then reads what its block may see."""
        keys, values = (
            _write(self._cache(state, name, x), t % self._slots, x) for name, x in (("keys", k), ("values", v))
        )
        state.write("keys", keys)
        state.write("values", values)
        return masked_attention(q, *self._recall(keys, values, t))

    def _several(self, state: scopes.LayerState, q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, first: Any) -> tf.Tensor:
        """Several positions, [B, heads, n, d]: read what is cached and one another, then fill the slots."""
        length, slots = tf.shape(q)[2], tf.range(self._slots)
        # Slot s holds the newest position before `first` that is s modulo the number of slots; a negative one is none.
        held, last = first - 1 - (first - 1 - slots) % self._slots, first + length - 1
        newest = last - (last - slots) % self._slots
        source = tf.where(newest < first, slots, newest - first + self._slots)
        keys, values = (tf.concat([self._cache(state, name, x), x], 2) for name, x in (("keys", k), ("values", v)))
        state.write("keys", tf.gather(keys, source, axis=2))
        state.write("values", tf.gather(values, source, axis=2))
        if isinstance(first, int) and first == 0:  # nothing is cached yet
            return self._blocks(q, k, v)
        position = first + tf.range(length)
        entry = tf.concat([tf.where(held < 0, last + 1, held), position], 0)
        return masked_attention(q, keys, values, self._visible(position[:, None], entry[None]))

    def _cache(self, state: scopes.LayerState, name: str, x: tf.Tensor) -> tf.Tensor:
        """Returns all slots [B, heads, slots, d]."""
        return state.read(name, [batch_size(x), self.num_heads, self._slots, x.shape[-1]], x.dtype)

    def _split(self, x: tf.Tensor) -> tf.Tensor:
        """[B, T, heads * d] -> [B, heads, T, d]."""
        x = tf.reshape(x, [batch_size(x), x.shape[1], self.num_heads, x.shape[-1] // self.num_heads])
        return tf.transpose(x, [0, 2, 1, 3])

    def _merge(self, y: tf.Tensor) -> tf.Tensor:
        """[B, heads, T, e] -> [B, T, heads * e]."""
        return tf.reshape(tf.transpose(y, [0, 2, 1, 3]), [batch_size(y), y.shape[2], self.num_heads * y.shape[3]])

    def compute_output_shape(self, query_shape: tuple[int | None, ...], *shapes: Any) -> tuple[int | None, ...]:
        """[B, T, heads * e]."""
        return (*query_shape[:-1], (shapes or (query_shape,))[-1][-1])


@keras.saving.register_keras_serializable("tfar")
class LocalAttention1D(LocalAttention):
    """Attention of every position to its own block, causally, and to the whole block before.

        block of 3    0 1 2 | 3 4 5 | 6 7 8        position 7 sees 3, ..., 7

    The cache holds two blocks: a step costs the same however long the sequence is.

    Args:
        num_heads: number of heads; the channels are split between them.
        block_size: positions of a block; a sequence of at most two blocks is seen whole.

    Input shapes `[B, T, heads * d]` (query, key) and `[B, T, heads * e]` (value), output shape as the value.

    References:
        Parmar et al., Image Transformer, 2018, section 3.2.2, with as many memory positions as queries (as
        `masked_local_attention_1d` of tensor2tensor).
    """

    def __init__(self, num_heads: int = 1, block_size: int = 256, **kwargs: Any):
        super().__init__(num_heads, block_size, 2 * block_size, **kwargs)
        self.block_size = block_size

    def _earlier(self, x: tf.Tensor, num_blocks: int) -> tuple[tf.Tensor | None, np.ndarray]:
        if num_blocks == 1:
            return None, np.zeros([1, 0], bool)
        size = self.block_size
        x = tf.pad(x[:, :, :-size], [[0, 0], [0, 0], [size, 0], [0, 0]])
        exists = np.repeat(np.arange(num_blocks)[:, None] > 0, size, 1)
        return tf.reshape(x, [batch_size(x), self.num_heads, num_blocks, size, x.shape[-1]]), exists

    def _visible(self, position: tf.Tensor, entry: tf.Tensor) -> tf.Tensor:
        return (entry <= position) & (entry >= (position // self.block_size - 1) * self.block_size)

    def _recall(self, keys: tf.Tensor, values: tf.Tensor, t: Any) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        # Blocks take the halves of the ring in turn: the other half is the block before.
        size, slot = self.block_size, tf.range(self._slots)
        t = each(t)
        own = slot // size == t // size % 2
        return keys, values, tf.where(own, slot % size <= t % size, t >= size)


@keras.saving.register_keras_serializable("tfar")
class LocalAttention2D(LocalAttention):
    """Attention of every pixel to its own block, causally, and to a flange of pixels above, left and right of it.

        + + + + + +        o  the block, 2 x 2: seen where drawn no later
        + + o o + +  <--   +  the flange, 1 above and 2 to either side: seen where it is inside of the image and
        + + o o + +           drawn (what is right of the block in its own rows is not)

    Blocks are drawn in raster order, and so are the pixels of a block: `tfar.orderings.blocks`. Positions are in this
    order. The cache holds all positions; a step gathers from it what its block may see.

    Args:
        num_heads: number of heads; the channels are split between them.
        image_shape: (height, width) in pixels.
        block_shape: (height, width) of a block, divisors of the image's.
        memory_flange: (rows above, columns on either side).
        cells_per_pixel: positions of a pixel that follow each other (colours), which the flange takes together.

    Input shapes `[B, N, heads * d]` (query, key) and `[B, N, heads * e]` (value), output shape as the value.

    Raises:
        ValueError: blocks do not fill the image.

    References:
        Parmar et al., Image Transformer, 2018, section 3.2.2.
    """

    def __init__(
        self,
        num_heads: int,
        image_shape: tuple[int, int],
        block_shape: tuple[int, int],
        memory_flange: Sequence[int],
        cells_per_pixel: int = 1,
        **kwargs: Any,
    ):
        self.image_shape, self.block_shape = tuple(image_shape), tuple(block_shape)
        self.memory_flange, self.cells_per_pixel = tuple(memory_flange), cells_per_pixel
        (height, width), (h, w), (above, aside), cells = image_shape, block_shape, memory_flange, cells_per_pixel
        if min(h, w) < 1 or height % h or width % w:
            raise ValueError(f"block_shape must divide the image {self.image_shape}, got {self.block_shape}")
        if min(above, aside) < 0:
            raise ValueError(f"memory_flange must be at least 0 on every side, got {self.memory_flange}")
        super().__init__(num_heads, h * w * cells, height * width * cells, **kwargs)
        across = width // w
        position = np.arange(height * width * cells)
        block, pixel = position // self._length, position % self._length // cells
        # Row and column of every position, and of the first pixel of its block.
        self._corner = np.stack([block // across * h, block % across * w], 1)
        self._place = self._corner + np.stack([pixel // w, pixel % w], 1)
        where = np.full([height, width, cells], -1)
        where.reshape(-1)[np.ravel_multi_index(self._place.T, (height, width)) * cells + position % cells] = position
        where = np.pad(where, [[above, 0], [aside, aside], [0, 0]], constant_values=-1)
        self._table = np.array(
            [
                np.concatenate(
                    [
                        where[i : i + above, j : j + w + 2 * aside].reshape(-1),
                        where[i + above : i + above + h, j : j + aside].reshape(-1),
                    ]
                )
                for i in range(0, height, h)
                for j in range(0, width, w)
            ],
            np.int32,
        )

    def _earlier(self, x: tf.Tensor, num_blocks: int) -> tuple[tf.Tensor | None, np.ndarray]:
        table = self._table[:num_blocks]
        if not table.size:
            return None, np.zeros([num_blocks, 0], bool)
        # Of a beginning of the image: a block sees positions of blocks before it only.
        x = tf.gather(x, np.maximum(table, 0).reshape(-1), axis=2)
        shape = [batch_size(x), self.num_heads, *table.shape, x.shape[-1]]
        return tf.reshape(x, shape), table >= 0

    def _visible(self, position: tf.Tensor, entry: tf.Tensor) -> tf.Tensor:
        (above, aside), last = self.memory_flange, self._slots - 1
        corner = tf.gather(self._corner, position)
        place = tf.gather(self._place, tf.minimum(entry, last))
        row, column = tf.unstack(place - corner, axis=-1)
        inside = (row >= -above) & (column >= -aside) & (column < self.block_shape[1] + aside)
        return (entry <= position) & inside

    def _recall(self, keys: tf.Tensor, values: tf.Tensor, t: Any) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        block, own = t // self._length, tf.range(self._length)
        earlier = tf.gather(tf.constant(self._table), block)
        first, newest, examples = block * self._length, t % self._length, int(varies(t))
        if examples:
            first, newest = first[:, None], newest[:, None]
        positions = tf.concat([tf.maximum(earlier, 0), first + own], -1)
        visible = tf.concat([earlier >= 0, own <= newest], -1)
        keys, values = (tf.gather(x, positions, axis=2, batch_dims=examples) for x in (keys, values))
        return keys, values, visible[:, None, None] if examples else visible


def _write(cache: tf.Tensor, slot: Any, x: tf.Tensor) -> tf.Tensor:
    """`cache` [B, heads, slots, d] with x [B, heads, 1, d] in `slot`, one or [B]; XLA writes in place."""
    if updates_slices() and not varies(slot):
        return compat.dynamic_update_slice(cache, x, tf.stack([0, 0, slot, 0]))
    return tf.tensor_scatter_nd_update(cache, cache_index(batch_size(cache), cache.shape[1], slot), x[:, :, 0])
