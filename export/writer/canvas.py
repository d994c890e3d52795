"""Assembles events from the chunks that `step` and `session_step` return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


class Canvas:
    """Events that fill up, 0 where nothing is drawn yet.

    Args:
        num: number of events.
        event_shape: (height, width, channels) or (length,).
        unit: what a step draws: "row", "value" or "cell".

    Attributes:
        values: [num, *event_shape]; its type is that of the first chunk.
        position: int [num], units drawn so far.
    """

    def __init__(self, num: int, event_shape: Sequence[int], unit: str):
        self.values = np.zeros([num, *event_shape])
        self.position = np.zeros([num], np.int64)
        self.unit = unit

    def put(self, outputs: Mapping[str, np.ndarray]) -> None:
        """Adds the outputs of one step."""
        chunk = np.asarray(outputs["chunk"])
        if not self.position.any():
            self.values = self.values.astype(chunk.dtype)
        count, position = np.asarray(outputs["count"]), np.asarray(outputs["position"])
        for row, (drawn, end) in enumerate(zip(count, position, strict=True)):
            places, event = np.arange(end - drawn, end), self.values[row]
            if "cells" in outputs:
                places, event = np.asarray(outputs["cells"])[row, :drawn], event.reshape(-1, *chunk.shape[2:])
            event[places] = chunk[row, :drawn]
        self.position = position.astype(np.int64)
