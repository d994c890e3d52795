"""Compares samples of an export with Python's: they are equal, or differ from a tie of rounding on (law 3)."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from export.writer.errors import ExportError
from tfar.core.request import Request
from tfar.models import AutoregressiveModel
from tfar.sampling.inputs import cells_in_order

# Rounding differs between kernels, so a draw whose noise lies this close to a boundary may tip.
TIE = 1e-5
# Continuous values are no integers: rounding of the parameters shows in them.
VALUE_TOLERANCE = 1e-3


def count_ties(
    model: AutoregressiveModel,
    expected: np.ndarray,
    served: np.ndarray,
    noise: np.ndarray,
    temperature: np.ndarray,
    condition: Any = None,
) -> int:
    """Counts the examples that differ from a tie of rounding on; any other difference is an error.

    Args:
        model: the model.
        expected: what Python draws, [B, *event_shape].
        served: what the export draws of the same noise.
        noise: [B, positions, k].
        temperature: float32 [B].
        condition: as models take it.

    Raises:
        ExportError: rows differ from a draw on whose noise lies further than `TIE` from a boundary.
    """
    num, event = len(expected), model.event
    if served.shape != expected.shape or served.dtype != expected.dtype:
        raise ExportError(
            f"samples must be {expected.dtype} {expected.shape}, the export has {served.dtype} {served.shape}"
        )
    positions = event.positions if None not in event.positions else expected.shape[1:]
    condition = None if condition is None else tf.nest.map_structure(tf.constant, condition)
    context, left = model.begin_draws(Request(condition), tf.constant(noise))
    order = _order(model, context, expected.shape)
    tolerance = VALUE_TOLERANCE if model.head.levels is None else 0.0
    different = ~np.isclose(served, expected, rtol=tolerance, atol=tolerance).reshape(num, -1)
    different = np.take_along_axis(different, order, 1)
    rows = np.flatnonzero(different.any(1))
    if not len(rows):
        return 0
    # Up to the first difference both saw the same past, so both had these parameters, but for rounding.
    params = model.decode(model.encode(expected), context)
    left = tf.reshape(left, [num, *positions, model.head.noise_size])
    temperatures = temperature.reshape(-1, *[1] * len(positions))
    distance = tf.reshape(model.head.boundary_distance(params, left, temperatures), [num, -1]).numpy()
    for row in rows:
        first = order[row, np.argmax(different[row])]
        position = first // (int(np.prod(expected.shape[1:])) // int(np.prod(positions)))
        if not distance[row, position] <= TIE:
            place = tuple(int(index) for index in np.unravel_index(first, expected.shape[1:]))
            raise ExportError(
                f"the exported sample differs from Python's in row {row}: first at {place}, {served[row][place]} "
                f"instead of {expected[row][place]}, which is no tie of rounding"
            )
    return len(rows)


def _order(model: AutoregressiveModel, context: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Returns the flat value that every step draws, [num, values per event]."""
    channels, size = model.event.channels, int(np.prod(shape[1:]))
    (stage,) = model.stages
    cells = cells_in_order(stage, context, shape[0], size // channels)
    return (cells[..., None] * channels + np.arange(channels)).reshape(shape[0], -1)
