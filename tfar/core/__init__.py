"""The core: the incremental scope, orderings, noise, conditions and the description of an event."""

from tfar.core import quiet as quiet  # before anything imports TensorFlow

# isort: split
from tfar.core.carry import Carry, Site
from tfar.core.conditions import Condition, Joint, Label, Local, Spatial, Vector
from tfar.core.event import Event
from tfar.core.noise import seed_rows, uniform
from tfar.core.orderings import Ordering
from tfar.core.request import Request
from tfar.core.scope import Incremental, State
from tfar.core.stage import Stage
from tfar.core.states import initial_state, state_spec
from tfar.core.vocabulary import Vocabulary

__all__ = [
    "Carry",
    "Condition",
    "Event",
    "Incremental",
    "Joint",
    "Label",
    "Local",
    "Ordering",
    "Request",
    "Site",
    "Spatial",
    "Stage",
    "State",
    "Vector",
    "Vocabulary",
    "initial_state",
    "seed_rows",
    "state_spec",
    "uniform",
]
