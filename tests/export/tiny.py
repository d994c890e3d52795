"""Exports of the bank in a v1 session, for tests of signatures."""

import functools

import numpy as np
import tensorflow as tf

from export.writer import examples
from export.writer.servable import Servable
from export.writer.sessions import REHEARSAL

SEED, NUM = 5, 4
TEMPERATURE = np.linspace(1.0, 0.5, NUM, dtype=np.float32)


class Export:
    """A model with random weights, and its exported version in a session."""

    def __init__(self, bank, name):
        self.model = bank.model(name)
        self.version = bank.versions(name) / "1"
        # To optimize the graph of a signature takes longer than its few calls; servers and the self-check do it.
        config = tf.compat.v1.ConfigProto()
        config.graph_options.rewrite_options.disable_meta_optimizer = True
        self.servable = Servable(self.version, config)
        self.condition = examples.condition(self.model, NUM, seed=1)
        if "session_step" in self.servable.signatures:
            # The first calls take seconds, in which a session could expire.
            self.servable.run("session_step", session_id=np.array([REHEARSAL], np.int64))

    @functools.cached_property
    def samples(self):
        """What Python draws; one shape throughout, for each costs seconds of tracing."""
        return self.model.sample(NUM, self.condition, SEED, TEMPERATURE, jit_compile=False).numpy()

    def given(self, rows):
        """Conditions of so many rows, by the names of the inputs."""
        return {} if self.condition is None else {"condition": self.condition[:rows]}


def seeds(num, first=SEED):
    """Seeds as `sample(num, seed=first)` has them."""
    return np.stack([np.full(num, first), np.arange(num)], 1).astype(np.int64)
