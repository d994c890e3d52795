"""Tiny exports in a v1 session, for tests of signatures."""

import numpy as np

import tfar
from export import examples, saved_model
from export.servable import Servable
from export.sessions import REHEARSAL
from export.signatures import Options


class Export:
    """A model with random weights, and its exported version in a session."""

    def __init__(self, model, folder, **options):
        tfar.testing.randomize_weights(model)
        self.model = model
        self.version, self.report = saved_model.export(model, folder, Options(**options), "tiny")
        self.servable = Servable(self.version)
        # The first calls take seconds, in which a session could expire.
        self.servable.run("session_step", session_id=np.array([REHEARSAL], np.int64))

    def given(self, rows):
        """Example conditions of so many rows, by the names of the inputs."""
        return examples.inputs(self.model, examples.condition(self.model, rows))


def seeds(num, first=5):
    """Seeds as `sample(num, seed=first)` has them."""
    return np.stack([np.full(num, first), np.arange(num)], 1).astype(np.int64)
