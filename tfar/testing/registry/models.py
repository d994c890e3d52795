"""Tiny models: every class in its variants."""

from tfar.testing.registry.any_order import ANY_ORDER
from tfar.testing.registry.cases import ModelCase
from tfar.testing.registry.chains import CHAINS
from tfar.testing.registry.flat import FLAT
from tfar.testing.registry.images import IMAGES
from tfar.testing.registry.sequences import SEQUENCES

MODELS: list[ModelCase] = [*IMAGES, *SEQUENCES, *ANY_ORDER, *FLAT, *CHAINS]
