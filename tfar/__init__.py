"""tfar: deep autoregressive density models in TensorFlow.

p(x | h) = prod_i p(x_i | x_1, ..., x_(i-1), h), each factor a neural network's distribution.
"""

from tfar import core, data, heads, layers, models, sampling, testing, training
from tfar.core import conditions, orderings

__version__ = "0.1.0"

__all__ = ["conditions", "core", "data", "heads", "layers", "models", "orderings", "sampling", "testing", "training"]
