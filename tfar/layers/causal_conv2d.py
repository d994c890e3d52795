"""Convolution over the rows above and the pixels to the left: the "down-right shifted" convolution of PixelCNN++.

    kernel 2 x 2       kernel 2 x 2, exclusive
      x x .              x x . .
      x o .              x x o .              o = current pixel, seen unless exclusive

The window ends at the current column, so a stack of these layers does not see pixels to the upper right; a second stack
of `VerticalConv2D` does. Reference: Salimans et al., PixelCNN++, 2017, section 2.5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfar.core import scope as scopes
from tfar.core.invariants import invariant
from tfar.core.sizes import batch_size
from tfar.core.slicing import take
from tfar.layers.block_sparse import BlockSparsity
from tfar.layers.weight_norm import KernelLayer, strided_shape


@keras.saving.register_keras_serializable("tfar")
class CausalConv2D(KernelLayer):
    """Convolution over rows i - kh + 1, ..., i and columns j - kw + 1, ..., j, or j - kw, ..., j - 1 where exclusive.

    Args:
        filters: number of output features.
        kernel_size: (rows kh, columns kw).
        exclusive: True on the input of a network: the current pixel is not seen. The *output* is shifted to the right,
            so that the first column is 0, without the bias, as in the reference implementation.
        strides: of rows and columns in the parallel pass. In a scope every position is computed;
            `tfar.layers.Downsampled` takes those that the coarser grid has.
        use_bias: whether to add a bias.
        weight_norm: parametrize the kernel as g V / ||V||, see `KernelLayer`.
        init_scale: standard deviation of the output after data-dependent initialization.
        sparsity: which blocks of channels are connected, see `tfar.layers.block_sparse`; None for all.

    Input shape `[B, H, W, C]`, output shape `[B, H / strides, W / strides, filters]`.

    Raises:
        ValueError: a size is not positive, or strides of an exclusive layer.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Sequence[int] = (2, 2),
        exclusive: bool = False,
        strides: int = 1,
        use_bias: bool = True,
        weight_norm: bool = False,
        init_scale: float = 1.0,
        sparsity: BlockSparsity | Mapping[str, Any] | None = None,
        **kwargs: Any,
    ):
        super().__init__(use_bias, weight_norm, init_scale, sparsity, **kwargs)
        kernel_size = tuple(kernel_size)
        if filters < 1:
            raise ValueError(f"filters must be at least 1, got {filters}")
        if len(kernel_size) != 2 or min(kernel_size) < 1:
            raise ValueError(f"kernel_size must be (rows, columns), got {kernel_size}")
        if strides < 1 or (exclusive and strides > 1):
            raise ValueError(f"strides must be at least 1, and 1 where exclusive, got {strides}")
        self.filters, self.kernel_size, self.exclusive, self.strides = filters, kernel_size, exclusive, strides

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the kernel [kh, kw, C, filters] and the bias."""
        self.add_kernel((*self.kernel_size, input_shape[-1], self.filters))

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """[B, H, W, C] -> [B, H, W, filters]."""
        scope = scopes.current()
        kh, kw = self.kernel_size
        if scope is None:
            window = tf.pad(x, [[0, 0], [kh - 1, 0], [kw - 1, 0], [0, 0]])
            y = self.convolve(window, self.strides)
            return _shift_right(y) if self.exclusive else y
        state = scope.state_of(self)
        if scope.phase == "row":
            return self._begin_row(scope, state, x)
        return self._rows(scope, state, x) if scope.whole_rows else self._pixel(scope, state, x)

    # As in HorizontalConv2D every input of the pixel phase is multiplied once, by all taps of its row. "pending" holds
    # the sums of these products, and of the rows above, for the current pixel and for those right of it.

    def _begin_row(self, scope: scopes.Incremental, state: scopes.LayerState, x: tf.Tensor) -> tf.Tensor:
        """Row phase: computes the contribution of the rows above to the new row, bias included.

        State: row [W, B, C], the inputs of the newest row, where inclusive; rows [B, kh - 2, W, C] above it;
        above [n, W, B, filters]; pending [B, max(kw - 1, 1) * filters].
        """
        kh, kw = self.kernel_size
        batch, width, channels = batch_size(x), x.shape[2], x.shape[-1]
        slots = max(kw - 1, 1)
        if kh == 1:
            state.write("pending", tf.zeros([batch, slots * self.filters], x.dtype))
            return tf.zeros([batch, scope.length, width, self.filters], x.dtype)
        newest = x
        if not self.exclusive:
            newest = tf.transpose(state.read("row", [width, batch, channels], x.dtype), [1, 0, 2])[:, None]
        window, kept = newest, kh - 2
        if kept:
            window = tf.concat([state.read("rows", [batch, kept, width, channels], x.dtype), newest], 1)
            state.write("rows", window[:, -kept:])
        above = self._from_rows_above(window)
        state.write("above", above, transient=above.shape[0] != 1)
        later = tf.zeros([batch, (slots - 1) * self.filters], x.dtype)
        state.write("pending", tf.concat([above[-1, 0], later], 1))
        return tf.zeros([batch, scope.length, width, self.filters], x.dtype)

    def _from_rows_above(self, window: tf.Tensor) -> tf.Tensor:
        """Computes the contribution [n, W, B, filters] of the rows above, [B, n + kh - 2, W, C], to n rows."""
        kh, kw = self.kernel_size
        kernel = self.used_kernel(window.dtype)[: kh - 1]
        y = tf.nn.conv2d(tf.pad(window, [[0, 0], [0, 0], [kw - 1, 0], [0, 0]]), kernel, 1, "VALID")
        return tf.transpose(self.add_bias(y), [1, 2, 0, 3])

    def _wide_kernel(self, dtype: tf.DType) -> tf.Tensor:
        """Returns the taps of the current row side by side, the nearest first: [C, kw * filters]."""

        def compute() -> tf.Tensor:
            return tf.concat(tf.unstack(self.used_kernel(dtype)[-1])[::-1], 1)

        return invariant(self, ("wide", dtype), compute)

    def _pixel(self, scope: scopes.Incremental, state: scopes.LayerState, x: tf.Tensor) -> tf.Tensor:
        kh, kw = self.kernel_size
        filters = self.filters
        if self.exclusive:
            x = scope.within_row(x)
        pixel = tf.squeeze(x, [1, 2])
        product, later = tf.split(tf.matmul(pixel, self._wide_kernel(x.dtype)), [filters, (kw - 1) * filters], 1)
        pending = state.read("pending")
        waiting, rest = tf.split(pending, [filters, pending.shape[1] - filters], 1)
        y = product + waiting
        if kw == 1:
            later = tf.zeros_like(pending)
        if kw > 2:
            later += tf.pad(rest, [[0, 0], [0, filters]])
        if kh > 1:
            above = state.read("above")
            # The output of an exclusive layer is shifted, and with it the contribution of the rows above.
            after = scope.column if self.exclusive else tf.minimum(scope.column + 1, above.shape[1] - 1)
            first, *others = tf.split(later, [filters, later.shape[1] - filters], 1) if kw > 2 else [later]
            later = tf.concat([first + tf.squeeze(take(above, 1, after), [0, 1]), *others], 1)
            if not self.exclusive:
                state.write_column("row", pixel)
            if kh > 2:
                state.read("rows")
        else:
            y = self.add_bias(y)
        state.write("pending", later)
        y = tf.reshape(y, [-1, 1, 1, filters])
        return y * tf.cast(scope.column > 0, y.dtype) if self.exclusive else y

    def _rows(self, scope: scopes.Incremental, state: scopes.LayerState, x: tf.Tensor) -> tf.Tensor:
        """Pixel phase of whole rows, which are their own past."""
        kh, kw = self.kernel_size
        if self.exclusive:
            x = scope.within_row(x)
        kernel = self.used_kernel(x.dtype)
        y = tf.nn.conv2d(tf.pad(x, [[0, 0], [0, 0], [kw - 1, 0], [0, 0]]), kernel[-1:], 1, "VALID")
        # What the last pixels leave behind the end of the row.
        slots = max(kw - 1, 1)
        tail = tf.pad(x[:, -1:], [[0, 0], [0, 0], [slots, slots], [0, 0]])[:, :, -2 * slots :]
        left = tf.nn.conv2d(tail, kernel[-1:], 1, "VALID")[:, 0, :slots] if kw > 1 else tf.zeros_like(y[:, -1, :1])
        pending = tf.unstack(left, axis=1)
        if kh > 1:
            above, kept = state.read("above"), kh - 2
            rows = state.read("rows") if kept else x[:, :0]
            if not self.exclusive:
                # The row phase knew what lies above the first row; the rows above the others are in the argument.
                window = tf.concat([rows, x], 1)
                if kept:
                    state.write("rows", window[:, -kept - 1 : -1])
                if x.shape[1] != 1:
                    above = tf.concat([above, self._from_rows_above(window[:, :-1])], 0)
                state.write("row", tf.transpose(x[:, -1], [1, 0, 2]))
            state.write("above", above[-1:], transient=True)
            from_above = tf.transpose(above, [2, 0, 1, 3])
            y += _shift_right(from_above) if self.exclusive else from_above
            pending[0] += above[-1, -1]
        else:
            y = self.add_bias(y)
        state.read("pending")
        state.write("pending", tf.concat(pending, 1))
        return _shift_border(y) if self.exclusive else y

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """[B, H / strides, W / strides, filters]."""
        return strided_shape(input_shape, self.strides, self.filters)


def _shift_right(y: tf.Tensor) -> tf.Tensor:
    """Moves the columns by one; the first is 0."""
    return tf.pad(y[:, :, :-1], [[0, 0], [0, 0], [1, 0], [0, 0]])


def _shift_border(y: tf.Tensor) -> tf.Tensor:
    """Sets the first column to 0."""
    return tf.pad(y[:, :, 1:], [[0, 0], [0, 0], [1, 0], [0, 0]])
