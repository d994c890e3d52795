"""Settings of the training loop."""

from __future__ import annotations

import dataclasses

from tfar.core.checks import checked_integer

ON_DAMAGED = ("previous", "stop")


@dataclasses.dataclass(frozen=True)
class Settings:
    """The length of a run and the steps at which it logs, evaluates and saves.

    Attributes:
        steps: optimisation steps.
        log_every: steps between lines of metrics.jsonl.
        eval_every: steps between scores of the validation set; the last step is always scored.
        checkpoint_every: steps between checkpoints; one is also written after every evaluation.
        patience: evaluations without a better score before the run stops early; 0 for never.
        eval_batch_size: examples scored together.
        eval_rows: stretches that a validation text is cut into, to be scored together; each begins without context.
            1 is exact, and slow for recurrent models.
        on_damaged: "previous" goes on from the checkpoint before a damaged one, with a warning; "stop" raises.
    """

    steps: int
    log_every: int = 50
    eval_every: int = 200
    checkpoint_every: int = 200
    patience: int = 0
    eval_batch_size: int = 256
    eval_rows: int = 1
    on_damaged: str = "previous"

    def __post_init__(self) -> None:
        """Raises ValueError for numbers out of range."""
        if self.on_damaged not in ON_DAMAGED:
            raise ValueError(f"on_damaged must be one of {', '.join(ON_DAMAGED)}, got {self.on_damaged!r}")
        for field in dataclasses.fields(self):
            if field.name == "on_damaged":
                continue
            checked_integer(field.name, getattr(self, field.name), low=int(field.name != "patience"))
