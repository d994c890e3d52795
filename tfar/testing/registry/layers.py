"""Tiny layers."""

from __future__ import annotations

from tfar import layers
from tfar.layers.block_sparse import BlockSparsity
from tfar.testing.registry.cases import LayerCase

LAYERS: list[LayerCase] = [
    LayerCase("CausalAttention_sequence", lambda: layers.CausalAttention(num_heads=2), (6, 4)),
    LayerCase("CausalAttention_image", lambda: layers.CausalAttention(num_heads=2), (3, 4, 4)),
    LayerCase("CausalAttention_window", lambda: layers.CausalAttention(max_length=3, scale=0.7), (7, 4)),
    LayerCase("CausalAttention_blocks", lambda: layers.CausalAttention(2, max_length=5, block_size=3), (2, 4, 4)),
    LayerCase("CausalConv2D_inclusive", lambda: layers.CausalConv2D(3), (3, 4, 2)),
    LayerCase("CausalConv2D_normalized", lambda: layers.CausalConv2D(3, (3, 3), weight_norm=True), (4, 4, 2)),
    LayerCase(
        "CausalConv2D_sparse",
        lambda: layers.CausalConv2D(8, weight_norm=True, sparsity=BlockSparsity(2, 0.5)),
        (3, 4, 4),
    ),
    LayerCase("CausalConv2D_exclusive", lambda: layers.CausalConv2D(3, (2, 1), exclusive=True), (3, 4, 2)),
    # They have no state; tests/layers/test_downsampled.py tests their rows and pixels.
    LayerCase("CausalTransposedConv2D_right", lambda: layers.CausalTransposedConv2D(3), (2, 3, 2), incremental=False),
    LayerCase(
        "CausalTransposedConv2D_vertical",
        lambda: layers.CausalTransposedConv2D(3, (2, 3), weight_norm=True),
        (2, 3, 2),
        incremental=False,
    ),
    LayerCase("Coordinates_table", layers.Coordinates, (3, 4, 2), incremental=False),
    LayerCase("CausalConv1D_inclusive", lambda: layers.CausalConv1D(3, 3, dilation_rate=2), (12, 2)),
    LayerCase("CausalConv1D_exclusive", lambda: layers.CausalConv1D(3, 2, exclusive=True), (6, 2)),
    LayerCase("CausalConv1D_ignores_first", lambda: layers.CausalConv1D(3, 3, 2, ignore_first=True), (12, 2)),
    # AlignedSequence has no state; tests/layers/test_aligned.py tests its steps.
    LayerCase("AlignedSequence_longer", layers.AlignedSequence, (5, 2), (7, 3), incremental=False),
    LayerCase("SkipSum_scaled", lambda: layers.SkipSum(4, 3, scale=0.5), (5, 6), incremental=False),
    LayerCase("Upsampling1D_repeat", lambda: layers.Upsampling1D(3), (4, 2), incremental=False),
    LayerCase("Upsampling1D_transposed", lambda: layers.Upsampling1D(3, "transposed"), (4, 2), incremental=False),
    LayerCase(
        "Upsampling1D_stretch",
        lambda: layers.Upsampling1D(6, "stretch", (2, 3), channel_kernel=3, first_kernel=3),
        (4, 2),
        incremental=False,
    ),
    LayerCase(
        "Upsampling1D_transposed2d", lambda: layers.Upsampling1D(6, "transposed2d", (2, 3)), (4, 2), incremental=False
    ),
    LayerCase("ConditionalNetworks_linear", lambda: layers.ConditionalNetworks(5, 2), (5, 3)),
    LayerCase(
        "ConditionalNetworks_graph",
        lambda: layers.ConditionalNetworks(4, 2, [[], [0], [], [0, 2]], hidden=(3,)),
        (4, 2),
        context_shape=(2,),
    ),
    LayerCase("GatedResnet_causal", lambda: layers.GatedResnet(4), (3, 4, 4)),
    LayerCase("GatedResnet_vertical", lambda: layers.GatedResnet(4, "vertical", "elu"), (3, 4, 4), incremental=False),
    LayerCase(
        "GatedResnet_pointwise",
        lambda: layers.GatedResnet(4, "pointwise", "relu", weight_norm=False),
        (3, 4, 4),
        context_shape=(3, 4, 2),
        incremental=False,
    ),
    LayerCase("GatedResnet_sparse", lambda: layers.GatedResnet(4, sparsity=BlockSparsity(2, 0.5, 1)), (3, 4, 4)),
    LayerCase("OnesChannel_appended", layers.OnesChannel, (3, 4, 2), incremental=False),
    LayerCase("Pointwise_normalized", lambda: layers.Pointwise(3, weight_norm=True), (3, 4, 2), incremental=False),
    # Like CausalAttention it gets the element before in a step; tests/layers/test_pooled_attention.py.
    LayerCase("PooledCausalAttention_two", lambda: layers.PooledCausalAttention(2), (4, 4, 3), incremental=False),
    LayerCase("Shortcut_vertical", lambda: layers.Shortcut(3, vertical=True), (3, 4, 2)),
    LayerCase("GatedActivation_vector", layers.GatedActivation, (3, 4, 6), context_shape=(2,)),
    LayerCase("GatedActivation_map", layers.GatedActivation, (3, 4, 6), context_shape=(3, 4, 2)),
    LayerCase("HorizontalConv2D_inclusive", lambda: layers.HorizontalConv2D(6, 3, groups=3, halves=2), (3, 4, 6)),
    LayerCase("HorizontalConv2D_exclusive", lambda: layers.HorizontalConv2D(3, 5, exclusive=True), (3, 4, 2)),
    LayerCase(
        "HorizontalConv2D_colours",
        lambda: layers.HorizontalConv2D(6, 5, True, 3, "interleaved", input_groups="contiguous"),
        (3, 4, 3),
    ),
    # Its second argument is the condition, of which nothing is kept.
    LayerCase("ConditionDropout_zeros", lambda: layers.ConditionDropout(0.5), (3, 4, 6), incremental=False),
    LayerCase("ConditionalBias_vector", layers.ConditionalBias, (3, 4, 6), context_shape=(2,)),
    LayerCase("ConditionalBias_map", layers.ConditionalBias, (3, 4, 6), context_shape=(3, 4, 2)),
    # They have no state; tests/layers/test_positions.py tests their steps.
    LayerCase("LearnedPositions_table", lambda: layers.LearnedPositions(6), (5, 4), incremental=False),
    LayerCase("RotaryPositions_heads", lambda: layers.RotaryPositions(2), (5, 8), incremental=False),
    # In parallel it shifts, in a step it is the identity.
    LayerCase("ShiftRight_sequence", layers.ShiftRight, (5, 2), incremental=False),
    # As `ShiftRight`; tests/layers/test_ordered.py sees it with orders.
    LayerCase("Ordered_raster", layers.Ordered, (5, 2), incremental=False),
    LayerCase("LocalAttention1D_ring", lambda: layers.LocalAttention1D(2, 3), (11, 4)),
    LayerCase("LocalAttention2D_flange", lambda: layers.LocalAttention2D(2, (4, 6), (2, 3), (1, 2)), (24, 4)),
    LayerCase("LocalAttention2D_colours", lambda: layers.LocalAttention2D(1, (2, 4), (1, 2), (1, 1), 2), (16, 3)),
    LayerCase("LocallyMaskedConv2D_inclusive", lambda: layers.LocallyMaskedConv2D(3, (3, 4)), (12, 2)),
    LayerCase(
        "LocallyMaskedConv2D_exclusive",
        lambda: layers.LocallyMaskedConv2D(3, (3, 4), 5, True, mask_channel=True),
        (12, 2),
    ),
    LayerCase("LocallyMaskedConv2D_dilated", lambda: layers.LocallyMaskedConv2D(3, (4, 3), dilation_rate=2), (12, 2)),
    LayerCase("MaskedConv2D_A", lambda: layers.MaskedConv2D(3, 3, "A"), (4, 5, 2)),
    LayerCase("MaskedConv2D_A_wide", lambda: layers.MaskedConv2D(6, 7, "A", 3, halves=2), (4, 5, 3)),
    LayerCase("MaskedConv2D_B", lambda: layers.MaskedConv2D(3, 3, "B"), (4, 5, 2)),
    LayerCase("MaskedConv2D_B_wide", lambda: layers.MaskedConv2D(6, 5, "B", 3, "contiguous"), (4, 5, 6)),
    LayerCase("MaskedDense_push", lambda: layers.MaskedDense(range(5), range(5), features=2), (5, 3), (2,)),
    LayerCase("MaskedDense_pull", lambda: layers.MaskedDense(range(5), range(5), features=9), (5, 3), (2,)),
    LayerCase("MaskedConv2D_pointwise", lambda: layers.MaskedConv2D(3, 1, "B"), (3, 4, 2), incremental=False),
    # In a step it returns another position than in parallel; tests/layers/test_attention.py tests it.
    LayerCase("Previous_identity", layers.Previous, (3, 4, 2), incremental=False),
    LayerCase("MaskedConv2D_wrap", lambda: layers.MaskedConv2D(6, 7, "A", wrap=True), (4, 5, 3)),
    LayerCase("DiagonalLSTM_right", lambda: layers.DiagonalLSTM(3, groups=3), (4, 5, 6), context_shape=(2,)),
    LayerCase("DiagonalLSTM_left", lambda: layers.DiagonalLSTM(3, "right_to_left"), (4, 5, 4), context_shape=(4, 5, 2)),
    LayerCase("RowLSTM_vector", lambda: layers.RowLSTM(4, 5, groups=3), (4, 5, 6), context_shape=(2,)),
    LayerCase("RowLSTM_map", lambda: layers.RowLSTM(3, 1, 5), (4, 5, 2), context_shape=(4, 5, 2)),
    LayerCase("RowLSTM_plain", lambda: layers.RowLSTM(3), (4, 5, 2)),
    LayerCase("Recurrent_lstm", lambda: layers.Recurrent(3), (16, 2), (2,)),
    LayerCase("Recurrent_gru", lambda: layers.Recurrent(3, "gru", exclusive=True, init_scale=0.1), (7, 2)),
    LayerCase("Recurrent_vanilla", lambda: layers.Recurrent(3, "vanilla"), (7, 2)),
    LayerCase("VerticalConv2D_inclusive", lambda: layers.VerticalConv2D(3, (2, 3)), (4, 3, 2)),
    LayerCase("VerticalConv2D_exclusive", lambda: layers.VerticalConv2D(3, (2, 3), exclusive=True), (4, 3, 2)),
    LayerCase(
        "VerticalConv2D_shifted",
        lambda: layers.VerticalConv2D(3, (2, 3), exclusive=True, shift_output=True, weight_norm=True),
        (4, 3, 2),
    ),
    LayerCase(
        "VerticalConv2D_sparse", lambda: layers.VerticalConv2D(4, (2, 3), sparsity=BlockSparsity(2, 0.5)), (4, 3, 4)
    ),
    LayerCase("VerticalConv2D_pointwise", lambda: layers.VerticalConv2D(3, (1, 1)), (4, 3, 2)),
]
