"""Causal layers: computed in parallel over all positions, or one position at a time inside of a scope."""

from tfar.layers.attention import CausalAttention
from tfar.layers.causal_conv import CausalConv1D
from tfar.layers.conditional_bias import ConditionalBias
from tfar.layers.conditional_networks import ConditionalNetworks
from tfar.layers.gated import GatedActivation
from tfar.layers.masked_conv import MaskedConv2D
from tfar.layers.masked_dense import MaskedDense
from tfar.layers.previous import Previous
from tfar.layers.stacks import HorizontalConv2D, VerticalConv2D

__all__ = [
    "CausalAttention",
    "CausalConv1D",
    "ConditionalBias",
    "ConditionalNetworks",
    "GatedActivation",
    "HorizontalConv2D",
    "MaskedConv2D",
    "MaskedDense",
    "Previous",
    "VerticalConv2D",
]
