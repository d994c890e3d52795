"""Deterministic splits, for sources that have none of their own or lack one."""

from collections.abc import Mapping

import numpy as np

from tfar.data import streams

SPLITS = ("train", "valid", "test")


def check_split(split: str) -> str:
    """Returns the split, or raises `ValueError` where it is not train, valid or test."""
    if split not in SPLITS:
        raise ValueError(f"split must be 'train', 'valid' or 'test', got {split!r}")
    return split


def check_fractions(valid_fraction: float, test_fraction: float) -> None:
    """Raises `ValueError` unless both fractions are >= 0 and leave something to train on."""
    for name, value in (("valid_fraction", valid_fraction), ("test_fraction", test_fraction)):
        if not 0 <= value < 1:
            raise ValueError(f"{name} must be at least 0 and below 1, got {value!r}")
    if valid_fraction + test_fraction >= 1:
        raise ValueError(f"valid_fraction + test_fraction must be below 1, got {valid_fraction!r} + {test_fraction!r}")


def carve(
    num: int,
    labels: np.ndarray | None,
    *,
    valid_fraction: float,
    test_fraction: float,
    seed: int,
) -> dict[str, np.ndarray]:
    """Cuts 0 .. num - 1 into train, valid and test.

    The examples are put in the order (label, hash of the index): test takes round(num *
    test_fraction) of them, evenly spaced, and valid as many of the rest, evenly spaced. With
    labels every class is therefore represented in proportion (within one example); without, this
    is a random choice. A wanted split has at least one example where num >= 3.

    Args:
        num: Number of examples.
        labels: [num] integers, or `None`.
        valid_fraction: Share of all examples for valid.
        test_fraction: Share of all examples for test.
        seed: Int >= 0, of the hash.

    Returns:
        The ascending indices of each split; disjoint, and together all of 0 .. num - 1.

    Example:
        >>> parts = carve(100, None, valid_fraction=0.1, test_fraction=0.1, seed=0)
        >>> [len(parts[name]) for name in ("train", "valid", "test")]
        [80, 10, 10]
    """
    keys = streams.sort_keys(num, streams.SPLIT, seed)
    rest = np.argsort(keys, kind="stable") if labels is None else np.lexsort((keys, labels))
    parts = {}
    for name, fraction in (("test", test_fraction), ("valid", valid_fraction)):
        count = int(num * fraction + 0.5)
        if fraction > 0 and num >= 3:
            count = max(count, 1)
        count = min(count, len(rest))
        chosen = np.zeros(len(rest), bool)
        # Integer arithmetic: the middle of each of `count` equal intervals.
        chosen[(2 * np.arange(count) + 1) * len(rest) // (2 * max(count, 1))] = True
        parts[name] = np.sort(rest[chosen])
        rest = rest[~chosen]
    parts["train"] = np.sort(rest)
    return parts


def origin(split: str, sizes: Mapping[str, int]) -> tuple[str, frozenset[str]]:
    """Returns the source's own split that a split comes from, and the splits that are carved from it.

    Args:
        split: `train`, `valid` or `test`.
        sizes: The source's own splits (`all` where it has none).

    Returns:
        The own split to read, and the names carved from that same split (empty: used as it is).

    Raises:
        ValueError: The source neither has the split nor a train split to carve it from.
    """
    if "all" in sizes:
        return "all", frozenset(SPLITS)
    carved = frozenset(name for name in ("valid", "test") if name not in sizes)
    if split in sizes and (split != "train" or not carved):
        return split, frozenset()
    if "train" not in sizes:
        raise ValueError(
            f"split {split!r} can only be carved from a train split, this source has {', '.join(map(repr, sizes))}"
        )
    return "train", carved | {"train"}
