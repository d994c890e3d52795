"""The 1 x 1 convolution, with weight normalization where it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from tfar.layers.block_sparse import BlockSparsity
from tfar.layers.weight_norm import KernelLayer


@keras.saving.register_keras_serializable("tfar")
class Pointwise(KernelLayer):
    """y = x W + b at every position: a "network in network".

    Args:
        filters: number of output features.
        use_bias: whether to add a bias.
        weight_norm: parametrize the kernel as g V / ||V||, see `KernelLayer`.
        init_scale: standard deviation of the output after data-dependent initialization.
        sparsity: which blocks of channels are connected, see `tfar.layers.block_sparse`; None for all.

    Input shape `[B, ..., C]`, output shape `[B, ..., filters]`.

    Raises:
        ValueError: the size is not positive.
    """

    def __init__(
        self,
        filters: int,
        use_bias: bool = True,
        weight_norm: bool = False,
        init_scale: float = 1.0,
        sparsity: BlockSparsity | Mapping[str, Any] | None = None,
        **kwargs: Any,
    ):
        super().__init__(use_bias, weight_norm, init_scale, sparsity, **kwargs)
        if filters < 1:
            raise ValueError(f"filters must be at least 1, got {filters}")
        self.filters = filters

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the kernel [C, filters] and the bias."""
        self.add_kernel((input_shape[-1], self.filters))

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """[B, ..., C] -> [B, ..., filters]."""
        return self.convolve(x)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """[B, ..., filters]."""
        return (*input_shape[:-1], self.filters)
