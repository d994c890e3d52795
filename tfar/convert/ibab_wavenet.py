"""Weights of https://github.com/ibab/tensorflow-wavenet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfar.convert.checkpoint_arrays import CheckpointArrays, check_argument
from tfar.core.conditions import Label
from tfar.models.wavenet import WaveNet

_SOURCE = "tensorflow-wavenet"
_IGNORED = ("Adam", "Momentum", "RMSProp", "ExponentialMovingAverage", "beta1_power", "beta2_power", "global_step")


def from_ibab_wavenet(arrays: Mapping[str, Any], model: WaveNet) -> WaveNet:
    """Fills a WaveNet with the weights of a tensorflow-wavenet checkpoint.

        wavenet/causal_layer/filter                            [k, Q, residual]
        wavenet/dilated_stack/layer<i>/filter, gate            [k, residual, dilation]
                                       dense, skip             [1, dilation, residual or skip]
                                       gc_filter, gc_gate      [1, gc channels, dilation]
                                       Variable, Variable_1, Variable_2, Variable_3
                                                               biases of filter, gate, dense and skip (the reference
                                                               passes their names where they are not read); the names
                                                               filter_bias, gate_bias, dense_bias and skip_bias or
                                                               slip_bias are accepted too
        wavenet/postprocessing/postprocess1, postprocess2      [1, skip, skip], [1, skip, Q]
                               Variable, Variable_1            their biases
        wavenet/embeddings/gc_embedding                        [cardinality, gc channels]

    Names may lack "wavenet/", have ":0" behind or "w/" in front. The output of the model at position t is that of the
    reference after x_1, ..., x_(t-1), for every t with something before it.

    A model for it: `WaveNet((None,), Categorical(Q), residual, dilation, skip, dilations=[...], kernel_size=k)`, and
    `condition=Label(cardinality)`, or `Vector(gc channels)` where vectors are given instead of an embedding's row.

    Args:
        arrays: by name.
        model: of the same sizes; `use_bias=False` where the checkpoint has no biases.

    Returns:
        The model.

    Raises:
        ValueError: an array is missing, has another shape, or has no place in the model; it is named.
    """
    check_argument("residual_scale", model.residual_scale, 1.0, _SOURCE)
    check_argument("skip_scale", model.skip_scale, 1.0, _SOURCE)
    check_argument("first_bias", model.first_bias, False, _SOURCE)
    check_argument("inputs", "one_hot" if model.network.one_hot_levels else "another", "one_hot", _SOURCE)
    given = CheckpointArrays(arrays, _clean, _SOURCE)
    network, take, put = model.network, given.take, given.put
    put(network.first.kernel, take("causal_layer/filter"), "causal_layer/filter", "head or residual_channels")
    skips, skip_biases, projections = [], [], []
    for index, block in enumerate(network.blocks):
        layer = f"dilated_stack/layer{index}/"
        sizes = "kernel_size, residual_channels or dilation_channels"
        kernel = np.concatenate([take(layer + "filter"), take(layer + "gate")], -1)
        put(block.convolution.kernel, kernel, layer + "filter", sizes)
        dense, skip = take(layer + "dense"), take(layer + "skip")
        skips.append(skip[0])
        if block.residual is not None:
            put(block.residual.kernel, dense[0], layer + "dense", sizes)
        if model.use_bias:
            f, g, d, s = (
                take(layer + name, *(layer + other for other in others))
                for name, *others in (
                    ("Variable", "filter_bias"),
                    ("Variable_1", "gate_bias"),
                    ("Variable_2", "dense_bias"),
                    ("Variable_3", "skip_bias", "slip_bias"),
                )
            )
            put(block.convolution.bias, np.concatenate([f, g]), layer + "Variable", sizes)
            if block.residual is not None:
                put(block.residual.bias, d, layer + "Variable_2", "residual_channels")
            skip_biases.append(s)
        if network.projection is not None:
            projections.append(np.concatenate([take(layer + "gc_filter")[0], take(layer + "gc_gate")[0]], -1))
    put(network.skip.kernel, np.concatenate(skips), "dilated_stack/layer0/skip", "skip_channels or number of layers")
    head = "postprocessing/"
    put(
        network.hidden.kernel, take(head + "postprocess1")[0], head + "postprocess1", "head_channels (as skip_channels)"
    )
    put(network.outputs.kernel, take(head + "postprocess2")[0], head + "postprocess2", "head")
    if model.use_bias:
        put(network.skip.bias, np.stack(skip_biases), "dilated_stack/layer0/Variable_3", "skip_channels")
        put(
            network.hidden.bias, take(head + "Variable", head + "postprocess1_bias"), head + "Variable", "skip_channels"
        )
        put(network.outputs.bias, take(head + "Variable_1", head + "postprocess2_bias"), head + "Variable_1", "head")
    if network.projection is not None:
        projection, embedding = np.concatenate(projections, -1), "embeddings/gc_embedding"
        given.skip(embedding)
        if embedding in given and any(isinstance(part, Label) for part in model.condition.parts):
            projection = take(embedding) @ projection
        put(network.projection.kernel, projection, "dilated_stack/layer0/gc_filter", "condition")
    given.assign(_IGNORED)
    return model


def _clean(name: str) -> str:
    return name.removesuffix(":0").removeprefix("wavenet/")
