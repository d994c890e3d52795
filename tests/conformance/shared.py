"""The models of the registry, each built once for the tests of its group."""

import functools

from tfar import testing
from tfar.testing.registry import MODELS

CASES = {case.name: case for case in MODELS}


@functools.lru_cache(maxsize=2)
def model_of(name):
    """The model of a case with random weights, biases included; tests share it and leave it as it is."""
    model = CASES[name].build()
    testing.randomize_weights(model)
    return model
