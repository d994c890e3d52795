"""Conditions h of p(x | h): side information about an example, such as its label."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfar.core.checks import as_tensor, check_sizes
from tfar.core.configured import Configured
from tfar.core.protocols import EventShape, Shape


class Condition(Configured):
    """A kind of side information. Subclasses say what values are accepted and how they become features.

    Attributes:
        dtype: type of the values.
        shape: shape of one value; None where it follows from the event.
        meaning: description of a value in one line, for users of a model.
        accepted: the accepted values, in words that follow "condition must".
        num_labels: number of labels where values are labels 0, 1, ...; otherwise None.
        hop: elements of the event per frame where a value is a sequence of frames; otherwise None.
    """

    dtype: tf.DType = tf.float32
    shape: Shape = ()
    meaning: str = "what the events are conditioned on"
    accepted: str = "hold finite numbers"
    num_labels: int | None = None
    hop: int | None = None

    def encode(self, value: Any) -> Any:
        """Float features of a batch of values: here themselves, as float32."""
        return tf.cast(value, tf.float32)

    def check(self, value: Any) -> None:
        """Raises ValueError where a batch of concrete values is not acceptable."""
        if value.shape.rank != len(self.shape) + 1 or not value.shape[1:].is_compatible_with(self.shape):
            raise ValueError(
                f"condition must have shape [batch{''.join(f', {n or chr(63)}' for n in self.shape)}] for {self!r}, "
                f"got {tuple(value.shape)}"
            )
        if hasattr(value, "numpy"):
            self._check_values(value.numpy())

    def _check_values(self, values: np.ndarray) -> None:
        if not np.isfinite(values).all():
            raise ValueError("condition holds values that are not finite")

    @property
    def parts(self) -> tuple[Condition, ...]:
        """The conditions of one kind each that this one consists of: itself."""
        return (self,)

    def prepare(self, value: Any, num: Any, event_shape: Any = None) -> Any:
        """Checks the condition of `num` events and returns it as tensors.

        Args:
            value: one value for each, or one for all.
            num: number of events; what is not an int is not checked.
            event_shape: shape of the events, where it is known.

        Raises:
            ValueError: it is not acceptable, or not one value per event.
        """
        del event_shape
        value = as_tensor(value, "condition")
        if value.shape.rank == len(self.shape):
            value = tf.repeat(value[None], num, 0)
        self.check(value)
        if isinstance(num, int) and value.shape[0] not in (None, num):
            raise ValueError(f"condition must have one value per example ({num}), got {value.shape[0]}")
        return value

    def wrong(self, value: tf.Tensor) -> tf.Tensor:
        """True where an entry of a batch of values is not accepted, for checks inside of a graph."""
        return ~tf.math.is_finite(value)

    def value_shape(self, event_shape: EventShape) -> Shape:
        """Shape of one value beside an event of this shape; None where that leaves it open."""
        sizes = iter(event_shape)
        return tuple(next(sizes) if size is None else size for size in self.shape)

    def describe(self) -> dict[str, Any]:
        """Returns the kind and the constructor arguments as JSON values."""
        return {"kind": type(self).__name__, **self.get_config()}

    def example(self, event_shape: EventShape, num: int = 1, seed: int | None = None, open_size: int = 2) -> Any:
        """Values that are accepted.

        Args:
            event_shape: shape of the events.
            num: number of events.
            seed: of standard normal numbers; None for zeros. Labels come in turn, whatever the seed.
            open_size: size of a dimension that the event leaves open.

        Returns:
            [num, *value_shape], a tuple of such for several conditions at once.
        """
        return self._example(event_shape, num, None if seed is None else np.random.default_rng(seed), open_size)

    def _example(self, event_shape: Any, num: int, random: np.random.Generator | None, open_size: int) -> Any:
        shape = [num, *(open_size if size is None else size for size in self.value_shape(event_shape))]
        return np.asarray(np.zeros(shape) if random is None else random.normal(size=shape), self.dtype.as_numpy_dtype)

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
    meaning = "class label"
    num_labels: int

    def __init__(self, num_labels: int):
        check_sizes(num_labels=num_labels)
        self.num_labels = num_labels
        self.accepted = f"hold labels from 0 to {num_labels - 1}"

    def wrong(self, value: tf.Tensor) -> tf.Tensor:
        """True where a label is out of range."""
        return (value < 0) | (value >= self.num_labels)

    def _example(self, event_shape: Any, num: int, random: np.random.Generator | None, open_size: int) -> np.ndarray:
        return np.arange(num, dtype=np.int32) % self.num_labels

    def encode(self, value: Any) -> tf.Tensor:
        """One-hot features, float32 [B, num_labels], of labels [B]."""
        return tf.one_hot(tf.cast(value, tf.int32), self.num_labels)

    def _check_values(self, values: np.ndarray) -> None:
        if values.dtype.kind not in "iub":
            raise ValueError(f"condition must hold integer labels for {self!r}, got {values.dtype}")
        wrong = values[(values < 0) | (values >= self.num_labels)]
        if wrong.size:
            raise ValueError(f"condition holds label {wrong.flat[0]}, {self!r} accepts 0 to {self.num_labels - 1}")


@keras.saving.register_keras_serializable("tfar")
class Vector(Condition):
    """A vector of `size` numbers, for instance the embedding of another network; features [B, size].

    Args:
        size: length of the vector.
    """

    meaning = "vector that every position is told"

    def __init__(self, size: int):
        check_sizes(size=size)
        self.size = size
        self.shape = (size,)


@keras.saving.register_keras_serializable("tfar")
class Spatial(Condition):
    """A map [H, W, channels] aligned with the image; features [B, H, W, channels], each seen at its own pixel.

    Args:
        channels: features of a pixel of the map (for a map of classes: one-hot).
    """

    meaning = "map beside the image"

    def __init__(self, channels: int):
        check_sizes(channels=channels)
        self.channels = channels
        self.shape = (None, None, channels)


@keras.saving.register_keras_serializable("tfar")
class Local(Condition):
    """A slower sequence [n, channels] beside a sequence: frame i belongs to elements i hop, ..., (i + 1) hop - 1.

    Features are the frames, [B, n, channels]; a model brings them to the rate of its elements, once. An event of
    length T needs n >= T / hop frames; frames beyond its end are not read. A model may need more: see `with_extra`.

    Args:
        channels: features of a frame (for symbols, as letters or phonemes: one-hot).
        hop: elements per frame.
        delay: elements by which all frames are late; 1 where x_t is to see the frame of t - 1, as in models that take
            an element and its features in and predict the next element.

    Raises:
        ValueError: channels or hop are not positive, or the delay is negative.

    Example:
        >>> Local(2, hop=4).num_frames(9)
        3
    """

    hop: int

    def __init__(self, channels: int, hop: int, delay: int = 0):
        for name, value, least in (("channels", channels, 1), ("hop", hop, 1), ("delay", delay, 0)):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        self.channels, self.hop, self.delay = channels, hop, delay
        self.extra_frames = 0
        self.shape = (None, channels)
        self.meaning = f"frames beside the sequence, one for {hop} values"

    def value_shape(self, event_shape: EventShape) -> Shape:
        """(frames, channels): as many frames as an event of this length needs."""
        return (None if event_shape[0] is None else self.num_frames(event_shape[0]), self.channels)

    def num_frames(self, length: int) -> int:
        """Frames that an event of `length` elements needs."""
        return max(1, -(-(length - self.delay) // self.hop)) + self.extra_frames

    def with_extra(self, frames: int) -> Local:
        """A copy bound to a model whose up-sampling reads so many frames beyond those of the event.

        Half of them come in front. They follow from the model, so they are no part of the configuration.
        """
        bound = copy.copy(self)
        bound.extra_frames = frames
        return bound

    def prepare(self, value: Any, num: Any, event_shape: Any = None) -> tf.Tensor:
        """As for every condition; further there must be frames up to the end of the event."""
        value = super().prepare(value, num)
        length, frames = None if event_shape is None else event_shape[0], value.shape[1]
        if length is not None and frames is not None and frames < self.num_frames(length):
            raise ValueError(
                f"condition must have {self.num_frames(length)} frames or more for {length} elements and hop "
                f"{self.hop}"
                + (f" ({self.extra_frames} of them for the up-sampling)" if self.extra_frames else "")
                + f", got {frames}"
            )
        return value


@keras.saving.register_keras_serializable("tfar")
class Joint(Condition):
    """Several conditions at once, for instance a speaker and the letters of the text; the value is a tuple.

    Args:
        conditions: the conditions, at least two.

    Raises:
        ValueError: there are fewer than two, or one is no condition.

    Example:
        >>> joint = Joint([Label(3), Local(2, hop=4)])
        >>> joint
        Joint(Label(3), Local(2, 4, 0))
    """

    def __init__(self, conditions: Sequence[Condition]):
        if len(conditions) < 2 or not all(isinstance(part, Condition) for part in conditions):
            raise ValueError(f"conditions must be two or more of tfar.conditions, got {conditions!r}")
        self.conditions = list(conditions)

    @property
    def parts(self) -> tuple[Condition, ...]:
        """The conditions."""
        return tuple(self.conditions)

    def encode(self, value: Any) -> tuple[tf.Tensor, ...]:
        """Returns the features of each."""
        return tuple(part.encode(item) for part, item in zip(self.conditions, value, strict=True))

    def prepare(self, value: Any, num: Any, event_shape: Any = None) -> tuple[tf.Tensor, ...]:
        """Checks each; see `Condition.prepare`."""
        if not isinstance(value, tuple | list) or len(value) != len(self.conditions):
            raise ValueError(f"condition must be a tuple of {len(self.conditions)} values for {self!r}, got {value!r}")
        pairs = zip(self.conditions, value, strict=True)
        return tuple(part.prepare(item, num, event_shape) for part, item in pairs)

    def describe(self) -> dict[str, Any]:
        """Returns the kind and the conditions as JSON values."""
        return {"kind": "Joint", "conditions": [part.describe() for part in self.parts]}

    def _example(self, event_shape: Any, num: int, random: np.random.Generator | None, open_size: int) -> Any:
        return tuple(part._example(event_shape, num, random, open_size) for part in self.parts)

    def __repr__(self) -> str:
        return f"Joint({', '.join(map(repr, self.conditions))})"
