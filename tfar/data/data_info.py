"""What a reported number must be able to say about the data behind it."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class DataInfo:
    """Description of one split of one data set, as it is handed to a model.

    Attributes:
        name: The name given to `load`, e.g. `"mnist"` or `"npz:faces.npz"`.
        split: `"train"`, `"valid"` or `"test"`.
        event_shape: Shape of one example, e.g. `(28, 28, 1)`.
        levels: Number of values a dimension can take (values are `0 .. levels - 1`), after the
            transforms; `None` for continuous data.
        num_examples: Number of examples in this split.
        num_labels: Number of classes, `None` without labels.
        label_names: Names of the classes where the source knows them, else `None`.
        dtype: NumPy name of the dtype of x: `"uint8"`, `"int32"` or `"float32"`.
        transforms: What was done to x, in order, e.g. `("binarization=dynamic (...)",)`.
        split_note: How the split was made, in words.
        fingerprint: First 16 hex digits of the SHA-256 of the split's arrays before the
            transforms: equal fingerprints mean equal data.
        condition: The array behind the key `"condition"`, e.g. `"label"`; `None` without one.
        condition_shape: Shape of one condition: `()` for a label; `None` without one.

    Example:
        >>> from tfar.data import load_arrays
        >>> arrays, info = load_arrays("digits", "test")
        >>> info.event_shape, info.levels, info.num_labels
        ((8, 8, 1), 17, 10)
    """

    name: str
    split: str
    event_shape: tuple[int, ...]
    levels: int | None
    num_examples: int
    num_labels: int | None
    label_names: tuple[str, ...] | None
    dtype: str
    transforms: tuple[str, ...]
    split_note: str
    fingerprint: str
    condition: str | None = None
    condition_shape: tuple[int, ...] | None = None

    def __str__(self) -> str:
        """One line for reports."""
        values = "continuous" if self.levels is None else f"{self.levels} levels"
        shape = "x".join(str(size) for size in self.event_shape)
        parts = [f"{self.name}/{self.split}", f"{self.num_examples} examples", shape, values]
        parts += [*self.transforms, f"fingerprint={self.fingerprint}"]
        return ", ".join(parts)
