"""Transforms of data values: small, frozen, and written as strings in run configs.

Each maps (x, levels, generator) to x and its new number of levels. Strings:

    "binarize"          Binarize(0.5)        x >= 0.5 * (levels - 1)
    "binarize:0.3"      Binarize(0.3)
    "dynamic_binarize"  DynamicBinarize()    x ~ Bernoulli(x / (levels - 1)), drawn anew
    "bits:4"            ReduceBits(4)        x >> (log2(levels) - 4)
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import ClassVar

import numpy as np

# Rows transformed at a time, to bound the memory of the float32 noise.
_CHUNK = 4096


@dataclasses.dataclass(frozen=True)
class Binarize:
    """1 where `x >= threshold * (levels - 1)` (compared in float64), else 0.

    With 256 levels and the default threshold this is x >= 127.5, so 128 and above; with the 17
    levels of `digits` it is x >= 8.

    Args:
        threshold: Above 0, at most 1.

    Raises:
        ValueError: The threshold is outside (0, 1].

    Example:
        >>> x, levels = Binarize()(np.array([[0, 127, 128]]), 256, None)
        >>> x.tolist(), levels
        ([[0, 0, 1]], 2)
    """

    threshold: float = 0.5
    random: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Checks the threshold."""
        if not isinstance(self.threshold, int | float) or not 0 < self.threshold <= 1:
            raise ValueError(f"threshold must be above 0 and at most 1, got {self.threshold!r}")

    def __str__(self) -> str:
        """Returns the string that `resolve` turns back into this object."""
        return f"binarize:{self.threshold}"

    @property
    def description(self) -> str:
        """How a reported number names this transform."""
        return f"binarization=threshold({self.threshold})"

    def output_levels(self, levels: int | None) -> int:
        """2; raises `ValueError` for continuous data."""
        _discrete(self, levels)
        return 2

    def __call__(
        self, x: np.ndarray, levels: int | None, generator: np.random.Generator | None = None
    ) -> tuple[np.ndarray, int]:
        """Binarizes.

        Args:
            x: Integers in 0 .. levels - 1, any shape.
            levels: Number of levels of x.
            generator: Not used.

        Returns:
            uint8 x in {0, 1}, and 2.
        """
        limit = self.threshold * (_discrete(self, levels) - 1)
        return (x >= limit).astype(np.uint8), 2


@dataclasses.dataclass(frozen=True)
class DynamicBinarize:
    """Draws `x ~ Bernoulli(x / (levels - 1))`, independently for every dimension.

    In training the draw is renewed (every step by `Batches`, every pass by `load`); for evaluation
    it is made once from a fixed seed, and the data's `info.transforms` says so.

    Example:
        >>> x = np.array([[0, 255]], np.uint8)
        >>> DynamicBinarize()(x, 256, np.random.default_rng(0))[0].tolist()
        [[0, 1]]
    """

    random: ClassVar[bool] = True

    def __str__(self) -> str:
        """Returns the string that `resolve` turns back into this object."""
        return "dynamic_binarize"

    @property
    def description(self) -> str:
        """How a reported number names this transform."""
        return "binarization=dynamic"

    def output_levels(self, levels: int | None) -> int:
        """2; raises `ValueError` for continuous data."""
        _discrete(self, levels)
        return 2

    def __call__(
        self, x: np.ndarray, levels: int | None, generator: np.random.Generator | None = None
    ) -> tuple[np.ndarray, int]:
        """Draws a binary x.

        Args:
            x: Integers in 0 .. levels - 1, [N, ...].
            levels: Number of levels of x.
            generator: Source of the noise.

        Returns:
            uint8 x in {0, 1}, and 2.

        Raises:
            ValueError: No generator.
        """
        highest = _discrete(self, levels) - 1
        if generator is None:
            raise ValueError("generator must be a numpy.random.Generator, got None")
        drawn = np.empty(x.shape, np.uint8)
        for start in range(0, len(x), _CHUNK):
            part = x[start : start + _CHUNK]
            # The noise is in [0, 1): 0 stays 0 and levels - 1 becomes 1 with certainty.
            noise = generator.random(part.shape, np.float32)
            drawn[start : start + _CHUNK] = noise < part.astype(np.float32) / highest
        return drawn, 2


@dataclasses.dataclass(frozen=True)
class ReduceBits:
    """Keeps the `bits` most significant bits: 2^k levels become 2^bits by a right shift.

    Args:
        bits: 1 .. 16, at most log2(levels).

    Raises:
        ValueError: `bits` is outside that range, or levels is not a power of two.

    Example:
        >>> x, levels = ReduceBits(2)(np.array([[0, 63, 64, 255]]), 256)
        >>> x.tolist(), levels
        ([[0, 0, 1, 3]], 4)
    """

    bits: int
    random: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Checks bits."""
        is_int = isinstance(self.bits, int) and not isinstance(self.bits, bool)
        if not is_int or not 1 <= self.bits <= 16:
            raise ValueError(f"bits must be an integer from 1 to 16, got {self.bits!r}")

    def __str__(self) -> str:
        """Returns the string that `resolve` turns back into this object."""
        return f"bits:{self.bits}"

    @property
    def description(self) -> str:
        """How a reported number names this transform."""
        return f"bits={self.bits}"

    def output_levels(self, levels: int | None) -> int:
        """2^bits; raises `ValueError` where levels is not a power of two, or too small."""
        levels = _discrete(self, levels)
        if levels & (levels - 1) or levels < 2**self.bits:
            raise ValueError(
                f"bits:{self.bits} needs data whose number of levels is a power of two and at "
                f"least {2**self.bits}, got levels={levels}"
            )
        return 2**self.bits

    def __call__(
        self, x: np.ndarray, levels: int | None, generator: np.random.Generator | None = None
    ) -> tuple[np.ndarray, int]:
        """Shifts.

        Args:
            x: Integers in 0 .. levels - 1, any shape.
            levels: Number of levels of x.
            generator: Not used.

        Returns:
            x of the same shape, uint8 up to 256 levels and int32 above, and 2^bits.
        """
        output_levels = self.output_levels(levels)
        shifted = x >> (_discrete(self, levels).bit_length() - output_levels.bit_length())
        return shifted.astype(np.uint8 if output_levels <= 256 else np.int32), output_levels


Transform = Binarize | DynamicBinarize | ReduceBits

_ACCEPTED = "'binarize', 'binarize:THRESHOLD', 'dynamic_binarize', 'bits:BITS' or a transform object"


def _discrete(transform: Transform, levels: int | None) -> int:
    if levels is None:
        raise ValueError(f"{transform} needs discrete data, got continuous data (levels=None)")
    return levels


def _parse(spec: str) -> Transform:
    name, _, argument = spec.partition(":")
    try:
        if name == "binarize":
            return Binarize(float(argument)) if ":" in spec else Binarize()
        if spec == "dynamic_binarize":
            return DynamicBinarize()
        if name == "bits":
            return ReduceBits(int(argument))
    except ValueError as error:
        raise ValueError(f"transforms: {spec!r} is not valid: {error}") from error
    raise ValueError(f"transforms must be {_ACCEPTED}, got {spec!r}")


def resolve(transforms: str | Transform | Iterable[str | Transform]) -> tuple[Transform, ...]:
    """Turns strings and objects into transform objects.

    Args:
        transforms: One transform or several, each an object or a string (see the module).

    Returns:
        The objects, in order.

    Raises:
        ValueError: An unknown name or a bad argument.

    Example:
        >>> [str(transform) for transform in resolve(["bits:4", "binarize"])]
        ['bits:4', 'binarize:0.5']
    """
    if isinstance(transforms, str | Transform):
        transforms = (transforms,)
    if not isinstance(transforms, Iterable):
        raise ValueError(f"transforms must be {_ACCEPTED}, got {transforms!r}")
    objects = []
    for transform in transforms:
        if not isinstance(transform, str | Transform):
            raise ValueError(f"transforms must be {_ACCEPTED}, got {transform!r}")
        objects.append(_parse(transform) if isinstance(transform, str) else transform)
    return tuple(objects)


def output_levels(transforms: Sequence[Transform], levels: int | None) -> int | None:
    """Number of levels after all transforms; raises `ValueError` where one does not apply."""
    for transform in transforms:
        levels = transform.output_levels(levels)
    return levels


def apply(
    transforms: Sequence[Transform],
    x: np.ndarray,
    levels: int | None,
    generator: np.random.Generator | None,
) -> np.ndarray:
    """Applies the transforms in order, all drawing from one generator.

    Args:
        transforms: Objects from `resolve`.
        x: [N, ...].
        levels: Number of levels of x.
        generator: Noise for random transforms.

    Returns:
        The transformed x, [N, ...].
    """
    for transform in transforms:
        x, levels = transform(x, levels, generator)
    return x


def describe(transforms: Sequence[Transform], draw: str) -> tuple[str, ...]:
    """Descriptions for reports; `draw` says of random ones when they are drawn."""
    return tuple(t.description + (f" ({draw})" if t.random else "") for t in transforms)
