"""Example inputs of a model: for the check of an export, its warm-up and its documentation."""

from __future__ import annotations

from typing import Any

import numpy as np

from export.writer.inputs import condition_names
from tfar.models import AutoregressiveModel

_FRAMES = 64


def condition(model: AutoregressiveModel, num: int, seed: int = 0, event_shape: Any = None) -> Any:
    """Values of the condition of `num` events as models take them: an array, a tuple of arrays, or None."""
    if model.condition is None:
        return None
    return model.condition.example(event_shape or model.event_shape, num, seed, _FRAMES)


def inputs(model: AutoregressiveModel, values: Any) -> dict[str, np.ndarray]:
    """Returns the same by the names of the inputs."""
    names = condition_names(model)
    return dict(zip(names, values if len(names) != 1 else [values], strict=True)) if names else {}
