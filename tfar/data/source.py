"""A source: arrays by split and key, before splits are carved and values are checked."""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from tfar.data import values

# read(split, key, indices) -> the chosen rows; indices=None means all.
Reader = Callable[[str, str, np.ndarray | None], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Source:
    """The arrays of a source by split and key, which `tfar.data.load_arrays` takes.

    Attributes:
        sizes: The source's own splits and their number of examples: any of `train`, `valid`,
            `test`, or `all` alone where the source has no splits.
        keys: The arrays every split has: `x`, `label` where there are labels, and others that may
            be named by `condition=`.
        read: `read(split, key, indices)` returns rows of an array; `indices=None` returns all.
        levels: Number of levels of x over all splits, `None` for continuous data.
        num_labels: Number of classes over all splits, `None` without labels.
        label_names: Names of the classes, or `None`.
        skipped: What was left out of the source, in words; empty where nothing was.
    """

    sizes: Mapping[str, int]
    keys: tuple[str, ...]
    read: Reader
    levels: int | None
    num_labels: int | None = None
    label_names: tuple[str, ...] | None = None
    skipped: str = ""


def from_arrays(
    splits: Mapping[str, Mapping[str, np.ndarray]],
    levels: int | None = None,
    num_labels: int | None = None,
    label_names: tuple[str, ...] | None = None,
) -> Source:
    """Builds a source from arrays in memory; x and label are checked here, over all splits.

    Args:
        splits: For each split the arrays by key; `x` is required, `label` optional. A key counts
            as present where every split has it (an unlabelled test split hides all labels).
        levels: Number of levels, inferred by `tfar.data.values.infer_levels` when `None`.
        num_labels: Number of classes, the largest label + 1 when `None`.
        label_names: Names of the classes.

    Returns:
        The source.

    Raises:
        ValueError: x or label are not acceptable (see `tfar.data.values`).
    """
    keys = tuple(k for k in next(iter(splits.values())) if all(k in a for a in splits.values()))
    events = {split: values.as_events(arrays["x"]) for split, arrays in splits.items()}
    shapes = {split: x.shape[1:] for split, x in events.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"x must have one event shape in all splits, got {shapes}")
    levels = values.infer_levels(events.values()) if levels is None else values.check_levels(levels)
    sizes = {split: len(x) for split, x in events.items()}
    if num_labels is not None:
        values.check_integer("num_labels", num_labels, 1)
        if "label" not in keys:
            raise ValueError(f"num_labels={num_labels} was given, but the data have no labels")
    checked = {"x": events}
    if "label" in keys:
        labels = {s: values.as_labels(a["label"], sizes[s], num_labels) for s, a in splits.items()}
        if num_labels is None:
            num_labels = max((int(y.max()) + 1 for y in labels.values() if y.size), default=None)
        checked["label"] = labels

    def read(split: str, key: str, indices: np.ndarray | None) -> np.ndarray:
        array = checked[key][split] if key in checked else splits[split][key]
        return array if indices is None else array[indices]

    return Source(sizes, keys, read, levels, num_labels, label_names)
