"""Describes a model for clients: the answer of `describe`, and assets.extra/tfar.json."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tfar
from export.writer import states
from export.writer.limits import Limits
from export.writer.part_sampler import Sampler
from export.writer.sessions import SessionStore
from tfar.models import AutoregressiveModel


def about(
    model: AutoregressiveModel,
    name: str,
    labels: Sequence[str],
    sampler: Sampler | None,
    store: SessionStore | None,
    limits: Limits,
) -> dict[str, Any]:
    """Returns the description as JSON values.

    Args:
        model: the model.
        name: what it is called where it is served.
        labels: what the labels stand for; empty where nobody said so.
        sampler: of steps, or None.
        store: of sessions, or None.
        limits: of a request.
    """
    parts = [] if model.condition is None else model.condition.parts
    return {
        "name": name,
        "model": type(model).__name__,
        "tfar": tfar.__version__,
        "fingerprint": states.fingerprint(model),
        "event_shape": list(model.event_shape),
        "dtype": model.head.dtype.name,
        "levels": model.head.levels,
        "head": repr(model.head),
        "condition": [part.describe() for part in parts],
        "labels": list(labels),
        "vocabulary": None if model.text_vocabulary is None else model.text_vocabulary.characters,
        "unit": None if sampler is None else sampler.unit,
        "units": None if sampler is None else sampler.units,
        "max_examples": limits.examples,
        "max_positions": limits.positions,
        "session_slots": None if store is None else store.slots,
        "session_ttl_seconds": None if store is None else store.ttl,
    }
