"""The most that one request may ask for.

A request of a few bytes can ask for any number of examples: one value stands for all of them, and a server fills a
tensor up with its last value. So a graph refuses what is too much before anything is repeated or allocated.
"""

from __future__ import annotations

import dataclasses

from tfar.core.event import Event

# Longest event that one request may ask of a model of any length, and the most units of one step.
MAX_LENGTH = 65536
MOST_EXAMPLES = 64
# Of all examples together, where events are no images: 64 of 4096 values, or 4 of the longest.
MOST_POSITIONS = 2**18


@dataclasses.dataclass(frozen=True)
class Limits:
    """Bounds of one request.

    Attributes:
        examples: events of a request.
        positions: factors of all its examples together; where events have one length, `examples` bounds them.
    """

    examples: int
    positions: int

    @property
    def length(self) -> int:
        """Longest event of a model of any length."""
        return min(MAX_LENGTH, self.positions)


def limits_of(event: Event, examples: int | None = None, positions: int | None = None) -> Limits:
    """Returns the bounds for requests of a model.

    Args:
        event: of the model.
        examples: of a request; None for 64, and for fewer where that many events have more than 2^18 positions and
            are no images.
        positions: of all examples of a request together; None for as many as the examples have, and for 2^18 where
            events have no length of their own.

    Raises:
        ValueError: not even one event may be asked for.
    """
    if None in event.positions:
        return Limits(examples or MOST_EXAMPLES, positions or MOST_POSITIONS)
    size = event.num_positions
    if positions is not None and positions < size:
        raise ValueError(f"max_positions must be at least {size}, the positions of one event, got {positions}")
    if examples is None:
        image = len(event.positions) > 1
        examples = MOST_EXAMPLES if image else max(1, min(MOST_EXAMPLES, MOST_POSITIONS // size))
    if positions is not None:
        examples = min(examples, positions // size)
    return Limits(examples, examples * size)
