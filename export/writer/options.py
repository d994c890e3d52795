"""The options of an export, from the command's flags."""

from __future__ import annotations

import dataclasses

from export.writer.sessions import MAX_SLOTS

DEFAULT_SLOTS = 64
DEFAULT_TTL = 600.0


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of an export.

    Attributes:
        sessions: whether there are `session_...` signatures.
        slots: sessions at a time.
        ttl: seconds without a step after which a session expires.
        xla: whether there are `..._xla` signatures, for servers with `--xla_cpu_compilation_enabled`.
        batch_calls: whether requests that are under way together are drawn as one batch, see `export.writer.batched`.
        max_examples: events of one request; None for the default of `limits_of`.
        max_positions: factors of all events of one request; None for the default of `limits_of`.

    Raises:
        ValueError: a number is out of range.
    """

    sessions: bool = True
    slots: int = DEFAULT_SLOTS
    ttl: float = DEFAULT_TTL
    xla: bool = False
    batch_calls: bool = False
    max_examples: int | None = None
    max_positions: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_examples", "max_positions"):
            value = getattr(self, name)
            if value is not None and not 1 <= value < 2**31:
                raise ValueError(f"{name} must be at least 1 and below 2^31, got {value}")
        if not 1 <= self.slots <= MAX_SLOTS:
            raise ValueError(f"session_slots must be from 1 to {MAX_SLOTS}, got {self.slots}")
        if not 0 < self.ttl < float("inf"):
            raise ValueError(f"session_ttl must be a positive number of seconds, got {self.ttl}")
