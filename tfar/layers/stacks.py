"""The two stacks of Gated PixelCNN: a vertical stack without blind spot and a horizontal stack along the row.

    vertical, 3x3          vertical, exclusive      horizontal, n = 3     horizontal, exclusive
    (2 rows of 3)          (1 row of 3)
      x x x                  x x x                    . . .                 . . .
      x o x                  . o .                    x o .                 x o .     o = current pixel
      . . .                  . . .                    . . .                 . . .     horizontal inclusive sees o,
                                                                                      exclusive does not

A vertical feature at row i knows rows < i of the image only (its first layer is exclusive), so it is computed for a
whole row at once, when the row begins. References: van den Oord et al., Conditional Image Generation with PixelCNN
Decoders, 2016, figure 2 and section 2.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfar.core import scope as scopes
from tfar.layers.groups import centre_mask, channel_groups


@keras.saving.register_keras_serializable("tfar")
class VerticalConv2D(keras.layers.Layer):
    """Convolution over the rows above, and over the own feature row unless exclusive.

    Inclusive kernels reach rows i - kh + 1, ..., i; exclusive kernels rows i - kh, ..., i - 1. Columns are centred.

    Args:
        filters: number of output features.
        kernel_size: (rows kh, columns kw), kw odd. For the n x n kernel of the paper: (n // 2 + 1, n), and
            (n // 2, n) where it is exclusive.
        exclusive: True for the first layer of the stack, on the input of the network: strictly above.
        use_bias: whether to add a bias.

    Input shape `[B, H, W, C]`, output shape `[B, H, W, filters]`.

    Raises:
        ValueError: a size is not positive, or kw is even.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Sequence[int],
        exclusive: bool = False,
        use_bias: bool = True,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        kernel_size = tuple(kernel_size)
        if filters < 1:
            raise ValueError(f"filters must be at least 1, got {filters}")
        if len(kernel_size) != 2 or min(kernel_size) < 1 or kernel_size[1] % 2 == 0:
            raise ValueError(f"kernel_size must be (rows, columns), columns odd, got {kernel_size}")
        self.filters, self.kernel_size, self.exclusive, self.use_bias = filters, kernel_size, exclusive, use_bias

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates kernel and bias."""
        shape = (*self.kernel_size, input_shape[-1], self.filters)
        self.kernel = self.add_weight(shape=shape, initializer="glorot_uniform", name="kernel")
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias") if self.use_bias else None

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """[B, H, W, C] -> [B, H, W, filters]."""
        above = self.kernel_size[0] - 1
        scope = scopes.current()
        if scope is None:
            shift = int(self.exclusive)
            x = x[:, : x.shape[1] - shift] if shift else x
            return self._convolve(tf.pad(x, [[0, 0], [above + shift, 0], [0, 0], [0, 0]]))
        cell = scope.cell(self)
        batch, width = tf.shape(x)[0], x.shape[2]

        def compute() -> tf.Tensor:
            if not above:
                return self._convolve(x)
            window = tf.concat([cell.read("rows", [batch, above, width, x.shape[-1]], x.dtype), x], 1)
            cell.write("rows", window[:, -above:])
            return self._convolve(window)

        if above and scope.phase == "pixel":
            cell.read("rows")
        return scope.per_row(cell, "out", compute)

    def _convolve(self, window: tf.Tensor) -> tf.Tensor:
        side = self.kernel_size[1] // 2
        if side:
            window = tf.pad(window, [[0, 0], [0, 0], [side, side], [0, 0]])
        y = tf.nn.conv2d(window, tf.cast(self.kernel, window.dtype), 1, "VALID")
        return y if self.bias is None else y + tf.cast(self.bias, y.dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """[B, H, W, filters]."""
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "exclusive": self.exclusive,
            "use_bias": self.use_bias,
        }


@keras.saving.register_keras_serializable("tfar")
class HorizontalConv2D(keras.layers.Layer):
    """Convolution along the row, over the pixels to the left and, unless exclusive, the current one.

    With colour groups the tap on the current pixel is masked (A where exclusive, B otherwise); the mask is multiplied
    into the kernel in every forward pass.

    Args:
        filters: number of output features.
        kernel_size: n of the paper's 1 x n kernel, odd; n // 2 taps lie to the left.
        exclusive: True for the first layer of the stack (mask A).
        groups: number of colours that the network orders; 1 where pixels are drawn whole.
        channel_groups: layout of the colour groups of the output, "interleaved" or "contiguous".
        input_groups: layout of the input; default as `channel_groups`.
        halves: equal parts of the output with the same groups each, 2 in front of a gate.
        use_bias: whether to add a bias.

    Input shape `[B, H, W, C]`, output shape `[B, H, W, filters]`.

    Raises:
        ValueError: a size is not positive or even, or an exclusive kernel of one tap would see nothing.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        exclusive: bool = False,
        groups: int = 1,
        channel_groups: str = "interleaved",
        input_groups: str | None = None,
        halves: int = 1,
        use_bias: bool = True,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if filters < 1:
            raise ValueError(f"filters must be at least 1, got {filters}")
        if kernel_size < 1 or kernel_size % 2 == 0 or (exclusive and kernel_size == 1 and groups == 1):
            raise ValueError(f"kernel_size must be odd, and at least 3 where exclusive, got {kernel_size}")
        self.filters, self.kernel_size, self.exclusive, self.groups = filters, kernel_size, exclusive, groups
        self.channel_groups, self.input_groups = channel_groups, input_groups or channel_groups
        self.halves, self.use_bias = halves, use_bias

    @property
    def left(self) -> int:
        """Number of taps to the left of the current pixel."""
        return self.kernel_size // 2

    @property
    def has_centre(self) -> bool:
        """Whether a tap lies on the current pixel."""
        return not self.exclusive or self.groups > 1

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates kernel and bias."""
        channels = input_shape[-1]
        shape = (1, self.left + int(self.has_centre), channels, self.filters)
        self.kernel = self.add_weight(shape=shape, initializer="glorot_uniform", name="kernel")
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias") if self.use_bias else None
        self._centre_mask = centre_mask(
            channel_groups(channels, self.groups, self.input_groups),
            channel_groups(self.filters, self.groups, self.channel_groups, self.halves),
            "A" if self.exclusive else "B",
        )

    def masked_kernel(self, dtype: tf.DType) -> tf.Tensor:
        """The kernel [1, taps, C, filters] as the convolution uses it."""
        kernel = tf.cast(self.kernel, dtype)
        if self.groups == 1:
            return kernel
        centre = kernel[:, self.left :] * tf.constant(self._centre_mask, dtype)
        return tf.concat([kernel[:, : self.left], centre], 1)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """[B, H, W, C] -> [B, H, W, filters]."""
        scope = scopes.current()
        taps = self.left + int(self.has_centre)
        if scope is not None and scope.phase == "pixel" and self.exclusive:
            x = scope.within_row(x)
        if scope is None or scope.whole_rows:
            # A whole row is its own past: in parallel and in a block of rows the row is convolved at once.
            inputs = x if scope is None or not (self.exclusive and self.has_centre) else tf.cast(scope.now, x.dtype)
            shift = int(not self.has_centre and scope is None)
            window = tf.pad(inputs[:, :, : inputs.shape[2] - shift], [[0, 0], [0, 0], [taps - 1 + shift, 0], [0, 0]])
            if scope is not None:
                self._remember(scope.cell(self), tf.pad(x[:, -1:], [[0, 0], [0, 0], [self._kept, 0], [0, 0]]))
            return self._add_bias(tf.nn.conv2d(window, self.masked_kernel(x.dtype), 1, "VALID"))
        cell = scope.cell(self)
        batch, channels = tf.shape(x)[0], x.shape[-1]
        if scope.phase == "row":
            if self._kept:
                cell.write("left", tf.zeros([batch, 1, self._kept, channels], x.dtype))  # a new row begins
            return tf.zeros([batch, scope.length, x.shape[2], self.filters], x.dtype)
        window = tf.concat([cell.read("left"), x], 2) if self._kept else x
        self._remember(cell, window)
        if self.exclusive and self.has_centre:
            window = tf.concat([window, tf.cast(scope.now, x.dtype)], 2)
        window = tf.reshape(window, [batch, taps * channels])
        kernel = tf.reshape(self.masked_kernel(x.dtype), [taps * channels, self.filters])
        return self._add_bias(tf.matmul(window, kernel))[:, None, None]

    @property
    def _kept(self) -> int:
        """Columns of the input that are kept between pixels; the input of an exclusive layer is the previous pixel."""
        return max(self.left - 1, 0) if self.exclusive else self.left

    def _remember(self, cell: scopes.Cell, window: tf.Tensor) -> None:
        if self._kept:
            cell.write("left", window[:, :, -self._kept :])

    def _add_bias(self, y: tf.Tensor) -> tf.Tensor:
        return y if self.bias is None else y + tf.cast(self.bias, y.dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """[B, H, W, filters]."""
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "exclusive": self.exclusive,
            "groups": self.groups,
            "channel_groups": self.channel_groups,
            "input_groups": self.input_groups,
            "halves": self.halves,
            "use_bias": self.use_bias,
        }
