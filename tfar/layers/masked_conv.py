"""The masked convolution of PixelCNN: one k x k kernel over the rows above and the pixels to the left.

    mask A, 5 x 5        mask B, 5 x 5        the tap on the current pixel, by colour group
    1 1 1 1 1            1 1 1 1 1               mask A   R G B -> R G B      mask B   R G B -> R G B
    1 1 1 1 1            1 1 1 1 1                        R sees -                     R sees R
    1 1 0 0 0            1 1 1 0 0                        G sees R                     G sees R G
    0 0 0 0 0            0 0 0 0 0                        B sees R G                   B sees R G B
    0 0 0 0 0            0 0 0 0 0

Reference: van den Oord, Kalchbrenner, Kavukcuoglu, Pixel Recurrent Neural Networks, 2016, section 3.4 and figure 2.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfar.core import scope as scopes
from tfar.core.invariants import invariant
from tfar.core.sizes import batch_size
from tfar.core.slicing import take
from tfar.layers.groups import centre_mask, channel_groups
from tfar.layers.weighted import WeightedLayer

MASK_TYPES = ("A", "B")


@keras.saving.register_keras_serializable("tfar")
class MaskedConv2D(WeightedLayer):
    """Convolution with a masked kernel; the mask is multiplied into the kernel in every forward pass.

    The whole kernel [k, k, C, filters] is stored, as in the paper; the rows below the current one, which the mask
    makes zero, are left out of the arithmetic. A stack of these layers has a blind spot to the upper right, see
    `tfar.models.PixelCNN`.

    An exclusive layer (mask A) may only stand on the raw input of a network, an inclusive one (mask B) only on features
    of this or of other causal layers: while sampling, the first is given the previous row and the previous pixel, the
    second the features of the current pixel.

    Args:
        filters: number of output features.
        kernel_size: k, odd.
        mask_type: "A" for the first layer, which is exclusive (does not see the current pixel), "B" for the others.
        groups: number of colours that the network orders; 1 where pixels are drawn whole.
        channel_groups: layout of the colour groups of the output, "interleaved" or "contiguous".
        input_groups: layout of the input; default as `channel_groups`.
        halves: equal parts of the output with the same groups each, 2 in front of a gate.
        use_bias: whether to add a bias.
        wrap: of an exclusive layer: the pixel before the first one of a row is the last one of the row above, instead
            of 0; those before that one are 0. `PixelRNN` says why.

    Input shape `[B, H, W, C]`, output shape `[B, H, W, filters]`.

    Raises:
        ValueError: an argument is out of range, or the kernel would see nothing (exclusive, k = 1, one group).

    Example:
        >>> layer = MaskedConv2D(1, kernel_size=3, mask_type="A")
        >>> layer.build((None, 4, 4, 1))
        >>> print(layer.mask[:, :, 0, 0].astype(int))
        [[1 1 1]
         [1 0 0]
         [0 0 0]]
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        mask_type: str,
        groups: int = 1,
        channel_groups: str = "interleaved",
        input_groups: str | None = None,
        halves: int = 1,
        use_bias: bool = True,
        wrap: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if filters < 1:
            raise ValueError(f"filters must be at least 1, got {filters}")
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, got {kernel_size}")
        if mask_type not in MASK_TYPES:
            raise ValueError(f"mask_type must be one of {MASK_TYPES}, got {mask_type!r}")
        if mask_type == "A" and kernel_size == 1 and groups == 1:
            raise ValueError("kernel_size must be at least 3 for mask_type 'A' without colour groups, got 1")
        self.filters, self.kernel_size, self.mask_type, self.groups = filters, kernel_size, mask_type, groups
        if wrap and (mask_type != "A" or kernel_size == 1):
            raise ValueError(
                f"wrap needs mask_type 'A' and a kernel_size of at least 3, got {mask_type!r}, {kernel_size}"
            )
        self.channel_groups, self.input_groups = channel_groups, input_groups or channel_groups
        self.halves, self.use_bias, self.wrap = halves, use_bias, wrap

    @property
    def half(self) -> int:
        """Rows above, and taps to the left, that the kernel reaches."""
        return self.kernel_size // 2

    @property
    def mask(self) -> np.ndarray:
        """The mask, float32 [k, k, C, filters] of 0 and 1; there once the layer is built."""
        return self._mask

    @property
    def exclusive(self) -> bool:
        """True for mask A: in a step the input is the previous pixel."""
        return self.mask_type == "A"

    @property
    def _row_taps(self) -> int:
        """Taps in the row of the current pixel; without colours an exclusive layer has none on the centre."""
        return self.half + int(not self.exclusive or self.groups > 1)

    @property
    def _kept_columns(self) -> int:
        """Columns kept between pixels; an exclusive layer's input is the previous pixel, which need not be kept."""
        return max(self.half - int(self.exclusive), 0)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates kernel and bias."""
        channels, half = input_shape[-1], self.half
        mask = np.zeros((self.kernel_size, self.kernel_size, channels, self.filters), np.float32)
        mask[:half] = 1
        mask[half, :half] = 1
        mask[half, half] = centre_mask(
            channel_groups(channels, self.groups, self.input_groups),
            channel_groups(self.filters, self.groups, self.channel_groups, self.halves),
            self.mask_type,
        )
        self._mask = mask
        # Glorot with the fans that the mask leaves: about half of the kernel is never used.
        limit = np.sqrt(6.0 / (mask.sum() / self.filters + mask.sum() / channels + 1e-9))
        initializer = keras.initializers.RandomUniform(-limit, limit)
        self.kernel = self.add_weight(shape=mask.shape, initializer=initializer, name="kernel", used=mask)
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias") if self.use_bias else None

    def masked_kernel(self, dtype: tf.DType, rows: slice = slice(None), columns: slice = slice(None)) -> tf.Tensor:
        """Returns the kernel as a convolution uses it, or the part of it that `rows` and `columns` name."""
        mask = self._mask[rows, columns]
        kernel = tf.cast(self.kernel[rows, columns], dtype)
        # A part that is seen as a whole, like the rows above, needs no product at every pixel.
        return kernel if mask.all() else kernel * tf.constant(mask, dtype)

    def _above_kernel(self, dtype: tf.DType) -> tf.Tensor:
        return self.masked_kernel(dtype, slice(0, self.half))

    def _row_kernel(self, dtype: tf.DType) -> tf.Tensor:
        return self.masked_kernel(dtype, slice(self.half, self.half + 1), slice(0, self._row_taps))

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """[B, H, W, C] -> [B, H, W, filters]."""
        scope, half = scopes.current(), self.half
        if scope is None:
            kernel = self.masked_kernel(x.dtype, slice(0, half + 1))
            y = self._add_bias(_convolve(x, kernel, top=half, left=half, right=half))
            return y + self._wrapped(tf.pad(x[:, :-1, -1], [[0, 0], [1, 0], [0, 0]]), x.shape[2]) if self.wrap else y
        if scope.phase == "step":
            raise RuntimeError(f"layer {self.name!r} works on images and has no step phase")
        state = scope.state_of(self)
        if scope.phase == "row":
            self._begin_rows(state, x)
            return tf.zeros([batch_size(x), scope.length, x.shape[2], self.filters], x.dtype)
        if self.exclusive and not self.wrap:
            x = scope.within_row(x)
        from_row = (self._whole_rows if scope.whole_rows else self._one_pixel)(scope, state, x)
        return from_row + self._from_above(scope, state, x) if half else self._add_bias(from_row)

    def _wrapped(self, last: tf.Tensor, width: int) -> tf.Tensor:
        """Computes the part [B, n, W, filters] of first pixels of rows that comes from last pixels [B, n, C] above."""
        taps = self._row_kernel(last.dtype)[0, : self.half][::-1][:width]
        y = tf.einsum("bnc,jcf->bnjf", last, taps)
        return tf.pad(y, [[0, 0], [0, 0], [0, width - taps.shape[0]], [0, 0]])

    def _begin_rows(self, state: scopes.LayerState, x: tf.Tensor) -> None:
        """Row phase: computes the contribution of the rows above to all columns of the new row.

        State: rows [B, k // 2 - 1, W, C] above the newest one, above [B, 1, W, filters], left [B, 1, columns, C];
        inclusive also row [W, B, C], its own input, whose features exist only once the pixels of the row are drawn.
        """
        if not self.half:
            return
        batch, width, channels = batch_size(x), x.shape[2], x.shape[-1]
        newest = x if self.exclusive else self._own_row(state, batch, width, channels, x.dtype)
        window, kept = newest, self.half - 1
        if kept:
            window = tf.concat([state.read("rows", [batch, kept, width, channels], x.dtype), newest], 1)
            state.write("rows", window[:, -kept:])
        kernel = invariant(self, ("above", x.dtype), lambda: self._above_kernel(x.dtype))
        above = self._add_bias(_convolve(window, kernel, left=self.half, right=self.half))
        state.write("above", above, transient=above.shape[1] != 1)
        if self._kept_columns:
            state.write("left", tf.zeros([batch, 1, self._kept_columns, channels], x.dtype))

    def _own_row(self, state: scopes.LayerState, batch: Any, width: int, channels: int, dtype: tf.DType) -> tf.Tensor:
        """Returns the features of the row before, [B, 1, W, C]; zeros above the image."""
        row = state.read("row", [width, batch, channels], dtype)
        return tf.transpose(row, [1, 0, 2])[:, None]

    def _one_pixel(self, scope: scopes.Incremental, state: scopes.LayerState, x: tf.Tensor) -> tf.Tensor:
        """Pixel phase: the taps in the row of the current pixel."""
        window = x if self.half or not self.exclusive else x[:, :, :0]
        if self._kept_columns:
            window = tf.concat([state.read("left"), window], 2)
            state.write("left", window[:, :, -self._kept_columns :])
        if self.exclusive and self.groups > 1:
            window = tf.concat([window, tf.cast(scope.now, x.dtype)], 2)
        if self.half and not self.exclusive:
            # Columns first, so that a pixel is one row of the tensor.
            state.write_column("row", tf.squeeze(x, [1, 2]))
        shape = [self._row_taps * x.shape[-1], self.filters]
        kernel = invariant(self, ("row", x.dtype), lambda: tf.reshape(self._row_kernel(x.dtype), shape))
        return tf.reshape(tf.matmul(tf.reshape(window, [-1, shape[0]]), kernel), [-1, 1, 1, self.filters])

    def _whole_rows(self, scope: scopes.Incremental, state: scopes.LayerState, x: tf.Tensor) -> tf.Tensor:
        """Pixel phase of a block of known rows; an exclusive layer's input is shifted right by one pixel already."""
        inputs = tf.cast(scope.now, x.dtype) if self.exclusive and self.groups > 1 else x
        kept = self._kept_columns
        if kept:
            state.write("left", tf.pad(x[:, -1:], [[0, 0], [0, 0], [kept, 0], [0, 0]])[:, :, -kept:])
        if self.half and not self.exclusive:
            state.write("row", tf.transpose(x[:, -1], [1, 0, 2]))
        y = _convolve(inputs, self._row_kernel(x.dtype), left=self._row_taps - 1)
        # Without colours the pixel that comes before a row is the first one of the argument, and counted.
        return y + self._wrapped(x[:, :, 0], x.shape[2]) if self.wrap and self.groups > 1 else y

    def _from_above(self, scope: scopes.Incremental, state: scopes.LayerState, x: tf.Tensor) -> tf.Tensor:
        """Pixel phase: the contribution of the rows above, of this column or of all rows of a block."""
        above, kept = state.read("above"), self.half - 1
        rows = state.read("rows") if kept else x[:, :0]
        if not scope.whole_rows:
            return take(above, 2, scope.column)
        if not self.exclusive:
            # The row phase knew what lies above the first row; the rows above the others are in the argument.
            window = tf.concat([rows, x], 1)
            if kept:
                state.write("rows", window[:, -kept - 1 : -1])
            if x.shape[1] != 1:
                others = _convolve(window[:, :-1], self._above_kernel(x.dtype), left=self.half, right=self.half)
                above = tf.concat([above, self._add_bias(others)], 1)
        state.write("above", above[:, -1:], transient=True)
        return above

    def _add_bias(self, y: tf.Tensor) -> tf.Tensor:
        return y if self.bias is None else y + tf.cast(self.bias, y.dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """[B, H, W, filters]."""
        return (*input_shape[:-1], self.filters)


def _convolve(x: tf.Tensor, kernel: tf.Tensor, top: int = 0, left: int = 0, right: int = 0) -> tf.Tensor:
    """VALID convolution of `x` padded with zeros."""
    x = tf.pad(x, [[0, 0], [top, 0], [left, right], [0, 0]]) if top or left or right else x
    return tf.nn.conv2d(x, kernel, 1, "VALID")
