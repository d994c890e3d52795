"""Weights of https://github.com/openai/pixel-cnn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tfar.convert.checkpoint_arrays import CheckpointArrays
from tfar.convert.tensorflow1 import NOT_WEIGHTS, NormalizedLayers, clean_name, read_arrays
from tfar.layers.gated_resnet import GatedResnet
from tfar.models.pixel_cnn_pp import PixelCNNPP, Resolution

_SOURCE = "openai/pixel-cnn"


def from_openai_pixel_cnn_pp(arrays: Mapping[str, Any] | str, model: PixelCNNPP, averaged: bool = False) -> PixelCNNPP:
    """Fills a PixelCNN++ with the weights of an openai/pixel-cnn checkpoint.

        model/conv2d_<k>/V, g, b                [kh, kw, in, out], [out], [out]; k counts in the order of the network
        model/deconv2d_<k>/V, g, b              [kh, kw, out, in], [out], [out]
        model/dense_<k>/V, g, b                 [in, out], [out], [out]
        model/conditional_weights_<k>/hw        [condition, 2 * filters], where the model is conditional

    Names may have ":0" behind or "w/" in front. A model for it: `PixelCNNPP(event_shape, DiscretizedLogisticMixture(K),
    filters, num_resnets)`, with `condition=Label(n)` where the checkpoint was trained with `--class_conditional`, or
    `Vector(d)`.

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
    layers = NormalizedLayers(given, "filters, num_resnets, nonlinearity, head or event_shape")
    network = model.network
    for convolution in (network.rows_above, network.row_above, network.left):
        layers.put("conv2d", convolution)
    for kind, layer in _in_order(network.body):
        if kind == "resnet":
            layers.put_resnet(layer)
        else:
            layers.put(kind, layer)
    layers.put("dense", network.outputs)
    given.assign(ignored=NOT_WEIGHTS)
    return model


def _in_order(body: Resolution) -> Iterator[tuple[str, Any]]:
    """The layers in the order in which the reference creates them."""
    yield from _blocks(body.down_u, body.down_ul)
    if body.inner is not None:
        yield from (("conv2d", layer) for layer in body.inner.down)
        yield from _in_order(body.inner.inner)
        yield from (("deconv2d", layer) for layer in body.inner.up)
    yield from _blocks(body.up_u, body.up_ul)


def _blocks(u: list[GatedResnet], ul: list[GatedResnet]) -> Iterator[tuple[str, GatedResnet]]:
    for pair in zip(u, ul, strict=True):
        yield from (("resnet", block) for block in pair)
