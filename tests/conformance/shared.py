"""The models of the registry, each built, saved and loaded once for the tests of its group."""

import functools
import tempfile

from tfar import testing
from tfar.testing.registry import MODELS

CASES = {case.name: case for case in MODELS}


@functools.lru_cache(maxsize=2)
def model_of(name):
    """The model of a case with random weights, biases included; tests share it and leave it as it is."""
    model = CASES[name].build()
    testing.randomize_weights(model)
    return model


@functools.lru_cache(maxsize=2)
def loaded(name):
    """The same model as it comes back from a file, its configuration compared; parity compares what it computes."""
    with tempfile.TemporaryDirectory() as folder:
        return testing.assert_saves(model_of(name), folder, continues=False)
