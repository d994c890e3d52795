"""Checks the arrays of every source: values, levels, labels and conditions.

x is `uint8` (up to 256 levels), `int32` (up to 65,536 levels) or `float32` (continuous), labels are
`int32`. A map of 65,536 levels stays a map of integers: nothing here is ever one-hot.
"""

from collections.abc import Iterable

import numpy as np

MAX_LEVELS = 65_536


def check_integer(name: str, value: int, low: int) -> int:
    """Returns the value as an int, or raises `ValueError` where it is no integer or below `low`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < low:
        raise ValueError(f"{name} must be an integer >= {low}, got {value!r}")
    return int(value)


def check_levels(levels: int) -> int:
    """Returns `levels` as an int, or raises `ValueError` outside 2 .. 65,536."""
    is_int = isinstance(levels, int | np.integer) and not isinstance(levels, bool)
    if not is_int or not 2 <= levels <= MAX_LEVELS:
        raise ValueError(f"levels must be an integer from 2 to {MAX_LEVELS}, got {levels!r}")
    return int(levels)


def infer_levels(arrays: Iterable[np.ndarray]) -> int | None:
    """Number of levels of a data set, from the dtype and the maximum over *all* its splits.

    bool means 2. Integers mean maximum + 1, except that uint8 with a maximum of 128 or more means
    256: ordinary 8-bit images rarely reach 255 in every data set, and bits/dim depends on it.
    Floats mean continuous data.

    Args:
        arrays: The x of every split.

    Returns:
        The number of levels, at least 2, or `None` for continuous data.

    Raises:
        ValueError: More than 65,536 levels, or a dtype that is neither a number nor bool.

    Example:
        >>> infer_levels([np.array([0, 7]), np.array([3])])
        8
    """
    levels = 2
    for x in arrays:
        if x.dtype.kind == "f":
            return None
        if x.dtype.kind not in "biu":
            raise ValueError(f"x must hold integers, floats or bools, got dtype {x.dtype}")
        if x.size == 0 or x.dtype.kind == "b":
            continue
        maximum = int(x.max())
        if maximum >= MAX_LEVELS:
            raise ValueError(
                f"x must hold integers from 0 to {MAX_LEVELS - 1} (at most {MAX_LEVELS} levels), "
                f"got a maximum of {maximum}"
            )
        levels = max(levels, 256 if x.dtype == np.uint8 and maximum >= 128 else maximum + 1)
    return levels


def as_events(x: np.ndarray) -> np.ndarray:
    """Gives maps their channel: [N, H, W] becomes [N, H, W, 1]; other shapes are checked.

    Args:
        x: [N, D] vectors or sequences, [N, H, W] maps, or [N, H, W, C] images.

    Returns:
        [N, D] or [N, H, W, C].

    Raises:
        ValueError: Another rank, or an example without any dimension.
    """
    if x.ndim not in (2, 3, 4) or 0 in x.shape[1:]:
        raise ValueError(
            f"x must be [N, D] vectors, [N, H, W] maps or [N, H, W, C] images with no empty axis, got shape {x.shape}"
        )
    return x[..., np.newaxis] if x.ndim == 3 else x


def as_values(x: np.ndarray, levels: int | None) -> np.ndarray:
    """Checks the values of x and casts it to the one dtype for its number of levels.

    Args:
        x: Integers, bools or floats; floats are accepted for discrete data if all are whole.
        levels: Number of levels, or `None` for continuous data.

    Returns:
        uint8 up to 256 levels, int32 above, float32 for continuous data.

    Raises:
        ValueError: Non-finite, fractional or negative values, or values >= levels.
    """
    if x.dtype.kind not in "biuf":
        raise ValueError(f"x must hold integers, floats or bools, got dtype {x.dtype}")
    if x.dtype.kind == "f" and not np.all(np.isfinite(x)):
        bad = x[~np.isfinite(x)]
        raise ValueError(f"x must be finite, got {bad.size} values such as {bad.flat[0]}")
    if levels is None:
        # Values beyond the range of float32 become inf here; that is an error, not a warning.
        with np.errstate(over="ignore"):
            values = x.astype(np.float32)
        if not np.all(np.isfinite(values)):
            raise ValueError(f"x must fit into float32, got a maximum of {np.abs(x).max()}")
        return values
    if x.dtype.kind == "f" and not np.array_equal(x, np.rint(x)):
        bad = x[x != np.rint(x)]
        raise ValueError(f"x must hold whole numbers when levels={levels}, got {bad.flat[0]}")
    if x.size and (x.min() < 0 or x.max() >= levels):
        bad = x.min() if x.min() < 0 else x.max()
        raise ValueError(f"x must hold values from 0 to {levels - 1} (levels={levels}), got {bad}")
    return x.astype(np.uint8 if levels <= 256 else np.int32)


def as_labels(labels: np.ndarray, num_examples: int, num_labels: int | None = None) -> np.ndarray:
    """Checks labels and casts them to int32.

    Args:
        labels: [N] or [N, 1] integers (or whole floats).
        num_examples: N, the number of examples.
        num_labels: Number of classes if known: labels must lie in 0 .. num_labels - 1.

    Returns:
        int32 array, [N].

    Raises:
        ValueError: Wrong shape, not whole numbers, negative, or >= num_labels.
    """
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (num_examples,):
        raise ValueError(f"label must be one integer for each of {num_examples} examples, got shape {labels.shape}")
    whole = labels.dtype.kind in "biu" or (labels.dtype.kind == "f" and np.array_equal(labels, np.rint(labels)))
    if not whole:
        raise ValueError(f"label must hold whole numbers, got dtype {labels.dtype}")
    if labels.size and labels.min() < 0:
        raise ValueError(f"label must not be negative, got {labels.min()}")
    limit = MAX_LEVELS if num_labels is None else num_labels
    if labels.size and labels.max() >= limit:
        given = "at most 65,536 classes" if num_labels is None else f"num_labels={num_labels}"
        raise ValueError(f"label must lie in 0 .. {limit - 1} ({given}), got {labels.max()}")
    return labels.astype(np.int32)


def as_condition(condition: np.ndarray, key: str, num_examples: int) -> np.ndarray:
    """Checks an array used as `condition`; integers and bools become int32, floats float32.

    Args:
        condition: [N, ...] array.
        key: Its name, for errors.
        num_examples: N, the number of examples.

    Returns:
        [N, ...] int32 or float32.

    Raises:
        ValueError: Wrong length, wrong dtype, non-finite values, or values beyond int32.
    """
    if condition.ndim == 0 or len(condition) != num_examples:
        raise ValueError(
            f"condition {key!r} must have one entry for each of {num_examples} examples, got shape {condition.shape}"
        )
    if condition.dtype.kind not in "biuf":
        raise ValueError(f"condition {key!r} must hold integers, floats or bools, got dtype {condition.dtype}")
    if condition.dtype.kind == "f":
        with np.errstate(over="ignore"):
            values = condition.astype(np.float32)
        if not np.all(np.isfinite(values)):
            bad = condition[~np.isfinite(values)].flat[0]
            raise ValueError(f"condition {key!r} must be finite in float32, got {bad}")
        return values
    info = np.iinfo(np.int32)
    if condition.size and (condition.min() < info.min or condition.max() > info.max):
        raise ValueError(f"condition {key!r} must fit into int32, got {condition.max()}")
    return condition.astype(np.int32)
