"""Noise: the one place where seeds become random numbers.

A sample is a deterministic function of uniform noise, and an example's noise is a function of its seed alone:
not of the batch it is drawn in, of how the loop is cut into chunks, or of whether XLA compiles it. The generator is
Philox, named explicitly (`tf.random.stateless_uniform` lets the compiler choose and differs between XLA and plain).

    key     = (seed[0] << 32) ^ seed[1]
    counter = [position * ceil(k / 4), 0]                      one count yields four numbers
    bits    = Philox(key, counter), uint32
    u       = (bits mod 2^23) 2^-23 + 2^-24, in the open interval (0, 1)

The bits are turned into numbers here, because TensorFlow's own uniforms differ: from the same bits a plain graph takes
the low 23, XLA the high 23 (measured with TensorFlow 2.21; `StatelessRandomUniformV2` with `alg=1` too).
"""

from __future__ import annotations

import secrets
from typing import Any

import numpy as np
import tensorflow as tf

from tfar.core.checks import as_tensor

_PHILOX = 1
_MANTISSA = 2**23 - 1  # a float32 between 1 and 2 has 23 bits, so all of these numbers are exact


def seed_rows(seed: Any, num: int) -> tf.Tensor:
    """Makes one seed for every example.

    Args:
        seed: an int s (example r gets [s, r]), an int64 array [num, 2], or None for entropy from the operating system.
        num: number of examples.

    Returns:
        int64 [num, 2].

    Raises:
        ValueError: the seed has another shape.

    Example:
        >>> seed_rows(7, 2).numpy().tolist()
        [[7, 0], [7, 1]]
    """
    if seed is None:
        return tf.constant([[secrets.randbits(31), secrets.randbits(31)] for _ in range(num)], tf.int64, [num, 2])
    if isinstance(seed, int | np.integer):
        rows = np.arange(num, dtype=np.int64)
        return tf.constant(np.stack([np.full_like(rows, seed), rows], 1))
    accepted = f"seed must be an int, None or an int64 array of shape ({num}, 2)"
    if isinstance(seed, str | bytes | float):
        raise ValueError(f"{accepted}, got {seed!r}")
    seed = as_tensor(seed, "seed")
    if not seed.dtype.is_integer:
        raise ValueError(f"{accepted}, got {seed.dtype.name}")
    if seed.shape.rank != 2 or seed.shape[0] != num or seed.shape[1] != 2:
        raise ValueError(f"{accepted}, got shape {seed.shape}")
    return tf.cast(seed, tf.int64)


def uniform(seeds: tf.Tensor, num_positions: int | tf.Tensor, noise_size: int, start: int | tf.Tensor = 0) -> tf.Tensor:
    """Uniform noise in the open interval (0, 1).

    Args:
        seeds: int64 [B, 2].
        num_positions: number of positions n.
        noise_size: numbers per position k, `head.noise_size`.
        start: first position, a scalar or one per example, int32 [B]; the noise of positions 3, 4 is the same whether
            drawn with 0, 1, 2 or alone.

    Returns:
        float32 [B, n, k].
    """
    blocks = -(-noise_size // 4)
    seeds = tf.cast(seeds, tf.uint64)
    keys = tf.bitwise.bitwise_xor(tf.bitwise.left_shift(seeds[:, 0], tf.constant(32, tf.uint64)), seeds[:, 1])
    first = tf.cast(start, tf.uint64) * tf.constant(blocks, tf.uint64)

    def row(key: tf.Tensor, first: tf.Tensor) -> tf.Tensor:
        counter = tf.stack([first, tf.constant(0, tf.uint64)])
        return tf.raw_ops.StatelessRandomUniformFullIntV2(
            shape=tf.stack([num_positions * blocks * 4]), key=key[None], counter=counter, alg=_PHILOX, dtype=tf.uint32
        )

    spec = tf.TensorSpec([None], tf.uint32)
    if first.shape.rank:
        bits = tf.map_fn(lambda given: row(*given), (keys, first), fn_output_signature=spec)
    else:  # XLA computes the counters of all examples once
        bits = tf.map_fn(lambda key: row(key, first), keys, fn_output_signature=spec)
    bits = tf.reshape(bits, [tf.shape(seeds)[0], num_positions, blocks * 4])[:, :, :noise_size]
    steps = tf.bitwise.bitwise_and(bits, tf.constant(_MANTISSA, tf.uint32))
    return tf.cast(steps, tf.float32) * 2.0**-23 + 2.0**-24
