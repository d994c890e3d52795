"""Causal layers: computed in parallel over all positions, or one position at a time inside of a scope."""

from tfar.layers.causal_conv import CausalConv1D
from tfar.layers.gated import GatedActivation
from tfar.layers.stacks import HorizontalConv2D, VerticalConv2D

__all__ = ["CausalConv1D", "GatedActivation", "HorizontalConv2D", "VerticalConv2D"]
