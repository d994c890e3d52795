"""One bank of exported tiny models for a session: the first test that asks for one writes it, in whichever process."""

import contextlib
import functools
from unittest import mock

import tfar
from export.writer import saved_model
from export.writer.options import Options
from tests.once import Once
from tfar import heads, models
from tfar.core.conditions import Label
from tfar.testing.registry import MODELS as REGISTERED

MODELS = {
    "pictures": lambda: models.MADE((4, 4, 1), heads.Categorical(3), hidden=(8,), condition=Label(3)),
    "texts": lambda: models.CharRNN((None,), heads.Categorical(4), vocabulary="abc ", units=4, num_layers=1),
    # Its state is small.
    "text": lambda: models.CharRNN((40,), heads.Categorical(5), units=6, num_layers=1),
    "image": lambda: models.GatedPixelCNN((4, 3, 1), heads.Categorical(3), filters=4, num_blocks=1, condition=Label(3)),
    "ensemble": lambda: models.MADE((2, 3, 1), heads.Bernoulli(), hidden=(8,), num_masks=2, order_agnostic=True),
}
OPTIONS = {
    "pictures": Options(max_examples=16),
    "text": Options(slots=8, ttl=60.0),  # sessions are few and live long
    "image": Options(slots=2, ttl=3.0),  # sessions are few and given up soon
    "ensemble": Options(sessions=False),
}
WARMED = ("pictures", "MADE_binary")  # with requests that a server runs before others
UNCHECKED = saved_model.Report(num_samples=0, num_ties=0, log_prob_difference=0.0)


@contextlib.contextmanager
def unchecked(name):
    """Exports without comparing the version with Python, which costs as much again and has tests of its own.

    Every server that loads a version runs its requests for a warm-up: those of `WARMED` alone have them.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(saved_model, "check", return_value=UNCHECKED))
        if name not in WARMED:
            stack.enter_context(mock.patch.object(saved_model, "Servable", contextlib.nullcontext))
            stack.enter_context(mock.patch.object(saved_model.warm_up, "write"))
        yield


@functools.cache
def model(name):
    """A model of the bank, or of the registry, with random weights, the same in every process; leave it as it is."""
    build = MODELS.get(name) or next(case.build for case in REGISTERED if case.name == name)
    built = build()
    tfar.testing.randomize_weights(built)
    return built


class Bank(Once):
    """Models, their exports and their files, each written once."""

    def model(self, name):
        return model(name)

    def versions(self, name):
        """The folder that holds version 1 of an export; copy it before writing beside it."""
        with self.once(name) as (out, new):
            if new:
                with unchecked(name):
                    saved_model.export(model(name), out, OPTIONS.get(name), name)
        return out

    def file(self, name):
        """The model's .keras file."""
        with self.once(f"{name}.keras") as (path, new):
            if new:
                model(name).save(path)
        return path
