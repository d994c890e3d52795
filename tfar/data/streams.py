"""Random numbers that are a pure function of (purpose, seed, index).

Philox is counter-based; `SeedSequence` and the raw output of a bit generator are guaranteed not to
change between NumPy versions, `Generator.permutation` is not. Hence permutations sort raw output.
"""

import numpy as np

from tfar.data import values

# The first word of every seed: two purposes never share a stream, even where seed and index agree.
SPLIT, ORDER, STEP_NOISE, EPOCH_NOISE, FIXED_NOISE, WINDOWS = range(6)


def check_seed(seed: int) -> int:
    """Returns the seed as an int, or raises `ValueError` where it is not an int >= 0."""
    return values.check_integer("seed", seed, 0)


def _philox(purpose: int, seed: int, index: int) -> np.random.Philox:
    return np.random.Philox(np.random.SeedSequence([purpose, check_seed(seed), index]))


def generator(purpose: int, seed: int, index: int = 0) -> np.random.Generator:
    """Returns the random generator of one step, epoch or fixed draw.

    Args:
        purpose: One of the constants of this module.
        seed: Int >= 0.
        index: Int >= 0, e.g. the step.

    Returns:
        A generator at the start of its stream.

    Example:
        >>> generator(STEP_NOISE, 0, 7).random() == generator(STEP_NOISE, 0, 7).random()
        True
    """
    return np.random.Generator(_philox(purpose, seed, index))


def sort_keys(num: int, purpose: int, seed: int, index: int = 0) -> np.ndarray:
    """Returns a 64-bit hash of each of 0 .. num - 1; key i does not depend on num.

    Args:
        num: Number of keys.
        purpose: One of the constants of this module.
        seed: Int >= 0.
        index: Int >= 0, e.g. the epoch.

    Returns:
        uint64 array, [num].
    """
    return _philox(purpose, seed, index).random_raw(num)


def permutation(num: int, purpose: int, seed: int, index: int = 0) -> np.ndarray:
    """0 .. num - 1 in the order of their `sort_keys`.

    Args:
        num: Number of elements.
        purpose: One of the constants of this module.
        seed: Int >= 0.
        index: Int >= 0, e.g. the epoch.

    Returns:
        int64 array, [num].
    """
    return np.argsort(sort_keys(num, purpose, seed, index), kind="stable")
