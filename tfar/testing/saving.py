"""Asserts that a saved and loaded model is the same model, and continues from the other's state."""

from __future__ import annotations

import os
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfar.models.density import Density
from tfar.testing.eagerly import eagerly
from tfar.testing.incremental import TOLERANCES, TeacherForcing
from tfar.testing.inputs import full_condition, random_events


def assert_saves(
    model: Density,
    folder: str | os.PathLike[str],
    condition: Any = None,
    tolerance: float | None = None,
    *,
    continues: bool = True,
) -> Density:
    """Asserts that a `.keras` file gives the model back.

    Configuration and likelihood are equal, the state has the same keys, and the loaded model computes the last unit
    (row or step) from the state in which the original stopped before it.

    Args:
        model: the model, with weights that are not zero: see `randomize_weights`.
        folder: an existing folder; `model.keras` is written into it.
        condition: one value of the condition; random by default.
        tolerance: allowed error, absolute and relative, as in `assert_incremental_matches_parallel`.
        continues: whether likelihood and state are compared, too. `assert_incremental_matches_parallel(loaded,
            original=model)` compares more: the loaded model then computes all units from the state of the original.

    Returns:
        The loaded model.

    Raises:
        AssertionError: naming what differs.
    """
    path = os.path.join(os.fspath(folder), "model.keras")
    model.save(path)
    loaded = keras.saving.load_model(path)
    if type(loaded) is not type(model):
        raise AssertionError(f"a {type(model).__name__} was saved, a {type(loaded).__name__} is loaded")
    old, new = model.get_config(), loaded.get_config()
    for key in sorted(set(old) | set(new)):
        if key not in old or key not in new or old[key] != new[key]:
            raise AssertionError(f"configuration {key!r} was {old.get(key)!r}, is {new.get(key)!r} after loading")
    if continues:
        x = random_events(model, 2)
        condition = full_condition(model, condition, 2)
        with eagerly():
            before, after = (np.asarray(each.log_prob(x, condition)) for each in (model, loaded))
        if not np.allclose(before, after, rtol=1e-6, atol=1e-6):
            raise AssertionError(f"log_prob was {before.tolist()}, is {after.tolist()} after loading")
        _assert_continues(model, loaded, x, condition, tolerance)
    return loaded


def _assert_continues(model: Density, loaded: Density, x: np.ndarray, condition: Any, tolerance: float | None) -> None:
    """Asserts that `loaded` computes the last unit from the state in which `model` stopped before it."""
    walks = (TeacherForcing.of_parts(each, x, condition) for each in (model, loaded))
    for original, continued in zip(*walks, strict=True):
        _assert_goes_on(original, continued, tolerance or TOLERANCES[model.compute_dtype])


def _assert_goes_on(original: TeacherForcing, continued: TeacherForcing, tolerance: float) -> None:
    expected = original.parallel()
    carry, outputs = original.begin(), tf.zeros_like(expected)
    keys = sorted(continued.begin().state)
    if keys != sorted(carry.state):
        different = sorted(set(keys) ^ set(carry.state))
        raise AssertionError(f"the state's keys differ after loading: {different[:5]}")
    last = original.units - 1
    if last:
        carry, _ = original.block(carry, 0, last)
    _, outputs = continued.draw_unit(carry, outputs)
    first = last * original.width
    name = "continued after loading"
    original.compare(outputs[first:], expected[first:], tolerance, name, first)
