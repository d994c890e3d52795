"""Causal layers: computed in parallel over all positions, or one position at a time inside of a scope."""

from tfar.layers.aligned import AlignedSequence
from tfar.layers.attention import CausalAttention
from tfar.layers.causal_conv import CausalConv1D
from tfar.layers.conditional_bias import ConditionalBias
from tfar.layers.conditional_networks import ConditionalNetworks
from tfar.layers.gated import GatedActivation
from tfar.layers.masked_conv import MaskedConv2D
from tfar.layers.masked_dense import MaskedDense
from tfar.layers.positions import LearnedPositions, RotaryPositions
from tfar.layers.previous import Previous
from tfar.layers.recurrent import Recurrent
from tfar.layers.shift_right import ShiftRight
from tfar.layers.skip_sum import SkipSum
from tfar.layers.stacks import HorizontalConv2D, VerticalConv2D
from tfar.layers.upsampling import Upsampling1D

__all__ = [
    "AlignedSequence",
    "CausalAttention",
    "CausalConv1D",
    "ConditionalBias",
    "ConditionalNetworks",
    "GatedActivation",
    "HorizontalConv2D",
    "LearnedPositions",
    "MaskedConv2D",
    "MaskedDense",
    "Previous",
    "Recurrent",
    "RotaryPositions",
    "ShiftRight",
    "SkipSum",
    "Upsampling1D",
    "VerticalConv2D",
]
