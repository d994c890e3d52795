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

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfar.core import scope as scopes
from tfar.core.checks import check_sizes
from tfar.core.invariants import invariant
from tfar.core.sizes import batch_size
from tfar.core.slicing import take
from tfar.layers.block_sparse import BlockSparsity
from tfar.layers.groups import centre_mask, channel_groups
from tfar.layers.weight_norm import KernelLayer, strided_shape
from tfar.layers.weighted import WeightedLayer


@keras.saving.register_keras_serializable("tfar")
class VerticalConv2D(KernelLayer):
    """Convolution over the rows above, and over the own feature row unless exclusive.

    Inclusive kernels reach rows i - kh + 1, ..., i; exclusive kernels rows i - kh, ..., i - 1. Columns are centred.

    Args:
        filters: number of output features.
        kernel_size: (rows kh, columns kw), kw odd. For the n x n kernel of the paper: (n // 2 + 1, n), and
            (n // 2, n) where it is exclusive.
        exclusive: True for the first layer of the stack, on the input of the network: strictly above.
        use_bias: whether to add a bias.
        strides: of rows and columns in the parallel pass. In a scope every row is computed;
            `tfar.layers.Downsampled` takes those that the coarser grid has.
        shift_output: how an exclusive layer looks above. False shifts its input down by one row; True shifts its
            output, so that the first row is 0, without the bias, as in the reference implementation of PixelCNN++.
        hand_out: whether the pixel phase returns the output column by column. False where only links (of
            `HorizontalConv2D`, `Shortcut`) read it, which take whole rows; it is then NaN in the pixel phase.
        weight_norm: parametrize the kernel as g V / ||V||, see `KernelLayer`.
        init_scale: standard deviation of the output after data-dependent initialization.
        sparsity: which blocks of channels are connected, see `tfar.layers.block_sparse`; None for all.

    Input shape `[B, H, W, C]`, output shape `[B, H / strides, W / strides, filters]`.

    Raises:
        ValueError: a size is not positive, kw is even, or strides of an exclusive layer.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Sequence[int],
        exclusive: bool = False,
        use_bias: bool = True,
        strides: int = 1,
        shift_output: bool = False,
        hand_out: bool = True,
        weight_norm: bool = False,
        init_scale: float = 1.0,
        sparsity: BlockSparsity | Mapping[str, Any] | None = None,
        **kwargs: Any,
    ):
        super().__init__(use_bias, weight_norm, init_scale, sparsity, **kwargs)
        kernel_size = tuple(kernel_size)
        check_sizes(filters=filters)
        if len(kernel_size) != 2 or min(kernel_size) < 1 or kernel_size[1] % 2 == 0:
            raise ValueError(f"kernel_size must be (rows, columns), columns odd, got {kernel_size}")
        if strides < 1 or (exclusive and strides > 1):
            raise ValueError(f"strides must be at least 1, and 1 where exclusive, got {strides}")
        self.filters, self.kernel_size, self.exclusive = filters, kernel_size, exclusive
        self.strides, self.shift_output, self.hand_out = strides, exclusive and shift_output, hand_out

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates kernel and bias."""
        self.add_kernel((*self.kernel_size, input_shape[-1], self.filters))

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """[B, H, W, C] -> [B, H / strides, W / strides, filters]."""
        above = self.kernel_size[0] - 1
        scope = scopes.current()
        if scope is None:
            shift = int(self.exclusive and not self.shift_output)
            x = x[:, : x.shape[1] - shift] if shift else x
            y = self._convolve(tf.pad(x, [[0, 0], [above + shift, 0], [0, 0], [0, 0]]), self.strides)
            return tf.pad(y[:, :-1], [[0, 0], [1, 0], [0, 0], [0, 0]]) if self.shift_output else y
        state = scope.state_of(self)
        batch, width = batch_size(x), x.shape[2]

        def compute() -> tf.Tensor:
            window = x
            if above:
                window = tf.concat([state.read("rows", [batch, above, width, x.shape[-1]], x.dtype), x], 1)
                state.write("rows", window[:, -above:])
            y = self._convolve(window, 1)
            if self.shift_output:
                y *= tf.cast(scope.positions > 0, y.dtype)[..., None, None]
            return y

        if above and scope.phase == "pixel":
            state.read("rows")
        return scope.per_row(state, "out", compute) if self.hand_out else scope.only_rows(x, self.filters, compute)

    def _convolve(self, window: tf.Tensor, strides: int) -> tf.Tensor:
        side = self.kernel_size[1] // 2
        if side:
            window = tf.pad(window, [[0, 0], [0, 0], [side, side], [0, 0]])
        return self.convolve(window, strides)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """[B, H / strides, W / strides, filters]."""
        return strided_shape(input_shape, self.strides, self.filters)


@keras.saving.register_keras_serializable("tfar")
class HorizontalConv2D(WeightedLayer):
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

    Input shape `[B, H, W, C]`, output shape `[B, H, W, filters]`. A second input `[B, H, W, V]`, features of the
    vertical stack, is added through a 1 x 1 convolution: the link of figure 2.

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
        check_sizes(filters=filters)
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

    def build(self, x_shape: tuple[int | None, ...], vertical_shape: tuple[int | None, ...] | None = None) -> None:
        """Creates kernel, bias, and the kernel of the link where there is a vertical stack."""
        channels = x_shape[-1]
        shape = (1, self.left + int(self.has_centre), channels, self.filters)
        self._mask = np.ones(shape, np.float32)
        if self.has_centre:
            self._mask[0, self.left] = centre_mask(
                channel_groups(channels, self.groups, self.input_groups),
                channel_groups(self.filters, self.groups, self.channel_groups, self.halves),
                "A" if self.exclusive else "B",
            )
        self.kernel = self.add_weight(shape=shape, initializer="glorot_uniform", name="kernel", used=self._mask)
        self.link_kernel = None
        if vertical_shape is not None:
            shape = (1, 1, vertical_shape[-1], self.filters)
            self.link_kernel = self.add_weight(shape=shape, initializer="glorot_uniform", name="link_kernel")
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias") if self.use_bias else None

    def masked_kernel(self, dtype: tf.DType) -> tf.Tensor:
        """Returns the kernel [1, taps, C, filters] as the convolution uses it."""
        kernel = tf.cast(self.kernel, dtype)
        return kernel if self._mask.all() else kernel * tf.constant(self._mask, dtype)

    def _tap_kernels(self, dtype: tf.DType) -> tuple[tf.Tensor, tf.Tensor]:
        """Kernels of a pixel: the taps on its input side by side, the nearest first, and the last tap alone."""
        taps = tf.unstack(tf.squeeze(self.masked_kernel(dtype), 0))
        # A concatenation, unlike a transposition, is worth moving out of a loop to XLA.
        return tf.concat(taps[: self._taps][::-1], 1) if self._taps else taps[-1], taps[-1]

    def call(self, x: tf.Tensor, vertical: tf.Tensor | None = None) -> tf.Tensor:
        """[B, H, W, C] and features of the vertical stack [B, H, W, V] or None -> [B, H, W, filters]."""
        scope = scopes.current()
        if scope is None:
            y = self._convolve(x, shift=not self.has_centre)
            return self._add_bias(y if vertical is None else y + self._link(vertical))
        state = scope.state_of(self)
        if scope.phase == "row":
            return self._begin_row(scope, state, x, vertical)
        return self._add_bias(self._rows(scope, state, x) if scope.whole_rows else self._pixel(scope, state, x))

    def _link(self, vertical: tf.Tensor) -> tf.Tensor:
        return tf.nn.conv2d(vertical, tf.cast(self.link_kernel, vertical.dtype), 1, "VALID")

    def _convolve(self, x: tf.Tensor, shift: bool) -> tf.Tensor:
        """Whole rows at once; `shift` moves them by one pixel first."""
        taps = self.kernel.shape[1]
        window = tf.pad(x[:, :, : x.shape[2] - int(shift)], [[0, 0], [0, 0], [taps - 1 + int(shift), 0], [0, 0]])
        return tf.nn.conv2d(window, self.masked_kernel(x.dtype), 1, "VALID")

    @property
    def _taps(self) -> int:
        """Taps on the input of a pixel phase; the centre of an exclusive layer reads `now` instead."""
        return self.left + int(not self.exclusive)

    # In the pixel phase every input is multiplied once, by all taps: one part of the product belongs to the current
    # pixel, the others wait in "pending" for the pixels to the right, where the link to the vertical stack is added in
    # advance. The obvious form, a window of inputs and a link that is read where it is used, costs half as much again
    # under XLA: a slice that starts at the current column is fused with the gate that reads it, and the compiler for
    # CPUs does not vectorize such a gate.

    def _begin_row(
        self, scope: scopes.Incremental, state: scopes.LayerState, x: tf.Tensor, vertical: tf.Tensor | None
    ) -> tf.Tensor:
        """Row phase: computes the link of the row, resets what pixels leave to each other."""
        batch = batch_size(x)
        slots = max(self._taps - 1, int(vertical is not None))
        pending = tf.zeros([batch, slots * self.filters], x.dtype)
        if vertical is not None:
            link = self._link(vertical)
            state.write("link", link, transient=scope.length > 1)
            pending = tf.concat([link[:, -1, 0], pending[:, self.filters :]], 1)
        if slots:
            state.write("pending", pending)
        return tf.zeros([batch, scope.length, x.shape[2], self.filters], x.dtype)

    def _rows(self, scope: scopes.Incremental, state: scopes.LayerState, x: tf.Tensor) -> tf.Tensor:
        """Pixel phase of whole rows, which are their own past."""
        if self.exclusive:
            x = scope.within_row(x)
        now = tf.cast(scope.now, x.dtype) if self.exclusive and self.has_centre else x
        y = self._convolve(now, shift=False)
        pending = []
        if self._taps > 1:
            # Products that the last pixels leave for pixels behind the end of the row.
            slots = self._taps - 1
            tail = tf.pad(x[:, -1:], [[0, 0], [0, 0], [slots, slots], [0, 0]])[:, :, -2 * slots :]
            left = tf.nn.conv2d(tail, self.masked_kernel(x.dtype)[:, : self._taps], 1, "VALID")
            pending = tf.unstack(left[:, 0], axis=1)
        if self.link_kernel is not None:
            link = state.read("link")
            state.write("link", link[:, -1:], transient=True)
            y += link
            pending = [link[:, -1, -1] + (pending[0] if pending else 0), *pending[1:]]
        if pending:
            state.read("pending")
            state.write("pending", tf.concat(pending, 1))
        return y

    def _pixel(self, scope: scopes.Incremental, state: scopes.LayerState, x: tf.Tensor) -> tf.Tensor:
        """Pixel phase of one pixel."""
        filters, taps = self.filters, self._taps
        wide, last = invariant(self, ("taps", x.dtype), lambda: self._tap_kernels(x.dtype))
        parts = []
        if taps:
            if self.exclusive:
                x = scope.within_row(x)
            products = tf.matmul(tf.squeeze(x, [1, 2]), wide)
            product, later = tf.split(products, [filters, (taps - 1) * filters], 1)
            parts.append(product)
        if self.exclusive and self.has_centre:
            parts.append(tf.matmul(tf.squeeze(tf.cast(scope.now, x.dtype), [1, 2]), last))
        if taps > 1 or self.link_kernel is not None:
            pending = state.read("pending")
            waiting, rest = tf.split(pending, [filters, pending.shape[1] - filters], 1)
            parts.append(waiting)
            if taps < 2:
                later = tf.zeros_like(pending)
            if taps > 2:
                later += tf.pad(rest, [[0, 0], [0, filters]])
            if self.link_kernel is not None:
                link = state.read("link")
                ahead = take(link, 2, tf.minimum(scope.column + 1, link.shape[2] - 1))
                first, *others = tf.split(later, [filters, later.shape[1] - filters], 1) if taps > 2 else [later]
                later = tf.concat([first + tf.squeeze(ahead, [1, 2]), *others], 1)
            state.write("pending", later)
        return tf.reshape(tf.add_n(parts), [-1, 1, 1, filters])

    def _add_bias(self, y: tf.Tensor) -> tf.Tensor:
        return y if self.bias is None else y + tf.cast(self.bias, y.dtype)

    def compute_output_shape(
        self, x_shape: tuple[int | None, ...], vertical_shape: tuple[int | None, ...] | None = None
    ) -> tuple[int | None, ...]:
        """[B, H, W, filters]."""
        return (*x_shape[:-1], self.filters)
