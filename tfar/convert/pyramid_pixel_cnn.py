"""Weights of https://github.com/kolesman/FaceGeneration, the authors' Pyramid PixelCNN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfar.convert.checkpoint_arrays import CheckpointArrays, check_argument
from tfar.convert.tensorflow1 import NOT_WEIGHTS, read_arrays
from tfar.layers.gated_resnet import GatedResnet
from tfar.layers.weight_norm import KernelLayer
from tfar.models.pyramid_pixel_cnn import PyramidNetwork, PyramidPixelCNN, UNet

_SOURCE = "kolesman/FaceGeneration"
_ARGUMENTS = "filters, num_doublings, num_resnets, unet_stages, unet_resnets or head"


def from_pyramid_pixel_cnn(arrays: Mapping[str, Any] | str, model: PyramidPixelCNN) -> PyramidPixelCNN:
    """Fills a Pyramid PixelCNN with the weights of a checkpoint of kolesman/FaceGeneration.

        scale<i>/<layer>/V, g, b                0 is the image itself, the largest i the coarsest one
        layers of the U-Net                     conv_first, down_block<s>_<r>/conv1 and conv2, downsample<s>,
                                                up_block<s>_<r>/conv1, conv_aux and conv2, upsample<s>,
                                                conv_representation
        layers of the image's network           conv_down, conv_down_2, conv_down_right, conv_last,
                                                draw_down<i> and draw_down_right<i>/conv1, conv_aux and conv2

    V of an upsampling layer is [kh, kw, out, in]; its norm and its g belong to the input channels. Names may have ":0"
    behind or "w/" in front. A model for it: `PyramidPixelCNN(event_shape, DiscretizedLogisticMixture(10),
    num_doublings=scales - 1, filters=100, num_resnets=3, unet_stages=2, unet_resnets=2)`. Averages of the reference are
    of float32, and may differ from those of the model where a mean lies between two levels; `auxiliary=` takes them.

    Args:
        arrays: by name; or the path of a TensorFlow 1 checkpoint.
        model: of the same sizes, without a condition.

    Returns:
        The model.

    Raises:
        ValueError: an array is missing, has another shape, or has no place in the model; it is named.
    """
    check_argument("condition", model.condition, None, _SOURCE)
    given = CheckpointArrays(read_arrays(arrays, averaged=False), lambda name: name.removesuffix(":0"), _SOURCE)
    for scale, part in enumerate(reversed(model.parts)):
        if part.link is not None:
            _put_unet(given, part.link, f"scale{scale}", model.unet_resnets)
        network: Any = part.model.network
        _put_network(given, network, f"scale{scale}")
    given.assign(ignored=NOT_WEIGHTS)
    return model


def _put(given: CheckpointArrays, layer: KernelLayer, name: str) -> None:
    for variable, part in ((layer.v, "V"), (layer.g, "g"), (layer.b, "b")):
        array = given.take(f"{name}/{part}")
        if part == "V" and array.shape[:2] == (1, 1) and len(variable.shape) == 2:
            array = array[0, 0]
        given.put(variable, array, f"{name}/{part}", _ARGUMENTS)


def _put_resnet(given: CheckpointArrays, block: GatedResnet, name: str) -> None:
    _put(given, block.first, f"{name}/conv1")
    if block.shortcut.built:
        _put(given, block.shortcut, f"{name}/conv_aux")
    _put(given, block.second, f"{name}/conv2")


def _put_unet(given: CheckpointArrays, unet: UNet, scale: str, num_resnets: int) -> None:
    _put(given, unet.first, f"{scale}/conv_first")
    for way, blocks in (("down", unet.down), ("up", unet.up)):
        for index, block in enumerate(blocks):
            _put_resnet(given, block, f"{scale}/{way}_block{index // num_resnets}_{index % num_resnets}")
    for way, layers in (("down", unet.coarser), ("up", unet.finer)):
        for index, layer in enumerate(layers):
            _put(given, layer, f"{scale}/{way}sample{index}")
    _put(given, unet.last, f"{scale}/conv_representation")


def _put_network(given: CheckpointArrays, network: PyramidNetwork, scale: str) -> None:
    _put(given, network.rows_above, f"{scale}/conv_down")
    _put(given, network.row_above, f"{scale}/conv_down_2")
    _put(given, network.left, f"{scale}/conv_down_right")
    for index, (u, ul) in enumerate(zip(network.u, network.ul, strict=True)):
        _put_resnet(given, u, f"{scale}/draw_down{index}")
        _put_resnet(given, ul, f"{scale}/draw_down_right{index}")
    _put(given, network.outputs, f"{scale}/conv_last")
