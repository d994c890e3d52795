"""Conditions h of p(x | h): what a model may be told about an example besides the example itself."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf


class Condition:
    """A kind of side information. Subclasses say what values are accepted and how they become features.

    Attributes:
        dtype: type of the values.
        shape: shape of one value; None where it follows from the event.
    """

    dtype: tf.DType = tf.float32
    shape: tuple[int | None, ...] = ()

    def encode(self, value: Any) -> tf.Tensor:
        """Float features of a batch of values."""
        raise NotImplementedError

    def check(self, value: Any) -> None:
        """Raises ValueError where a batch of concrete values is not acceptable."""
        if value.shape.rank != len(self.shape) + 1 or not value.shape[1:].is_compatible_with(self.shape):
            raise ValueError(
                f"condition must have shape [batch{''.join(f', {n or chr(63)}' for n in self.shape)}] for {self!r}, "
                f"got {tuple(value.shape)}"
            )

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        raise NotImplementedError

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Condition:
        """The condition with these constructor arguments."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(str(value) for value in self.get_config().values())})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash(repr(self))


@keras.saving.register_keras_serializable("tfar")
class Label(Condition):
    """A class label, 0 <= label < num_labels; features are one-hot [B, num_labels].

    Args:
        num_labels: number of classes.

    Example:
        >>> Label(3).encode([2]).numpy().tolist()
        [[0.0, 0.0, 1.0]]
    """

    dtype = tf.int32

    def __init__(self, num_labels: int):
        if num_labels < 1:
            raise ValueError(f"num_labels must be at least 1, got {num_labels}")
        self.num_labels = num_labels

    def encode(self, value: Any) -> tf.Tensor:
        """One-hot features, float32 [B, num_labels], of labels [B]."""
        return tf.one_hot(tf.cast(value, tf.int32), self.num_labels)

    def check(self, value: Any) -> None:
        """Raises ValueError for a wrong shape or a label out of range."""
        super().check(value)
        _check_range(value, self.num_labels, self)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {"num_labels": self.num_labels}


@keras.saving.register_keras_serializable("tfar")
class Vector(Condition):
    """A vector of `size` numbers, for instance the embedding of another network; features [B, size].

    Args:
        size: length of the vector.
    """

    def __init__(self, size: int):
        if size < 1:
            raise ValueError(f"size must be at least 1, got {size}")
        self.size = size
        self.shape = (size,)

    def encode(self, value: Any) -> tf.Tensor:
        """The vector itself as float32 [B, size]."""
        return tf.cast(value, tf.float32)

    def check(self, value: Any) -> None:
        """Raises ValueError for a wrong shape or values that are not finite."""
        super().check(value)
        _check_finite(value)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {"size": self.size}


@keras.saving.register_keras_serializable("tfar")
class Spatial(Condition):
    """A map [H, W, channels] aligned with the image; features [B, H, W, channels], each seen at its own pixel.

    Args:
        channels: features of a pixel of the map (for a map of classes: one-hot).
    """

    def __init__(self, channels: int):
        if channels < 1:
            raise ValueError(f"channels must be at least 1, got {channels}")
        self.channels = channels
        self.shape = (None, None, channels)

    def encode(self, value: Any) -> tf.Tensor:
        """The map itself as float32 [B, H, W, channels]."""
        return tf.cast(value, tf.float32)

    def check(self, value: Any) -> None:
        """Raises ValueError for a wrong shape or values that are not finite."""
        super().check(value)
        _check_finite(value)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {"channels": self.channels}


def _concrete(value: Any) -> np.ndarray | None:
    return value.numpy() if hasattr(value, "numpy") else None


def _check_range(value: Any, num_labels: int, condition: Condition) -> None:
    array = _concrete(value)
    if array is None:
        return
    if array.dtype.kind not in "iub":
        raise ValueError(f"condition must hold integer labels for {condition!r}, got {array.dtype}")
    wrong = array[(array < 0) | (array >= num_labels)]
    if wrong.size:
        raise ValueError(f"condition holds label {wrong.flat[0]}, {condition!r} accepts 0 to {num_labels - 1}")


def _check_finite(value: Any) -> None:
    array = _concrete(value)
    if array is not None and not np.isfinite(array).all():
        raise ValueError("condition holds values that are not finite")
