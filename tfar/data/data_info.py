"""The description of a split, which every reported number carries."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class DataInfo:
    """Description of one split of one data set, after transforms.

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
        unit: What a score is divided by: `"dim"`; for sequences `"char"` or `"byte"` (text) or
            `"sample"` (audio), and then the event shape is `(None,)`.
        num_values: Elements of all sequences of the split together; `None` for other data.
        vocabulary: The characters of a text in the order of their numbers; `None` for bytes and
            for other data.
        sample_rate: Samples per second of audio; `None` for other data.
        hop: Elements per frame of a condition that is a slower sequence; `None` for other conditions.
        skipped: Files that the source left out, in words; empty where there are none.

    Example:
        >>> from tfar.data import load_arrays
        >>> arrays, info = load_arrays("digits", "test")
        >>> info.event_shape, info.levels, info.num_labels
        ((8, 8, 1), 17, 10)
    """

    name: str
    split: str
    event_shape: tuple[int | None, ...]
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
    unit: str = "dim"
    num_values: int | None = None
    vocabulary: str | None = None
    sample_rate: int | None = None
    hop: int | None = None
    skipped: str = ""

    @property
    def is_sequence(self) -> bool:
        """Whether the examples are sequences: text or audio."""
        return self.unit != "dim"

    def __str__(self) -> str:
        """One line for reports."""
        values = "continuous" if self.levels is None else f"{self.levels} levels"
        if self.is_sequence:
            sizes = [
                f"{self.num_examples} sequence{'s' * (self.num_examples != 1)} of {self.num_values:,} {self.unit}s"
            ]
        else:
            sizes = [f"{self.num_examples} examples", "x".join(str(size) for size in self.event_shape)]
        parts = [f"{self.name}/{self.split}", *sizes, values]
        parts += [*self.transforms, f"fingerprint={self.fingerprint}", *([self.skipped] if self.skipped else [])]
        return ", ".join(parts)
