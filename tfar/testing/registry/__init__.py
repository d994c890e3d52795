"""One tiny instance of everything public: what the conformance suite runs over.

A test fails when a public layer, head or model is missing here.
"""

from tfar.testing.registry.any_order import ANY_ORDER
from tfar.testing.registry.cases import HeadCase, LayerCase, ModelCase
from tfar.testing.registry.flat import FLAT
from tfar.testing.registry.heads import HEADS
from tfar.testing.registry.images import IMAGES
from tfar.testing.registry.layers import LAYERS
from tfar.testing.registry.sequences import SEQUENCES

MODELS: list[ModelCase] = [*IMAGES, *SEQUENCES, *ANY_ORDER, *FLAT]

__all__ = ["HEADS", "LAYERS", "MODELS", "HeadCase", "LayerCase", "ModelCase"]
