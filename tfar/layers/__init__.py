"""Causal layers: computed in parallel over all positions, or one position at a time inside of a scope."""

from tfar.layers.aligned import AlignedSequence
from tfar.layers.attention import CausalAttention
from tfar.layers.causal_conv import CausalConv1D
from tfar.layers.causal_conv2d import CausalConv2D
from tfar.layers.condition_dropout import ConditionDropout
from tfar.layers.conditional_bias import ConditionalBias
from tfar.layers.conditional_networks import ConditionalNetworks
from tfar.layers.coordinates import Coordinates
from tfar.layers.diagonal_lstm import DiagonalLSTM
from tfar.layers.gated import GatedActivation
from tfar.layers.gated_resnet import GatedResnet, Shortcut
from tfar.layers.local_attention import LocalAttention1D, LocalAttention2D
from tfar.layers.locally_masked_conv import LocallyMaskedConv2D
from tfar.layers.masked_conv import MaskedConv2D
from tfar.layers.masked_dense import MaskedDense
from tfar.layers.ones_channel import OnesChannel
from tfar.layers.ordered import Ordered
from tfar.layers.pointwise import Pointwise
from tfar.layers.pooled_attention import PooledCausalAttention
from tfar.layers.positions import LearnedPositions, RotaryPositions
from tfar.layers.previous import Previous
from tfar.layers.recurrent import Recurrent
from tfar.layers.row_lstm import RowLSTM
from tfar.layers.shift_right import ShiftRight
from tfar.layers.skip_sum import SkipSum
from tfar.layers.stacks import HorizontalConv2D, VerticalConv2D
from tfar.layers.transposed_conv import CausalTransposedConv2D
from tfar.layers.upsampling import Upsampling1D

__all__ = [
    "ConditionDropout",
    "Coordinates",
    "PooledCausalAttention",
    "CausalTransposedConv2D",
    "Ordered",
    "Pointwise",
    "OnesChannel",
    "Shortcut",
    "GatedResnet",
    "CausalConv2D",
    "AlignedSequence",
    "CausalAttention",
    "CausalConv1D",
    "ConditionalBias",
    "ConditionalNetworks",
    "DiagonalLSTM",
    "GatedActivation",
    "HorizontalConv2D",
    "LearnedPositions",
    "LocalAttention1D",
    "LocalAttention2D",
    "LocallyMaskedConv2D",
    "MaskedConv2D",
    "MaskedDense",
    "Previous",
    "Recurrent",
    "RotaryPositions",
    "RowLSTM",
    "ShiftRight",
    "SkipSum",
    "Upsampling1D",
    "VerticalConv2D",
]
