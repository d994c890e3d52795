"""Tiny instances of every public layer, head and model, over which the conformance suite runs.

A test fails when a public layer, head or model is missing here.
"""

from tfar.testing.registry.cases import HeadCase, LayerCase, ModelCase
from tfar.testing.registry.heads import HEADS
from tfar.testing.registry.layers import LAYERS
from tfar.testing.registry.models import MODELS

__all__ = ["HEADS", "LAYERS", "MODELS", "HeadCase", "LayerCase", "ModelCase"]
