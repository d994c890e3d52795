"""A version of a model, from its discovery to its end."""

from __future__ import annotations

import dataclasses
import enum
from pathlib import Path

from export.client.errors import ServingError
from export.server.loaded_model import LoadedModel


class State(enum.IntEnum):
    """Of a version, as GetModelStatus tells it."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclasses.dataclass(eq=False)
class Version:
    """One version of a model.

    Attributes:
        name: of the model.
        number: of the version.
        path: its folder.
        state: where it stands.
        error: why it could not be loaded.
        model: while it is loaded.
        calls: that are using it.
    """

    name: str
    number: int
    path: Path
    state: State = State.START
    error: ServingError | None = None
    model: LoadedModel | None = None
    calls: int = 0
