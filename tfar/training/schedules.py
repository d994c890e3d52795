"""Learning-rate schedules by name; they are Keras schedules, so `model.compile` takes them too.

    constant      lr
    cosine        final + (lr - final) (1 + cos(pi step / steps)) / 2
    exponential   lr decay^step
    step          lr factor^k, k the number of boundaries at or below the step

each times min(1, (step + 1) / warmup_steps) while it warms up, for at most a tenth of the steps: a short run would
otherwise end before it has learned anything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

Schedule: Any = keras.optimizers.schedules.LearningRateSchedule


@keras.saving.register_keras_serializable("tfar")
class Constant(Schedule):
    """The same learning rate at every step.

    Args:
        learning_rate: positive.
    """

    def __init__(self, learning_rate: float):
        super().__init__()
        self.learning_rate = learning_rate

    def __call__(self, step: Any) -> tf.Tensor:
        """float32 [] for any step."""
        del step
        return tf.constant(self.learning_rate, tf.float32)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {"learning_rate": self.learning_rate}


@keras.saving.register_keras_serializable("tfar")
class WarmUp(Schedule):
    """Another schedule times min(1, (step + 1) / warmup_steps): the first step already moves.

    Args:
        schedule: the schedule to warm up.
        warmup_steps: number of steps until it is followed unchanged, at least 1.
    """

    def __init__(self, schedule: Schedule, warmup_steps: int):
        super().__init__()
        self.schedule, self.warmup_steps = schedule, warmup_steps

    def __call__(self, step: Any) -> tf.Tensor:
        """float32 [] at `step`, counted from 0."""
        share = (tf.cast(step, tf.float32) + 1.0) / float(self.warmup_steps)
        return self.schedule(step) * tf.minimum(share, 1.0)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        schedule = keras.saving.serialize_keras_object(self.schedule)
        return {"schedule": schedule, "warmup_steps": self.warmup_steps}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> WarmUp:
        """Returns the schedule with these constructor arguments."""
        return cls(keras.saving.deserialize_keras_object(config["schedule"]), config["warmup_steps"])


def schedule(
    name: str,
    learning_rate: float,
    steps: int,
    *,
    warmup_steps: int = 0,
    final: float = 0.0,
    decay: float = 0.99999,
    boundaries: Sequence[int] = (),
    factor: float = 0.1,
) -> Schedule:
    """Returns the schedule called `name`.

    Args:
        name: "constant", "cosine", "exponential" or "step".
        learning_rate: the highest rate, positive.
        steps: length of the run, which the cosine spans.
        warmup_steps: steps of linear warm-up; more than a tenth of `steps` are cut to that.
        final: rate at the end of the cosine.
        decay: factor per step of "exponential" (PixelCNN++: 0.999995).
        boundaries: ascending steps at which "step" falls.
        factor: what it falls by.

    Returns:
        A `keras.optimizers.schedules.LearningRateSchedule`: step -> float32.

    Raises:
        ValueError: an unknown name or an argument out of range.

    Example:
        >>> cosine = schedule("cosine", 0.1, steps=100, warmup_steps=10)
        >>> [round(float(cosine(step)), 3) for step in (0, 9, 50, 100)]
        [0.01, 0.098, 0.05, 0.0]
    """
    if not learning_rate > 0:
        raise ValueError(f"learning_rate must be positive, got {learning_rate!r}")
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps!r}")
    if warmup_steps < 0:
        raise ValueError(f"warmup_steps must be at least 0, got {warmup_steps!r}")
    warmup_steps = min(warmup_steps, math.ceil(steps / 10))
    library = keras.optimizers.schedules
    if name == "constant":
        result: Schedule = Constant(learning_rate)
    elif name == "cosine":
        if not 0 <= final <= learning_rate:
            raise ValueError(f"final must lie between 0 and learning_rate, got {final!r}")
        result = library.CosineDecay(learning_rate, steps, alpha=final / learning_rate)
    elif name == "exponential":
        if not 0 < decay <= 1:
            raise ValueError(f"decay must be above 0 and at most 1, got {decay!r}")
        result = library.ExponentialDecay(learning_rate, 1, decay)
    elif name == "step":
        boundaries = [int(boundary) for boundary in boundaries]
        if not boundaries or boundaries != sorted(set(boundaries)) or boundaries[0] < 1:
            raise ValueError(f"boundaries must be ascending steps of at least 1, got {boundaries}")
        values = [learning_rate * factor**k for k in range(len(boundaries) + 1)]
        # Keras takes the next value after a boundary, not at it.
        result = library.PiecewiseConstantDecay([boundary - 1 for boundary in boundaries], values)
    else:
        raise ValueError(f"schedule must be 'constant', 'cosine', 'exponential' or 'step', got {name!r}")
    return WarmUp(result, warmup_steps) if warmup_steps else result
