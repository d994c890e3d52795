"""Attention in blocks equals plain attention with the mask that the paper draws."""

import numpy as np
import pytest
import tensorflow as tf

from tests.closeness import assert_close
from tfar.core import orderings
from tfar.core.states import state_spec
from tfar.layers import LocalAttention1D, LocalAttention2D
from tfar.layers.attention import masked_attention
from tfar.testing import assert_incremental_matches_parallel


def random(*shape, seed=0):
    return tf.constant(np.random.default_rng(seed).normal(size=shape), tf.float32)


def plain(q, k, v, mask, heads):
    """Attention of all positions to all others under a mask [N, N]."""
    split = lambda x: tf.transpose(tf.reshape(x, [*x.shape[:2], heads, -1]), [0, 2, 1, 3])  # noqa: E731
    y = tf.transpose(masked_attention(split(q), split(k), split(v), tf.constant(mask)), [0, 2, 1, 3])
    return tf.reshape(y, [*y.shape[:2], -1])


@pytest.mark.parametrize(("length", "size"), [(12, 3), (11, 4), (5, 5), (3, 8), (7, 1)])
def test_one_dimension(length, size):
    q, k, v = random(2, length, 4), random(2, length, 4, seed=1), random(2, length, 6, seed=2)
    mask = [[s <= t and t // size - s // size <= 1 for s in range(length)] for t in range(length)]
    y = LocalAttention1D(2, size)(q, k, v)
    assert_close(y, plain(q, k, v, np.array(mask), 2))


# What the first, the second and the last pixel of the marked block see of a 4 x 6 image in blocks of 2 x 2, with a
# flange of 1 row and 1 column: all that is inside of the flange and drawn no later.
PICTURES = {
    (2, 2): "...... .xxxx. .xx... .x....",
    (2, 3): "...... .xxxx. .xxx.. .x....",
    (3, 3): "...... .xxxx. .xxx.. .xxx..",
    (0, 0): "x..... ...... ...... ......",
    (1, 4): "...xxx ...xx. ...... ......",
    (2, 5): "...... ...xxx ...xxx ...x..",
}


@pytest.mark.parametrize("target", PICTURES)
def test_two_dimensions_see_what_the_paper_draws(target):
    layer = LocalAttention2D(1, (4, 6), (2, 2), (1, 1))
    ranks = orderings.blocks(4, 6, (2, 2)).ranks
    x = random(1, 24, 3)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(layer(tf.stop_gradient(x), tf.stop_gradient(x), x)[:, ranks[target]])
    seen = np.abs(tape.gradient(y, x)).sum((0, 2))[ranks.reshape(-1)].reshape(4, 6) > 0
    assert " ".join("".join(".x"[int(flag)] for flag in row) for row in seen) == PICTURES[target]


@pytest.mark.parametrize(
    ("image", "block", "flange", "cells"),
    [
        ((4, 6), (2, 3), (1, 2), 1),
        ((4, 4), (2, 2), (3, 5), 2),
        ((4, 4), (4, 4), (1, 1), 1),
        ((2, 4), (1, 2), (0, 0), 3),
    ],
)
def test_two_dimensions(image, block, flange, cells):
    (height, width), (h, w), (above, aside) = image, block, flange
    drawn = sorted((i // h, j // w, i, j, c) for i in range(height) for j in range(width) for c in range(cells))

    def near(t, s):
        (a, b, *_), (_, _, i, j, _) = drawn[t], drawn[s]
        return a * h - above <= i < (a + 1) * h and b * w - aside <= j < (b + 1) * w + aside

    n = len(drawn)
    mask = np.array([[s <= t and near(t, s) for s in range(n)] for t in range(n)])
    q, k, v = random(2, n, 4), random(2, n, 4, seed=1), random(2, n, 6, seed=2)
    y = LocalAttention2D(2, image, block, flange, cells)(q, k, v)
    assert_close(y, plain(q, k, v, mask, 2))


@pytest.mark.parametrize(
    "layer", [LocalAttention1D(2, 3), LocalAttention2D(2, (4, 4), (2, 2), (1, 1))], ids=["1d", "2d"]
)
def test_blocks_of_known_positions_begin_and_end_anywhere(layer):
    blocks = [(0, 1), (0, 5), (0, 16), (2, 7), (6, 10), (15, 1)]
    assert assert_incremental_matches_parallel(layer, random(2, 16, 4), modes=("eager",), blocks=blocks) < 1e-5


@pytest.mark.parametrize(
    "layer", [LocalAttention1D(2, 4), LocalAttention2D(2, (8, 8), (2, 2), (1, 1))], ids=["1d", "2d"]
)
def test_memory_does_not_grow_with_the_square(layer):
    x = tf.TensorSpec([1, 64, 4])
    graph = tf.function(lambda x: layer(x), autograph=False).get_concrete_function(x).graph
    largest = max(
        tensor.shape.num_elements() or 0
        for operation in graph.get_operations()
        for tensor in operation.outputs
        if tensor.shape.rank is not None and tensor.shape.is_fully_defined()
    )
    keys = 8 if isinstance(layer, LocalAttention1D) else 4 + 4 + 2
    assert largest <= 2 * 64 * keys, "two heads, 64 queries"


def test_cache_of_one_dimension_is_two_blocks():
    layer = LocalAttention1D(2, 3)
    layer(tf.zeros([1, 50, 4]))
    assert {tuple(spec.shape) for spec in state_spec(layer, {"step": (1, 4)}).values()} == {(None, 2, 6, 2)}


def test_refuses():
    with pytest.raises(ValueError, match="block_shape must divide the image"):
        LocalAttention2D(1, (4, 6), (3, 2), (1, 1))
    with pytest.raises(ValueError, match="memory_flange must be at least 0"):
        LocalAttention2D(1, (4, 6), (2, 2), (-1, 1))
    with pytest.raises(ValueError, match="multiple of 3 heads"):
        LocalAttention1D(3, 2)(tf.zeros([1, 4, 4]))
