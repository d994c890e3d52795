"""Weights of https://github.com/neocxi/pixelsnail-public."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfar.convert.checkpoint_arrays import CheckpointArrays
from tfar.convert.tensorflow1 import NOT_WEIGHTS, NormalizedLayers, clean_name, read_arrays
from tfar.models.pixel_snail import PixelSNAIL

_SOURCE = "pixelsnail-public"


def from_pixel_snail(arrays: Mapping[str, Any] | str, model: PixelSNAIL, averaged: bool = False) -> PixelSNAIL:
    """Fills a PixelSNAIL with the weights of a pixelsnail-public checkpoint.

        model/conv2d_<k>/V, g, b                [kh, kw, in, out], [out], [out]; k counts in the order of the network
        model/dense_<k>/V, g, b                 [in, out], [out], [out]
        model/conditional_weights_<k>/hw        [condition, 2 * filters], where the model is conditional

    Names may have ":0" behind or "w/" in front. A model for it: `PixelSNAIL(event_shape, DiscretizedLogisticMixture(K),
    filters, num_blocks=attn_rep, num_resnets=nr_resnet, key_dim=q_size, attention_downsample=att_downsample)`.

    Args:
        arrays: by name; or the path of a TensorFlow 1 checkpoint.
        model: of the same sizes.
        averaged: take the averaged weights of a checkpoint (names that end in /ExponentialMovingAverage) instead of
            the raw ones.

    Returns:
        The model.

    Raises:
        ValueError: an array is missing, has another shape, or has no place in the model; it is named.
    """
    given = CheckpointArrays(read_arrays(arrays, averaged), clean_name, _SOURCE)
    layers = NormalizedLayers(given, "filters, num_blocks, num_resnets, key_dim, value_dim, nonlinearity or head")
    network = model.network
    layers.put("conv2d", network.row_above)
    layers.put("conv2d", network.left)
    for block in network.blocks:
        for resnet in block.resnets:
            layers.put_resnet(resnet)
        for resnet, projection in ((block.content, block.key_value), (block.question, block.query)):
            layers.put_resnet(resnet)
            layers.put("dense", projection)
        layers.put_resnet(block.join)
    layers.put("dense", network.outputs)
    given.assign(ignored=NOT_WEIGHTS)
    return model
