"""Compares samples of an export with Python's: they are equal, or differ from a tie of rounding on (law 3)."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from export.writer.errors import ExportError
from tfar.core.request import Request
from tfar.models.density import Density

# Rounding differs between kernels, so a draw whose noise lies this close to a boundary may tip.
TIE = 1e-5
# Continuous values are no integers: rounding of the parameters shows in them.
VALUE_TOLERANCE = 1e-3


def count_ties(
    model: Density,
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
        ExportError: examples differ from a draw on whose noise lies further than `TIE` from a boundary.
    """
    num, shape = len(expected), expected.shape
    if served.shape != shape or served.dtype != expected.dtype:
        raise ExportError(f"samples must be {expected.dtype} {shape}, the export has {served.dtype} {served.shape}")
    condition = None if condition is None else tf.nest.map_structure(tf.constant, condition)
    context, left = model.begin_draws(Request(condition), tf.constant(noise))
    order = model.value_order(context, num, shape[1:])
    tolerance = VALUE_TOLERANCE if model.head.levels is None else 0.0
    different = ~np.isclose(served, expected, rtol=tolerance, atol=tolerance).reshape(num, -1)
    different = np.take_along_axis(different, order, 1)
    rows = np.flatnonzero(different.any(1))
    if not len(rows):
        return 0
    # Up to the first difference both saw the same past, so both had these parameters, but for rounding.
    distance = model.boundary_distances(expected, left, context, temperature)
    for row in rows:
        first = order[row, np.argmax(different[row])]
        if not distance[row, first] <= TIE:
            place = tuple(int(index) for index in np.unravel_index(first, shape[1:]))
            raise ExportError(
                f"the exported sample differs from Python's in example {row}: first at {place}, {served[row][place]} "
                f"instead of {expected[row][place]}, which is no tie of rounding"
            )
    return len(rows)
