"""Unmasked convolutions with weight normalization, for networks of what is known before: they see the whole map."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfar.core.checks import check_sizes
from tfar.core.sizes import batch_size
from tfar.layers.weight_norm import KernelLayer, strided_shape


@keras.saving.register_keras_serializable("tfar")
class UnmaskedConv2D(KernelLayer):
    """A convolution in every direction, "same" padding.

    Args:
        filters: number of output features.
        kernel_size: rows and columns.
        strides: of rows and columns.
        use_bias: whether to add a bias.
        weight_norm: parametrize the kernel as g V / ||V||, see `KernelLayer`.
        init_scale: standard deviation of the output after data-dependent initialization.

    Input shape `[B, H, W, C]`, output shape `[B, H / strides, W / strides, filters]`, rounded up.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int = 3,
        strides: int = 1,
        use_bias: bool = True,
        weight_norm: bool = True,
        init_scale: float = 1.0,
        **kwargs: Any,
    ):
        super().__init__(use_bias, weight_norm, init_scale, **kwargs)
        check_sizes(filters=filters, kernel_size=kernel_size, strides=strides)
        self.filters, self.kernel_size, self.strides = filters, kernel_size, strides

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the kernel [k, k, C, filters] and the bias."""
        self.add_kernel((self.kernel_size, self.kernel_size, input_shape[-1], self.filters))

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """[B, H, W, C] -> [B, H / strides, W / strides, filters]."""
        return self.transform(lambda kernel: tf.nn.conv2d(x, kernel, self.strides, "SAME"), x.dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """[B, H / strides, W / strides, filters], rounded up."""
        return strided_shape(input_shape, self.strides, self.filters)


@keras.saving.register_keras_serializable("tfar")
class UnmaskedTransposedConv2D(KernelLayer):
    """A transposed convolution of strides 2, "same" padding, normalized for each input channel.

        y = sum over inputs c of g_c * x_c * V_c / ||V_c|| + b

    Unlike in PixelCNN++ (`CausalTransposedConv2D`) norm and g belong to the input channels; b belongs to the outputs.
    Data-dependent initialization therefore sets one g for all: the outputs have mean 0, and standard deviation
    `init_scale` on average.

    Args:
        filters: number of output features.
        kernel_size: rows and columns.
        init_scale: see above.

    Input shape `[B, H, W, C]`, output shape `[B, 2 H, 2 W, filters]`.

    References:
        https://github.com/kolesman/FaceGeneration
    """

    def __init__(self, filters: int, kernel_size: int = 3, init_scale: float = 1.0, **kwargs: Any):
        super().__init__(True, True, init_scale, **kwargs)
        check_sizes(filters=filters, kernel_size=kernel_size)
        self.filters, self.kernel_size = filters, kernel_size

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates V [k, k, filters, C], g [C] and b [filters]."""
        self.add_kernel((self.kernel_size, self.kernel_size, self.filters, input_shape[-1]), bias_axis=2)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """[B, H, W, C] -> [B, 2 H, 2 W, filters]."""
        shape = [batch_size(x), 2 * x.shape[1], 2 * x.shape[2], self.filters]
        y = self.transform(lambda kernel: tf.nn.conv2d_transpose(x, kernel, shape, 2, "SAME"), x.dtype)
        return tf.ensure_shape(y, [None, *shape[1:]])

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """[B, 2 H, 2 W, filters]."""
        height, width = (None if size is None else 2 * size for size in input_shape[1:3])
        return (input_shape[0], height, width, self.filters)
