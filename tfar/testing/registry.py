"""One tiny instance of everything public: what the conformance suite runs over.

A test fails when a public layer, head or model is missing here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import keras

from tfar import heads, layers, models
from tfar.core import orderings
from tfar.core.conditions import Label, Local, Spatial, Vector
from tfar.layers.block_sparse import BlockSparsity
from tfar.models.autoregressive import AutoregressiveModel
from tfar.testing.blind import (
    blind_of_causal_conv_net,
    blind_of_image_transformer,
    blind_of_locally_masked_pixel_cnn,
    blind_of_pixel_cnn,
    blind_of_pooled_snail,
    blind_of_row_lstm,
    blind_of_wavenet,
)


@dataclasses.dataclass(frozen=True)
class ModelCase:
    """A tiny model and what is to be expected of it.

    Attributes:
        name: identifier, "<class>_<variant>".
        build: constructs the model.
        enumerable: the space of events is small enough to sum over (at most 100,000 events).
        blind: flat positions (target, source) that the paper says are not seen although source precedes target;
            a callable of the model, or None where everything that precedes is visible.
        xla: run the costly comparisons of steps with the parallel pass (XLA, op by op, bfloat16) in the default suite
            too; the large tests do it for every case. One case of each class.
        exempt: checks that do not apply, by the name of the test, each with the reason.
    """

    name: str
    build: Callable[[], AutoregressiveModel]
    enumerable: bool = False
    blind: Callable[[AutoregressiveModel], Any] | None = None
    xla: bool = False
    exempt: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class LayerCase:
    """A tiny layer.

    Attributes:
        name: identifier, "<class>_<variant>".
        build: constructs the layer.
        input_shape: without the batch, (T, F) or (H, W, F).
        context_shape: of the second argument without the batch; None where the layer takes one argument.
        incremental: whether the layer keeps a state of its own, which is then compared with the parallel pass.
    """

    name: str
    build: Callable[[], keras.layers.Layer]
    input_shape: tuple[int, ...]
    context_shape: tuple[int, ...] | None = None
    incremental: bool = True


@dataclasses.dataclass(frozen=True)
class HeadCase:
    """A small head.

    Attributes:
        name: identifier, "<class>_<variant>".
        build: constructs the head.
        channels: values per position where the head models whole pixels.
    """

    name: str
    build: Callable[[], heads.Head]
    channels: int = 1


def _gated(event_shape: tuple[int, int, int], head: Any, **kwargs: Any) -> Callable[[], AutoregressiveModel]:
    sizes = {"filters": 4, "num_blocks": 2, "kernel_size": 3, "first_kernel_size": 3}
    return lambda: models.GatedPixelCNN(event_shape, head, **{**sizes, **kwargs})


def _pixel(event_shape: tuple[int, int, int], head: Any, **kwargs: Any) -> Callable[[], AutoregressiveModel]:
    sizes = {"filters": 6, "num_blocks": 1, "first_kernel_size": 3}
    return lambda: models.PixelCNN(event_shape, head, **{**sizes, **kwargs})


def _rnn(event_shape: tuple[int, int, int], head: Any, cell: str, **kwargs: Any) -> Callable[[], AutoregressiveModel]:
    sizes = {"filters": 6, "num_layers": 1, "first_kernel_size": 3}
    return lambda: models.PixelRNN(event_shape, head, cell, **{**sizes, **kwargs})


def _pixel_pp(event_shape: tuple[int, int, int], head: Any, **kwargs: Any) -> Callable[[], AutoregressiveModel]:
    sizes = {"filters": 4, "num_resnets": 1, "num_resolutions": 2, "dropout": 0.0}
    return lambda: models.PixelCNNPP(event_shape, head, **{**sizes, **kwargs})


def _snail(event_shape: tuple[int, int, int], head: Any, **kwargs: Any) -> Callable[[], AutoregressiveModel]:
    sizes = {"filters": 4, "num_blocks": 1, "num_resnets": 1, "key_dim": 3, "dropout": 0.0}
    return lambda: models.PixelSNAIL(event_shape, head, **{**sizes, **kwargs})


def _causal(length: int | None, head: Any, **kwargs: Any) -> Callable[[], AutoregressiveModel]:
    return lambda: models.CausalConvNet((length,), head, **{"filters": 4, "num_layers": 3, **kwargs})


def _transformer(length: int | None, head: Any, **kwargs: Any) -> Callable[[], AutoregressiveModel]:
    return lambda: models.CausalTransformer((length,), head, **{"width": 8, "num_layers": 2, "num_heads": 2, **kwargs})


def _wavenet(length: int | None, head: Any, **kwargs: Any) -> Callable[[], AutoregressiveModel]:
    sizes = {"residual_channels": 4, "dilation_channels": 3, "skip_channels": 5, "dilations": [1, 2]}
    return lambda: models.WaveNet((length,), head, **{**sizes, **kwargs})


def _attention(event_shape: tuple[int, ...], head: Any, **kwargs: Any) -> Callable[[], AutoregressiveModel]:
    sizes = {"num_layers": 1, "width": 8, "num_heads": 2}
    return lambda: models.MaskedAttention(event_shape, head, **{**sizes, **kwargs})


def _image(
    event_shape: tuple[int, int, int], head: Any, attention: str, **kwargs: Any
) -> Callable[[], AutoregressiveModel]:
    sizes = {"num_layers": 1, "width": 8, "num_heads": 2}
    return lambda: models.ImageTransformer(event_shape, head, attention, **{**sizes, **kwargs})


def _local(event_shape: tuple[int, int, int], head: Any, **kwargs: Any) -> Callable[[], AutoregressiveModel]:
    sizes = {"filters": 4, "num_resnets": 1, "num_stages": 1}
    return lambda: models.LocallyMaskedPixelCNN(event_shape, head, **{**sizes, **kwargs})


def _not_parents(model: AutoregressiveModel) -> list[tuple[int, int]]:
    """Pairs (node, earlier node that is not among its parents) of a Bayesian network."""
    ranks = model.ordering.ranks.tolist()
    nodes = range(len(ranks))
    return [(i, j) for i in nodes for j in nodes if ranks[j] < ranks[i] and j not in model.parents[i]]


MODELS: list[ModelCase] = [
    ModelCase("GatedPixelCNN_binary", _gated((3, 3, 1), heads.Bernoulli()), enumerable=True),
    ModelCase(
        "GatedPixelCNN_rgb",
        _gated((2, 2, 3), heads.Categorical(2), filters=6, num_blocks=1, condition=Label(3)),
        enumerable=True,
        xla=True,
    ),
    ModelCase(
        "GatedPixelCNN_contiguous",
        _gated(
            (3, 2, 3),
            heads.Categorical(4),
            num_blocks=1,
            channel_groups="contiguous",
            condition=Spatial(2),
            embedding_dim=2,
        ),
    ),
    ModelCase(
        "GatedPixelCNN_logistic",
        _gated((2, 3, 3), heads.DiscretizedLogisticMixture(2, bits=3), num_blocks=1, condition=Vector(2)),
    ),
    ModelCase("PixelCNN_binary", _pixel((3, 4, 1), heads.Bernoulli()), enumerable=True, blind=blind_of_pixel_cnn),
    ModelCase(
        "PixelCNN_rgb",
        _pixel((3, 5, 3), heads.Categorical(3), condition=Label(3)),
        blind=blind_of_pixel_cnn,
        xla=True,
    ),
    ModelCase(
        "PixelCNN_contiguous",
        _pixel((4, 3, 3), heads.Categorical(4), channel_groups="contiguous", condition=Spatial(2), embedding_dim=2),
        blind=blind_of_pixel_cnn,
    ),
    ModelCase(
        "PixelCNN_logistic",
        _pixel((3, 4, 3), heads.DiscretizedLogisticMixture(2, bits=3), num_blocks=2, condition=Vector(2)),
        blind=blind_of_pixel_cnn,
    ),
    ModelCase("PixelRNN_row", _rnn((3, 3, 1), heads.Bernoulli(), "row_lstm"), enumerable=True, blind=blind_of_row_lstm),
    ModelCase(
        "PixelRNN_row_logistic",
        _rnn(
            (3, 7, 3),
            heads.DiscretizedLogisticMixture(2, bits=3),
            "row_lstm",
            num_layers=2,
            kernel_size=5,
            skip=True,
            condition=Vector(2),
        ),
        blind=blind_of_row_lstm,
    ),
    ModelCase(
        "PixelRNN_row_rgb",
        _rnn((3, 5, 3), heads.Categorical(3), "row_lstm", channel_groups="contiguous", condition=Spatial(2)),
        blind=blind_of_row_lstm,
    ),
    ModelCase("PixelRNN_diagonal", _rnn((4, 4, 1), heads.Bernoulli(), "diagonal_bilstm"), enumerable=True),
    ModelCase(
        "PixelRNN_diagonal_rgb",
        _rnn((2, 4, 3), heads.Categorical(3), "diagonal_bilstm", condition=Label(3)),
        xla=True,
    ),
    ModelCase(
        "PixelRNN_diagonal_contiguous",
        _rnn(
            (3, 4, 2),
            heads.Categorical(4),
            "diagonal_bilstm",
            num_layers=2,
            first_kernel_size=5,
            residual=False,
            skip=True,
            channel_groups="contiguous",
            condition=Spatial(2),
            embedding_dim=2,
        ),
    ),
    # Presets are tried on the events of the first case of a class: these can be halved twice.
    ModelCase(
        "PixelCNNPP_logistic",
        _pixel_pp((4, 4, 3), heads.DiscretizedLogisticMixture(2, bits=3), dropout=0.5, condition=Label(3)),
    ),
    # Its many layers take long to compile: under XLA in the large tests only.
    ModelCase("PixelCNNPP_binary", _pixel_pp((2, 4, 1), heads.Bernoulli()), enumerable=True),
    ModelCase(
        "PixelCNNPP_map",
        _pixel_pp((4, 2, 1), heads.Categorical(4), nonlinearity="elu", condition=Spatial(2), embedding_dim=2),
    ),
    ModelCase(
        "PixelCNNPP_sparse",
        _pixel_pp((2, 4, 1), heads.Bernoulli(), filters=8, block_size=2, density=0.5),
        enumerable=True,
    ),
    ModelCase(
        "PixelCNNAutoencoder_code",
        lambda: models.PixelCNNAutoencoder(
            (3, 3, 1), heads.Bernoulli(), 2, 4, filters=4, num_blocks=1, first_kernel_size=3, condition_dropout=0.1
        ),
        enumerable=True,
    ),
    ModelCase("PixelSNAIL_binary", _snail((3, 3, 1), heads.Bernoulli()), enumerable=True, xla=True),
    ModelCase(
        "PixelSNAIL_logistic",
        _snail(
            (3, 4, 3),
            heads.DiscretizedLogisticMixture(2, bits=3),
            nonlinearity="concat_elu",
            condition=Label(3),
            attention_block_size=5,
        ),
    ),
    ModelCase(
        "PixelSNAIL_pooled",
        _snail((4, 6, 1), heads.Categorical(4), attention_downsample=2, condition=Spatial(2), embedding_dim=2),
        blind=blind_of_pooled_snail,
    ),
    ModelCase(
        "CausalConvNet_gated",
        _causal(8, heads.Categorical(3), condition=Label(3)),
        enumerable=True,
        blind=blind_of_causal_conv_net,
        xla=True,
    ),
    ModelCase(
        "CausalConvNet_relu",
        _causal(12, heads.Categorical(5), activation="relu", dilations=[2, 4, 1], kernel_size=3, condition=Vector(2)),
        blind=blind_of_causal_conv_net,
    ),
    ModelCase(
        "CausalTransformer_learned",
        _transformer(5, heads.Categorical(3), num_layers=1, condition=Label(3)),
        enumerable=True,
        xla=True,
    ),
    ModelCase(
        "CausalTransformer_rotary",
        _transformer(6, heads.Categorical(4), positions="rotary", activation="relu", vocabulary="ehlo"),
    ),
    ModelCase(
        "CausalTransformer_continuous",
        _transformer(4, heads.Mixture("Normal", 2), num_layers=1, condition=Vector(2)),
    ),
    ModelCase(
        "CharRNN_lstm",
        lambda: models.CharRNN((6,), heads.Categorical(3), units=4, condition=Label(2)),
        enumerable=True,
        xla=True,
    ),
    ModelCase(
        "CharRNN_gru",
        lambda: models.CharRNN((5,), heads.Categorical(4), units=4, cell="gru", vocabulary="ehlo", embedding_dim=2),
    ),
    ModelCase(
        "CharRNN_vanilla",
        lambda: models.CharRNN((2, 2, 2), heads.Bernoulli(), units=5, cell="vanilla", condition=Vector(2)),
        enumerable=True,
    ),
    ModelCase(
        "WaveNet_one_hot",
        _wavenet(7, heads.Categorical(3), condition=Label(3)),
        enumerable=True,
        blind=blind_of_wavenet,
        xla=True,
    ),
    ModelCase(
        "WaveNet_local",
        _wavenet(12, heads.Categorical(5), condition=Local(2, hop=4), upsampling="transposed", embedding_dim=3),
        blind=blind_of_wavenet,
    ),
    ModelCase(
        "WaveNet_logistic",
        _wavenet(
            10,
            heads.DiscretizedLogisticMixture(2, bits=16),
            kernel_size=3,
            first_kernel_size=1,
            first_bias=True,
            residual_scale=0.7,
            skip_scale=0.5,
            condition=Vector(2),
        ),
        blind=blind_of_wavenet,
    ),
    ModelCase(
        "MaskedAttention_zigzag",
        _attention((3, 3, 1), heads.Bernoulli(), ordering="zigzag", num_layers=2, condition=Label(3)),
        enumerable=True,
    ),
    ModelCase(
        "MaskedAttention_several",
        _attention(
            (2, 3, 1),
            heads.Categorical(3),
            ordering=["raster", "column_major", orderings.random(2, 3, seed=0)],
            condition=Label(2),
            embedding_dim=2,
        ),
        enumerable=True,
        xla=True,
    ),
    ModelCase(
        "MaskedAttention_random",
        _attention((5,), heads.Categorical(3), ordering="random", order_annealing=(2, 8), condition=Vector(2)),
        enumerable=True,
        exempt={"complete_refuses_a_gap": "it completes whatever is observed"},
    ),
    ModelCase(
        "MaskedAttention_logistic",
        _attention(
            (2, 3, 3),
            heads.DiscretizedLogisticMixture(2, bits=3),
            ordering=orderings.snake(2, 3),
            condition=Spatial(2),
        ),
    ),
    ModelCase(
        "ImageTransformer_binary",
        _image((2, 4, 1), heads.Bernoulli(), "local_1d", block_size=2, num_layers=2),
        enumerable=True,
        blind=blind_of_image_transformer,
        xla=True,
    ),
    ModelCase(
        "ImageTransformer_rgb",
        _image((2, 3, 3), heads.Categorical(4), "local_1d", block_size=4, positions="learned", condition=Label(3)),
        blind=blind_of_image_transformer,
    ),
    ModelCase(
        "ImageTransformer_blocks",
        _image(
            (4, 4, 2),
            heads.Categorical(3),
            "local_2d",
            block_shape=(2, 2),
            memory_flange=(1, 1),
            embedding_dim=3,
            recompute=True,
            dropout=0.1,
        ),
        blind=blind_of_image_transformer,
    ),
    ModelCase(
        "ImageTransformer_logistic",
        _image(
            (4, 4, 3),
            heads.DiscretizedLogisticMixture(2, bits=3),
            "local_2d",
            block_shape=(2, 2),
            memory_flange=(2, 0),
            attention_width=12,
            condition=Spatial(2),
        ),
        blind=blind_of_image_transformer,
    ),
    ModelCase(
        "ImageTransformer_full",
        _image((2, 3, 3), heads.DiscretizedLogisticMixture(2, bits=3), "full", norm="pre", condition=Vector(2)),
    ),
    ModelCase(
        "LocallyMaskedPixelCNN_zigzag",
        _local((3, 3, 1), heads.Bernoulli(), ordering="zigzag"),
        enumerable=True,
        blind=blind_of_locally_masked_pixel_cnn,
    ),
    ModelCase(
        "LocallyMaskedPixelCNN_several",
        _local(
            (2, 3, 1),
            heads.Categorical(3),
            ordering=["snake", "column_major", orderings.random(2, 3, seed=0)],
            kernel_size=5,
            condition=Label(2),
            embedding_dim=2,
        ),
        enumerable=True,
        xla=True,
    ),
    ModelCase(
        "LocallyMaskedPixelCNN_logistic",
        _local(
            (3, 4, 3),
            heads.DiscretizedLogisticMixture(2, bits=3),
            ordering=orderings.snake(3, 4),
            condition=Spatial(2),
        ),
        blind=blind_of_locally_masked_pixel_cnn,
    ),
    ModelCase("MADE_binary", lambda: models.MADE((6,), heads.Bernoulli(), hidden=(12,)), enumerable=True),
    ModelCase(
        "MADE_deep",
        lambda: models.MADE(
            (2, 2, 2),
            heads.Categorical(2),
            hidden=(14, 16),
            direct=True,
            condition=Label(2),
            ordering=orderings.snake(2, 2),
        ),
        enumerable=True,
        xla=True,
    ),
    ModelCase(
        "MADE_logistic",
        lambda: models.MADE(
            (2, 3, 3),
            heads.DiscretizedLogisticMixture(2, bits=3),
            hidden=(12,),
            direct=True,
            condition=Vector(2),
            ordering=orderings.column_major(2, 3),
        ),
    ),
    ModelCase(
        "MADE_ensemble",
        lambda: models.MADE(
            (5,),
            heads.Categorical(3),
            hidden=(12, 10),
            num_masks=2,
            order_agnostic=True,
            direct=True,
            condition=Label(2),
            embedding_dim=2,
        ),
        enumerable=True,
    ),
    ModelCase(
        "ToyHistogram_embedded", lambda: models.ToyHistogram((2,), heads.Categorical(5)), enumerable=True, xla=True
    ),
    ModelCase(
        "PerConditional_linear",
        lambda: models.PerConditional((5,), heads.Bernoulli(), ordering=orderings.random(5, seed=1)),
        enumerable=True,
    ),
    ModelCase(
        "PerConditional_hidden",
        lambda: models.PerConditional((4,), heads.Categorical(3), hidden=(4, 3), condition=Label(2)),
        enumerable=True,
        xla=True,
    ),
    ModelCase(
        "BayesNet_binary",
        lambda: models.BayesNet((5,), heads.Bernoulli(), {0: [2], 1: [4, 0], 3: [2, 1]}, hidden=(4,)),
        enumerable=True,
        blind=_not_parents,
        xla=True,
    ),
    ModelCase(
        "BayesNet_continuous",
        lambda: models.BayesNet((4,), heads.Mixture("Normal", 2), {0: [3], 1: [0, 3]}, condition=Vector(2)),
        blind=_not_parents,
    ),
]

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
    # They keep nothing; tests/layers/test_downsampled.py sees them in rows and pixels.
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
    # What the time step of a local condition is has no state; tests/layers/test_aligned.py sees it at work.
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
    # As CausalAttention it is given the element before in a step; tests/layers/test_pooled_attention.py.
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
    # They know their position but keep nothing; tests/layers/test_positions.py sees them in steps.
    LayerCase("LearnedPositions_table", lambda: layers.LearnedPositions(6), (5, 4), incremental=False),
    LayerCase("RotaryPositions_heads", lambda: layers.RotaryPositions(2), (5, 8), incremental=False),
    # In parallel it shifts, in a step it is the identity.
    LayerCase("ShiftRight_sequence", layers.ShiftRight, (5, 2), incremental=False),
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
    # In a step it hands out another position than in parallel; tests/layers/test_attention.py sees it at work.
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

HEADS: list[HeadCase] = [
    HeadCase("Bernoulli", heads.Bernoulli),
    HeadCase("Categorical", lambda: heads.Categorical(5)),
    HeadCase("DiscretizedLogisticMixture_grey", lambda: heads.DiscretizedLogisticMixture(2, bits=3)),
    HeadCase("DiscretizedLogisticMixture_colour", lambda: heads.DiscretizedLogisticMixture(2, bits=2), channels=3),
    HeadCase("Mixture_normal", lambda: heads.Mixture("Normal", 2)),
    HeadCase("Mixture_logistic", lambda: heads.Mixture("Logistic", 2)),
]
