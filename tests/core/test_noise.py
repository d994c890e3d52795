"""Noise is a function of a row's own seed and the position alone."""

import numpy as np
import pytest
import tensorflow as tf

from tfar.core.noise import seed_rows, uniform


def test_int_seed_is_s_and_row():
    assert seed_rows(5, 3).numpy().tolist() == [[5, 0], [5, 1], [5, 2]]
    assert seed_rows(np.int64(5), 1).dtype == tf.int64
    given = np.array([[1, 2], [3, 4]])
    assert seed_rows(given, 2).numpy().tolist() == given.tolist()


def test_no_seed_is_entropy():
    one, two = seed_rows(None, 4).numpy(), seed_rows(None, 4).numpy()
    assert one.shape == (4, 2)
    assert (one != two).any()
    assert len(np.unique(one, axis=0)) == 4


@pytest.mark.parametrize("seed", [np.zeros([3, 2], int), np.zeros([2, 3], int), np.zeros(2, int)])
def test_seed_of_another_shape_is_refused(seed):
    with pytest.raises(ValueError, match=r"seed must be an int, None or an int64 array of shape \(2, 2\)"):
        seed_rows(seed, 2)


@pytest.mark.parametrize("size", [1, 3, 4, 5])
def test_shape_and_open_interval(size):
    u = uniform(seed_rows(0, 3), 200, size).numpy()
    assert u.shape == (3, 200, size)
    assert u.dtype == np.float32
    assert (u > 0).all()
    assert (u < 1).all()


def test_ends_of_the_interval_are_never_reached():
    """The numbers are (k + 1/2) 2^-23, 0 <= k < 2^23: both ends are half a step away, exactly."""
    assert np.float32(1 - 2.0**-23) + np.float32(2.0**-24) < 1
    u = uniform(seed_rows(0, 1), 1000, 4).numpy().astype(np.float64)
    steps = (u - 2.0**-24) * 2**23
    np.testing.assert_array_equal(steps, np.round(steps))


@pytest.mark.parametrize("jit_compile", [None, True], ids=["function", "xla"])
def test_equal_in_eager_and_compiled(jit_compile):
    seeds = seed_rows(7, 4)
    compiled = tf.function(lambda seeds: uniform(seeds, 6, 5), autograph=False, jit_compile=jit_compile)
    np.testing.assert_array_equal(compiled(seeds), uniform(seeds, 6, 5))


@pytest.mark.parametrize("size", [1, 4, 6])
def test_start_gives_the_same_numbers(size):
    seeds = seed_rows(3, 2)
    whole = uniform(seeds, 10, size)
    parts = [uniform(seeds, count, size, start) for start, count in ((0, 3), (3, 1), (4, 6))]
    np.testing.assert_array_equal(tf.concat(parts, 1), whole)
    traced = tf.function(lambda start: uniform(seeds, 4, size, start), autograph=False)(tf.constant(6))
    np.testing.assert_array_equal(traced, whole[:, 6:])


def test_a_row_depends_on_its_own_seed_alone():
    seeds = tf.constant([[1, 0], [1, 1], [2, 0]], tf.int64)
    u = uniform(seeds, 5, 2).numpy()
    for row in range(3):
        np.testing.assert_array_equal(uniform(seeds[row : row + 1], 5, 2)[0], u[row])
    np.testing.assert_array_equal(uniform(seeds[::-1], 5, 2), u[::-1])


def test_rows_positions_and_numbers_are_distinct():
    seeds = tf.concat([seed_rows(seed, 8) for seed in (0, 1, 2**31)], 0)
    u = uniform(seeds, 20, 3).numpy()
    assert len(np.unique(u.reshape(24, -1), axis=0)) == 24
    assert len(np.unique(u)) > 0.999 * u.size


def test_known_values():
    """Frozen: samples of a seed stay what they are from version to version."""
    u = uniform(tf.constant([[0, 0], [7, 1]], tf.int64), 2, 2).numpy()
    known = [
        [[0.3117930293083191, 0.8263413310050964], [0.7874951958656311, 0.3906511664390564]],
        [[0.6726412177085876, 0.7603984475135803], [0.7794873118400574, 0.1752219796180725]],
    ]
    np.testing.assert_array_equal(u.astype(np.float64), known)


def test_bits_are_those_of_philox():
    """The generator is Philox-4x32-10 with key and counter as documented: one count, four numbers."""
    key, rounds = (7, 1), 10
    numbers = []
    for count in range(2):
        word, (low, high) = [count, 0, 0, 0], (key[1], key[0])
        for _ in range(rounds):
            a, b = word[0] * 0xD2511F53, word[2] * 0xCD9E8D57
            word = [b >> 32 ^ word[1] ^ low, b & 0xFFFFFFFF, a >> 32 ^ word[3] ^ high, a & 0xFFFFFFFF]
            low, high = (low + 0x9E3779B9) & 0xFFFFFFFF, (high + 0xBB67AE85) & 0xFFFFFFFF
        numbers.append([(bits % 2**23) * 2.0**-23 + 2.0**-24 for bits in word])
    np.testing.assert_array_equal(uniform(tf.constant([key], tf.int64), 2, 4)[0], np.float32(numbers))


def test_uniform_and_independent():
    u = uniform(seed_rows(11, 100), 500, 2).numpy()
    flat = np.sort(u.reshape(-1))
    n = flat.size
    # Kolmogorov-Smirnov at p = 1e-4; correlations of neighbours within five standard deviations.
    assert np.abs(flat - (np.arange(n) + 0.5) / n).max() < 2.2 / np.sqrt(n)
    pairs = [(u[:, :-1, 0], u[:, 1:, 0]), (u[..., 0], u[..., 1]), (u[:-1], u[1:])]
    for a, b in pairs:
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 5 / np.sqrt(a.size)
