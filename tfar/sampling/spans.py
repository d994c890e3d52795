"""Spans of units that a sampler draws in one call."""

from __future__ import annotations

from typing import Any, NamedTuple


class Span(NamedTuple):
    """Units that a sampler draws in one call.

    Attributes:
        begin: the first unit.
        end: the unit behind the last one.
        options: further arguments of the sampler's `advance`, which select its graph.
    """

    begin: int
    end: int
    options: dict[str, Any] = {}


def even_spans(first: int, units: int, chunks: int) -> list[Span]:
    """Cuts units first, ..., units - 1 into about `chunks` spans of equal length, the last one shorter.

    Args:
        first: the first unit.
        units: the unit behind the last one.
        chunks: in how many the units from 0 on would be cut.

    Example:
        >>> [(span.begin, span.end) for span in even_spans(1, 6, 3)]
        [(1, 3), (3, 5), (5, 6)]
    """
    step = -(-units // chunks)
    return [Span(begin, min(begin + step, units)) for begin in range(first, units, step)]
