"""Checkpoints of TensorFlow 1 programs that number their layers in the order of creation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tfar.convert.checkpoint_arrays import CheckpointArrays
from tfar.layers.gated_resnet import GatedResnet
from tfar.layers.pointwise import Pointwise
from tfar.layers.weight_norm import KernelLayer

_AVERAGE = "/ExponentialMovingAverage"
# Parts of the names of what a checkpoint holds besides: moments of optimizers, counters.
NOT_WEIGHTS = ("Adam", "adam", "beta1_power", "beta2_power", "global_step")


def clean_name(name: str) -> str:
    """`conv2d_0/V` for `model/conv2d_0/V:0`."""
    return name.removesuffix(":0").removeprefix("model/")


def read_arrays(arrays: Mapping[str, Any] | str, averaged: bool) -> dict[str, Any]:
    """Arrays by name, either the raw or the averaged ones.

    Args:
        arrays: by name, or the path of a checkpoint.
        averaged: take what stands under `<name>/ExponentialMovingAverage`.

    Raises:
        ValueError: averaged weights are asked for and there are none.
    """
    if isinstance(arrays, Mapping):
        found = dict(arrays)
    else:
        reader = tf.train.load_checkpoint(str(arrays))
        found = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    plain = {name.removesuffix(":0"): value for name, value in found.items()}
    averages = {name.removesuffix(_AVERAGE): value for name, value in plain.items() if name.endswith(_AVERAGE)}
    if averaged and not averages:
        raise ValueError(f"averaged must be False for a checkpoint without names that end in {_AVERAGE!r}, got True")
    raw = {name: value for name, value in plain.items() if not name.endswith(_AVERAGE)}
    return {**raw, **averages} if averaged else raw


class NormalizedLayers:
    """Takes the weights of layers with weight normalization, which are numbered by kind: conv2d_0, dense_0, conv2d_1.

    Args:
        given: the arrays.
        arguments: of the model, that decide on the shapes, for errors.
    """

    def __init__(self, given: CheckpointArrays, arguments: str):
        self._given, self._arguments = given, arguments
        self._counts: Counter[str] = Counter()

    def _next(self, kind: str) -> str:
        self._counts[kind] += 1
        return f"{kind}_{self._counts[kind] - 1}"

    def put(self, kind: str, layer: KernelLayer) -> None:
        """The next layer of a kind."""
        name = self._next(kind)
        for variable, part in ((layer.v, "V"), (layer.g, "g"), (layer.b, "b")):
            self._given.put(variable, self._given.take(f"{name}/{part}"), f"{name}/{part}", self._arguments)

    def put_resnet(self, block: GatedResnet) -> None:
        """A gated residual block: convolution, shortcut, convolution, condition."""
        kind = "dense" if isinstance(block.first, Pointwise) else "conv2d"
        self.put(kind, block.first)
        if block.shortcut.built:
            self.put("dense", block.shortcut)
        self.put(kind, block.second)
        if getattr(block.bias, "kernel", None) is not None:
            name = f"{self._next('conditional_weights')}/hw"
            value = self._given.take(name)
            shape = (1, 1, *value.shape) if len(block.bias.kernel.shape) == 4 else value.shape
            self._given.put(block.bias.kernel, value.reshape(shape), name, "condition")
