"""tfar: deep autoregressive density models in TensorFlow.

p(x | h) = prod_i p(x_i | x_1, ..., x_(i-1), h), each factor a neural network's distribution.
"""

import importlib

from tfar import core, data, heads, layers, models, sampling, testing, training, typing
from tfar.core import conditions, orderings, views

__version__ = "0.1.0"

__all__ = [
    "conditions",
    "convert",
    "core",
    "data",
    "heads",
    "layers",
    "models",
    "orderings",
    "sampling",
    "testing",
    "training",
    "typing",
    "views",
]


def __getattr__(name: str) -> object:
    if name == "convert":  # imported where it is used, which is once in the life of a checkpoint
        return importlib.import_module("tfar.convert")
    raise AttributeError(f"module 'tfar' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
