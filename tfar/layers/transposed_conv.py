"""Transposed convolutions that double the resolution and keep what is drawn first above and to the left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfar.core import scope as scopes
from tfar.core.invariants import invariant
from tfar.core.sizes import batch_size
from tfar.layers.weight_norm import KernelLayer

KERNEL_SIZES = ((2, 2), (2, 3))


@keras.saving.register_keras_serializable("tfar")
class CausalTransposedConv2D(KernelLayer):
    """Every input (i, j) gives the outputs (2i, 2j) to (2i + 1, 2j + 1), with three columns also (., 2j - 1).

    Kernel (2, 2) belongs to a stack that sees pixels to the left, (2, 3) to the vertical stack, which may spread to
    both sides. Called for the whole input in parallel, and for a row or a pixel of it in a scope: the layer keeps
    nothing, `Downsampled` keeps what it returns until its rows and pixels are due.

    Args:
        filters: number of output features.
        kernel_size: (2, 2) or (2, 3).
        use_bias: whether to add a bias.
        weight_norm: parametrize the kernel as g V / ||V||, see `KernelLayer`.
        init_scale: standard deviation of the output after data-dependent initialization.

    Input shape `[B, H, W, C]`, output shape `[B, 2 H, 2 W, filters]`.

    Raises:
        ValueError: a size is not one of these.

    References:
        Salimans et al., PixelCNN++, 2017, section 2.3.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Sequence[int] = (2, 2),
        use_bias: bool = True,
        weight_norm: bool = False,
        init_scale: float = 1.0,
        **kwargs: Any,
    ):
        super().__init__(use_bias, weight_norm, init_scale, **kwargs)
        if filters < 1:
            raise ValueError(f"filters must be at least 1, got {filters}")
        if tuple(kernel_size) not in KERNEL_SIZES:
            raise ValueError(f"kernel_size must be one of {KERNEL_SIZES}, got {tuple(kernel_size)}")
        self.filters, self.kernel_size = filters, tuple(kernel_size)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the kernel [2, kw, filters, C] and the bias."""
        self.add_kernel((*self.kernel_size, self.filters, input_shape[-1]), output_axis=2)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """[B, H, W, C] -> [B, 2 H, 2 W, filters]."""
        kh, kw = self.kernel_size
        height, width = x.shape[1], x.shape[2]
        scope = scopes.current()
        if scope is not None and (height, width, kw) == (1, 1, 2):
            return self._pixel(x)
        # One row and one or two columns more than are kept: the reference implementation normalizes with them.
        shape = [batch_size(x), 2 * height + kh - 1, 2 * width + kw - 1, self.filters]
        y = self.transform(lambda kernel: tf.nn.conv2d_transpose(x, kernel, shape, 2, "VALID"), x.dtype)
        first = (kw - 1) // 2
        y = y[:, : 2 * height, first : first + 2 * width]
        return tf.ensure_shape(y, [None, 2 * height, 2 * width, self.filters])

    def _pixel(self, x: tf.Tensor) -> tf.Tensor:
        """[B, 1, 1, C] -> [B, 2, 2, filters], as one product of matrices."""

        def compute() -> tf.Tensor:
            kernel = tf.transpose(self.used_kernel(x.dtype), [3, 0, 1, 2])
            return tf.reshape(kernel, [kernel.shape[0], -1])

        y = tf.matmul(x[:, 0, 0], invariant(self, ("wide", x.dtype), compute))
        return self.add_bias(tf.reshape(y, [-1, 2, 2, self.filters]))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """[B, 2 H, 2 W, filters]."""
        height, width = (None if size is None else 2 * size for size in input_shape[1:3])
        return (input_shape[0], height, width, self.filters)
