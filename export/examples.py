"""Example inputs of a model: for the check of an export, its warm-up and its documentation."""

from __future__ import annotations

from typing import Any

import numpy as np

from export.inputs import condition_shape
from tfar.core.conditions import Condition, Label
from tfar.models import AutoregressiveModel

_FRAMES = 64


def condition(model: AutoregressiveModel, num: int, seed: int = 0) -> Any:
    """Values of the condition of `num` events as models take them: an array, a tuple of arrays, or None."""
    if model.condition is None:
        return None
    random = np.random.default_rng(seed)
    parts = tuple(_part(part, model.event_shape, num, random) for part in model.condition.parts)
    return parts if len(parts) > 1 else parts[0]


def inputs(model: AutoregressiveModel, values: Any) -> dict[str, np.ndarray]:
    """The same by the names of the inputs."""
    if model.condition is None:
        return {}
    if len(model.condition.parts) == 1:
        return {"condition": values}
    return {f"condition_{index}": value for index, value in enumerate(values)}


def _part(part: Condition, event_shape: tuple[Any, ...], num: int, random: np.random.Generator) -> np.ndarray:
    if isinstance(part, Label):
        return np.arange(num, dtype=np.int32) % part.num_labels
    shape = [_FRAMES if size is None else size for size in condition_shape(part, event_shape)]
    return random.normal(size=[num, *shape]).astype(np.float32)
