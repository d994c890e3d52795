"""The signatures of a served model, as a client reads them, and the casts of their inputs."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import numpy as np

from export.client.messages import dtype_of, shape_of, to_array


@dataclasses.dataclass(frozen=True)
class Tensor:
    """An input or output of a signature.

    Attributes:
        dtype: of NumPy; object for strings, which are bytes.
        shape: None stands for any size; None altogether for any rank.
        default: value of an input that is left out, or None.
    """

    dtype: np.dtype
    shape: tuple[int | None, ...] | None
    default: np.ndarray | None = None

    def __str__(self) -> str:
        """Formats type, shape and default: "float32 [B], by default 1.0"."""
        text = "string" if self.dtype == np.object_ else self.dtype.name
        if self.shape:
            first, *others = ("any" if size is None else str(size) for size in self.shape)
            text += f" [{', '.join(['B' if self.shape[0] is None else first, *others])}]"
        if self.default is not None:
            value = self.default[0].tolist()
            text += f", by default {'empty' if value == [] else value}"
        return text


@dataclasses.dataclass(frozen=True)
class Signature:
    """The inputs and outputs of a signature by name."""

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]


def seeds(num: int, seed: Any = None) -> np.ndarray:
    """Makes one seed for every example, as the library does.

    Args:
        num: number of examples.
        seed: int s for [s, example]; int64 [num, 2]; None for entropy of the operating system. It is drawn here, so
            that a call that is tried again draws the same.

    Returns:
        int64 [num, 2].
    """
    if seed is None:
        return np.frombuffer(os.urandom(16 * num), np.int64).reshape(num, 2) & (2**31 - 1)
    if np.ndim(seed) == 0:
        if int(seed) != seed or seed < 0:
            raise ValueError(f"seed must be an integer from 0 on, got {seed!r}")
        return np.stack([np.full([num], int(seed), np.int64), np.arange(num)], 1)
    seed = np.asarray(seed)
    if seed.shape != (num, 2) or seed.dtype.kind not in "iu":
        raise ValueError(f"seed must be an int, or integers of shape ({num}, 2), got shape {seed.shape}")
    return seed.astype(np.int64)


def read_signature(definition: Any) -> Signature:
    """Reads a SignatureDef."""

    def tensors(infos: Any, defaults: Any) -> dict[str, Tensor]:
        return {
            name: Tensor(
                dtype_of(infos[name].dtype),
                shape_of(infos[name].tensor_shape),
                to_array(defaults[name]) if name in defaults else None,
            )
            for name in sorted(infos)
        }

    return Signature(tensors(definition.inputs, definition.defaults), tensors(definition.outputs, {}))


def cast(name: str, value: Any, tensor: Tensor) -> np.ndarray:
    """Casts a value to the type of the signature, with a dimension of examples.

    Raises:
        ValueError: a value would change (floats may lose digits), or the rank is wrong.
    """
    array = np.asarray(value)
    if tensor.dtype == np.object_:
        array = np.asarray(value, object)
        wrong = next((entry for entry in array.ravel() if not isinstance(entry, bytes)), None)
        if wrong is not None:
            raise ValueError(f"{name} must hold bytes, got {type(wrong).__name__}")
    elif array.dtype != tensor.dtype:
        if array.dtype.kind not in "biuf":
            raise ValueError(f"{name} must hold numbers ({tensor.dtype}), got {array.dtype}")
        with np.errstate(invalid="ignore", over="ignore"):
            cast = array.astype(tensor.dtype)
        if tensor.dtype.kind in "iub" and not np.array_equal(cast, array):
            raise ValueError(f"{name} must hold {tensor.dtype}, got {array.dtype} values that are none")
        array = cast
    if tensor.shape is not None:
        if array.ndim == len(tensor.shape) - 1:
            array = array[None]
        wanted = ", ".join("any" if size is None else str(size) for size in tensor.shape[1:])
        sizes = zip(array.shape[1:], tensor.shape[1:], strict=False)
        if array.ndim != len(tensor.shape) or any(size not in (got, None) for got, size in sizes):
            raise ValueError(f"{name} must have shape [examples, {wanted}], got {np.shape(value)}".replace(", ]", "]"))
    return array
