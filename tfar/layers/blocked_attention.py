"""Attention by blocks of queries, which saves memory: the weights of all queries are never stored at once."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Block:
    """Neighbouring queries and the keys that any of them may see.

    Attributes:
        queries: (first, end).
        keys: (first, end).
        mask: gives bool [queries, keys], True where the key is visible.
    """

    queries: tuple[int, int]
    keys: tuple[int, int]
    mask: Callable[[], tf.Tensor]


def blocked_attention(
    attend: Callable[[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor],
    query: tf.Tensor,
    key: tf.Tensor,
    value: tf.Tensor,
    blocks: Sequence[Block],
) -> tf.Tensor:
    """Calls `attend(query, key, value, mask)` block by block and joins the results; the backward pass recomputes them.

        keys
        # . . . . . . .     # computed, . left out: at most two blocks of scores [B, heads, block, K] exist at a
        # # . . . . . .     time, and keys that no query of a block sees are not multiplied
        # # # # . . . .
        # # # # . . . .

    Args:
        attend: such as `tfar.layers.attention.masked_attention`, without randomness.
        query: [B, heads, Q, d].
        key: [B, heads, K, d].
        value: [B, heads, K, e].
        blocks: of all queries, in their order.

    Returns:
        [B, heads, Q, e].

    References:
        Rabe, Staats, Self-attention Does Not Need O(n^2) Memory, 2021 (which cuts the keys as well).
    """

    def attend_block(block: Block, query: tf.Tensor, key: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
        first, end = block.keys
        return attend(query, key[:, :, first:end], value[:, :, first:end], block.mask())

    @tf.custom_gradient
    def whole(query: tf.Tensor, key: tf.Tensor, value: tf.Tensor) -> tuple[tf.Tensor, Callable[..., list[tf.Tensor]]]:
        outputs: list[tf.Tensor] = []
        for block in blocks:
            q = query[:, :, slice(*block.queries)]
            q = _after(q, outputs[-1]) if outputs else q
            outputs.append(attend_block(block, q, key, value))

        def gradient(upstream: tf.Tensor) -> list[tf.Tensor]:
            of_queries: list[tf.Tensor] = []
            of_keys, of_values = tf.zeros_like(key), tf.zeros_like(value)
            for block in blocks:
                rows = slice(*block.queries)
                # Not before the gradient is known: a compiler would keep the scores of the forward pass instead.
                inputs = _after(query[:, :, rows], of_queries[-1] if of_queries else upstream), key, value
                with tf.GradientTape() as tape:
                    tape.watch(inputs)
                    y = attend_block(block, *inputs)
                found = tape.gradient(y, inputs, upstream[:, :, rows])
                of_queries.append(found[0])
                of_keys, of_values = of_keys + found[1], of_values + found[2]
            return [tf.concat(of_queries, 2), of_keys, of_values]

        return tf.concat(outputs, 2), gradient

    return whole(query, key, value)


def causal_blocks(
    num_positions: int, block_size: int, offset: int, reach: int, visible: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
) -> list[Block]:
    """Blocks of causal attention over positions in a line.

    Args:
        num_positions: number of queries, and of keys.
        block_size: queries of a block; the last one may have fewer.
        offset: 0 where a query sees the key of its own position, 1 where it sees those before.
        reach: newest keys that a query sees, with its own place counted.
        visible: (keys [K], queries [Q]) -> bool [Q, K].
    """
    blocks = []
    for first in range(0, num_positions, block_size):
        end = min(first + block_size, num_positions)
        keys = max(0, first - offset - reach + 1), max(1, end - offset)
        mask = functools.partial(lambda keys, queries: visible(tf.range(*keys), tf.range(*queries)), keys, (first, end))
        blocks.append(Block((first, end), keys, mask))
    return blocks


def _after(x: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """Returns `x`, computed after `other`: XLA ignores control dependencies, and simplifies x + 0 y."""
    first = tf.reshape(other, [-1])[:1]
    # Nothing is added, and next to nothing where `other` is not a number: rows of a batch stay apart.
    return x + tf.where(first == first, tf.zeros([], x.dtype), tf.cast(1e-30, x.dtype))
