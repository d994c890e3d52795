"""The core: the incremental scope, orderings, noise, conditions and the description of an event."""

from tfar.core.conditions import Condition, Label, Spatial, Vector
from tfar.core.event import Event, Stage
from tfar.core.noise import seed_rows, uniform
from tfar.core.orderings import Ordering
from tfar.core.scope import Incremental, State, initial_state, state_spec

__all__ = [
    "Condition",
    "Event",
    "Incremental",
    "Label",
    "Ordering",
    "Spatial",
    "Stage",
    "State",
    "Vector",
    "initial_state",
    "seed_rows",
    "state_spec",
    "uniform",
]
