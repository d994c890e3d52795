"""Weights of https://github.com/r9y9/wavenet_vocoder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfar.convert.checkpoint_arrays import CheckpointArrays, check_argument
from tfar.core.conditions import Label, Local
from tfar.models.wavenet import WaveNet

_SOURCE = "wavenet_vocoder"


def from_r9y9_wavenet(arrays: Mapping[str, Any], model: WaveNet, *, legacy_skips: bool = False) -> WaveNet:
    """Fills a WaveNet with the `state_dict` of wavenet_vocoder.

        first_conv                               [residual, Q or 1, 1]
        conv_layers.<i>.conv                     [2 dilation, residual, k]
                        conv1x1c, conv1x1g       [2 dilation, condition's channels, 1], local and global
                        conv1x1_out, conv1x1_skip   [residual or skip, dilation, 1]
        last_conv_layers.1, .3                   [skip, skip, 1], [outputs, skip, 1]
        embed_speakers.weight                    [speakers, global channels]
        upsample_net.conv_in                     [C, C, kernel]
        upsample_net[.upsample].up_layers.<i>    [1, 1, channel kernel, 2 scale + 1], i = 1, 3, ...
        upsample_conv.<i>                        [1, 1, channel kernel, scale], i = 0, 2, ... (older versions)

    Every layer has `.bias` and either `.weight` or, weight-normalised, `.weight_g` and `.weight_v` (in newer versions
    `.parametrizations.weight.original0` and `1`): weight = g v / |v|, the norm over all axes but the first.

    The reference takes a sample and its features in and predicts the next sample: the output of the model at position
    t is the reference's at t - 1, given the reference's own local features, which `Local(..., delay=1)` makes late.

    A model for it: `WaveNet((None,), head, residual, dilation, skip, num_stacks=..., layers_per_stack=...,
    kernel_size=3, first_kernel_size=1, first_bias=True, residual_scale=math.sqrt(1 / 2),
    skip_scale=math.sqrt(1 / layers))`; dilation is half of the reference's gate_channels. Its condition:

        Label(speakers)                               the speaker, with embed_speakers; Vector(channels) without
        Local(channels, hop, delay=1)                 with upsampling={"method": "stretch", "scales": [...],
                                                      "channel_kernel": freq_axis_kernel_size, "first_kernel":
                                                      2 cin_pad + 1, or 0 without conv_in}; "transposed2d" for
                                                      upsample_conv; "repeat" for weights without up-sampling network
        Joint([Label(speakers), Local(...)])          both

    Args:
        arrays: by name, as NumPy arrays.
        model: of the same sizes.
        legacy_skips: the checkpoint is of a version that multiplied the sum of the skip outputs by sqrt(0.5) after
            every layer; the factors go into the weights.

    Returns:
        The model.

    Raises:
        ValueError: an array is missing, has another shape, or has no place in the model; it is named.
    """
    network = model.network
    _check_arguments(model, legacy_skips)
    given = CheckpointArrays(arrays, lambda name: name.removeprefix("module."), _SOURCE)
    _put_layer(given, network.first, "first_conv", "head, inputs or residual_channels", "residual_channels")
    skips, skip_biases, projections = [], [], []
    factors = _skip_factors(len(network.blocks), model.skip_scale if legacy_skips else None)
    for index, (block, factor) in enumerate(zip(network.blocks, factors, strict=True)):
        layer = f"conv_layers.{index}."
        _put_block(given, block, layer)
        if network.projection is not None:
            projections.append(_convolution(given, layer + "conv1x1g")[0])
        skips.append(_convolution(given, layer + "conv1x1_skip")[0] * factor)
        skip_biases.append(given.take(layer + "conv1x1_skip.bias") * factor)
    given.put(network.skip.kernel, np.concatenate(skips), "conv_layers.0.conv1x1_skip.weight", "skip_channels")
    given.put(network.skip.bias, np.stack(skip_biases), "conv_layers.0.conv1x1_skip.bias", "skip_channels")
    sizes = "head_channels (as skip_channels) or head"
    _put_layer(given, network.hidden, "last_conv_layers.1", sizes, sizes)
    _put_layer(given, network.outputs, "last_conv_layers.3", sizes, sizes)
    if network.projection is not None:
        projection = np.concatenate(projections, -1)
        given.skip("embed_speakers.weight")
        if "embed_speakers.weight" in given and any(isinstance(part, Label) for part in model.condition.parts):
            projection = given.take("embed_speakers.weight") @ projection
        given.put(network.projection.kernel, projection, "conv_layers.0.conv1x1g.weight", "condition")
    if network.upsampling is not None:
        _upsampling(given, network.upsampling)
    given.assign()
    return model


def _check_arguments(model: WaveNet, legacy_skips: bool) -> None:
    network = model.network
    check_argument("residual_scale", model.residual_scale, math.sqrt(0.5), _SOURCE)
    check_argument("first_kernel_size", model.first_kernel_size or model.kernel_size, 1, _SOURCE)
    if not legacy_skips:
        check_argument("skip_scale", model.skip_scale, math.sqrt(1 / len(network.blocks)), _SOURCE)
    if network.upsampling is not None:
        local = next(part for part in model.condition.parts if isinstance(part, Local))
        check_argument("delay of the Local condition", local.delay, 1, _SOURCE)
    check_argument("use_bias", model.use_bias, True, _SOURCE)
    check_argument("first_bias", model.first_bias, True, _SOURCE)


def _skip_factors(layers: int, legacy_scale: float | None) -> list[float]:
    """Returns the factor of every skip output, 1 where the checkpoint is not of a legacy version."""
    if legacy_scale is None:
        return [1.0] * layers
    # ((h_1 + h_2) s + h_3) s ...: the first two are multiplied as often.
    return [math.sqrt(0.5) ** (layers - max(index, 1)) / legacy_scale for index in range(layers)]


def _put_block(given: CheckpointArrays, block: Any, layer: str) -> None:
    """Fills a block but for its skip output, which is one matrix for all blocks."""
    sizes = "kernel_size, residual_channels or dilation_channels"
    given.put(block.convolution.kernel, _convolution(given, layer + "conv"), layer + "conv.weight", sizes)
    bias = given.take(layer + "conv.bias") + _optional(given, layer + "conv1x1g.bias")
    if block.local is not None:
        name = layer + "conv1x1c"
        given.put(block.local.kernel, _convolution(given, name)[0], name + ".weight", "condition")
        bias = bias + _optional(given, name + ".bias")
    given.put(block.convolution.bias, bias, layer + "conv.bias", "dilation_channels")
    if block.residual is None:  # of the last block the reference computes one that nothing reads
        given.skip(*given.names(layer + "conv1x1_out."))
    else:
        _put_layer(given, block.residual, layer + "conv1x1_out", sizes, "residual_channels")


def _put_layer(given: CheckpointArrays, layer: Any, name: str, sizes: str, bias_sizes: str) -> None:
    """Fills the kernel, of a convolution or of a dense layer, and the bias."""
    kernel = _convolution(given, name)
    given.put(layer.kernel, kernel if len(layer.kernel.shape) == 3 else kernel[0], name + ".weight", sizes)
    given.put(layer.bias, given.take(name + ".bias"), name + ".bias", bias_sizes)


def _weight(given: CheckpointArrays, layer: str) -> np.ndarray:
    """Returns the weight of a layer, weight norm applied."""
    if f"{layer}.weight" in given:
        return given.take(f"{layer}.weight")
    normed = f"{layer}.parametrizations.weight.original"
    if f"{normed}0" not in given and f"{layer}.weight_v" not in given:
        given.take(f"{layer}.weight", f"{layer}.weight_v")  # raises, with both names
    g, v = given.take(f"{layer}.weight_g", f"{normed}0"), given.take(f"{layer}.weight_v", f"{normed}1")
    norm = np.sqrt((v.astype(np.float64) ** 2).sum(tuple(range(1, v.ndim)), keepdims=True))
    return (g.reshape([-1] + [1] * (v.ndim - 1)) * v / norm).astype(np.float32)


def _convolution(given: CheckpointArrays, layer: str) -> np.ndarray:
    """Weight [out, in, k] as kernel [k, in, out]."""
    return _weight(given, layer).transpose(2, 1, 0)


def _optional(given: CheckpointArrays, name: str) -> Any:
    return given.take(name) if name in given else 0.0


def _upsampling(given: CheckpointArrays, upsampling: Any) -> None:
    argument = "upsampling"
    if upsampling.first_kernel:
        name = "upsample_net.conv_in"
        given.put(upsampling.first, _convolution(given, name), name + ".weight", argument)
    if upsampling.method == "repeat" or upsampling.method == "transposed":
        return
    if upsampling.method == "transposed2d":
        for index, (kernel, bias) in enumerate(zip(upsampling.kernels, upsampling.biases, strict=True)):
            name = f"upsample_conv.{2 * index}"
            given.put(kernel, _weight(given, name).transpose(3, 2, 1, 0), name + ".weight", argument)
            given.put(bias, given.take(name + ".bias"), name + ".bias", argument)
        return
    prefix = "upsample_net.upsample.up_layers" if given.names("upsample_net.upsample.") else "upsample_net.up_layers"
    for index, kernel in enumerate(upsampling.kernels):
        name = f"{prefix}.{2 * index + 1}"
        given.put(kernel, _weight(given, name).transpose(3, 2, 1, 0), name + ".weight", argument)
