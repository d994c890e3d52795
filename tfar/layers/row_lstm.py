"""The Row LSTM of PixelRNN: a convolutional LSTM that runs down the rows of an image.

    state-to-state, 3 x 1          input-to-state, 3 x 1           what (i, j) sees of the input, 3 x 1 throughout
      h h h      row i - 1           x o .    row i, mask B          x x x x x x .
        o        row i                                               x x x x x . .
                                                                       x x o

Reference: van den Oord, Kalchbrenner, Kavukcuoglu, Pixel Recurrent Neural Networks, 2016, section 3.1.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfar.core import scope as scopes
from tfar.core.sizes import batch_size
from tfar.core.slicing import put, take
from tfar.layers.spatial_lstm import GATES, SpatialLSTM, cells_inside, cells_outside


@keras.saving.register_keras_serializable("tfar")
class RowLSTM(SpatialLSTM):
    """h_ij, c_ij = LSTM(x_i,j-k..j, h_i-1,j-k..j+k, c_i-1,j): one layer, all columns of a row at once.

        o, f, i, g = K_is * x + K_ss * h_(i-1) + b (+ V condition)
        c_i = sigmoid(f) c_(i-1) + sigmoid(i) tanh(g)
        h_i = sigmoid(o) tanh(c_i)

    K_is is a convolution along the row with mask B, K_ss one with all of its taps on the row above; left and right of
    the image h is 0, above it the state is learned: c_0, and h_0 = tanh(c_0), the same in all columns.

    While an image is drawn, K_ss * h of a row is computed when the row begins.

    Args:
        filters: features of the state h.
        kernel_size: taps of K_is, odd; those right of the pixel are stored and masked (paper: 3).
        state_kernel_size: taps of K_ss, odd (paper: 3).
        groups: number of colours that the network orders; 1 where pixels are drawn whole.
        channel_groups: layout of the colour groups of the output, "interleaved" or "contiguous".
        input_groups: layout of the input; default as `channel_groups`.
        forget_bias: initial b of the forget gates.
        **kwargs: name and dtype.

    Input shape `[B, H, W, C]`, output shape `[B, H, W, filters]`. A second input is the condition, a vector `[B, d]`
    or a map `[B, H, W, d]`.

    Raises:
        ValueError: a size is not positive or even.

    Example:
        >>> tuple(RowLSTM(3)(tf.zeros([2, 4, 5, 6])).shape)
        (2, 4, 5, 3)
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int = 3,
        state_kernel_size: int = 3,
        groups: int = 1,
        channel_groups: str = "interleaved",
        input_groups: str | None = None,
        forget_bias: float = 1.0,
        **kwargs: Any,
    ):
        for name, size in (("kernel_size", kernel_size), ("state_kernel_size", state_kernel_size)):
            if size < 1 or size % 2 == 0:
                raise ValueError(f"{name} must be odd, got {size}")
        layout = (groups, channel_groups, input_groups, forget_bias)
        super().__init__(filters, kernel_size, state_kernel_size, *layout, **kwargs)
        self.kernel_size, self.state_kernel_size = kernel_size, state_kernel_size

    def call(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """[B, H, W, C] -> [B, H, W, filters]."""
        scope = scopes.current()
        if scope is None:
            h, c = self._rows_outside(x)
            return cells_outside(self._run(self._input_to_state(x) + self._offset(condition, x.dtype), h, c)[0])
        if scope.phase == "step":
            raise RuntimeError(f"layer {self.name!r} works on images and has no step phase")
        state = scope.state_of(self)
        if scope.phase == "row":
            return self._begin_row(scope, state, x, condition)
        return self._rows(scope, state, x, condition) if scope.whole_rows else self._pixel(scope, state, x)

    # In parallel.

    def _input_to_state(self, x: tf.Tensor) -> tf.Tensor:
        """K_is * x of whole rows, [n, W, B, 4 filters]."""
        width, left = x.shape[2], self.kernel_size // 2
        x = tf.pad(cells_inside(x), [[0, 0], [left, 0], [0, 0], [0, 0]])
        window = tf.concat([x[:, tap : tap + width] for tap in range(left + 1)], -1)
        return self._product(window, self._input_kernel(x.dtype))

    def _state_to_state(self, h: tf.Tensor) -> tf.Tensor:
        """K_ss * h of one row, [W, B, filters] -> [W, B, 4 filters]."""
        width, side = h.shape[0], self.state_kernel_size // 2
        h = tf.pad(h, [[side, side], [0, 0], [0, 0]])
        window = tf.concat([h[tap : tap + width] for tap in range(self.state_kernel_size)], -1)
        return self._product(window, self._state_kernel(h.dtype))

    def _rows_outside(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the state above the image, [W, B, filters] each."""
        shape = [x.shape[2], batch_size(x), self.filters]
        h, c = self._initial_state(x.dtype)
        return tf.broadcast_to(h, shape), tf.broadcast_to(c, shape)

    def _run(self, gates: tf.Tensor, h: tf.Tensor, c: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Computes h of n rows and c of the last, from the contribution of x to the gates and the state above."""
        rows = gates.shape[0]

        def advance(gates: tf.Tensor, h: tf.Tensor, c: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return self._advance(gates + self._state_to_state(h), c, h.dtype)

        if rows == 1:
            h, c = advance(gates[0], h, c)
            return h[None], c
        inputs = tf.TensorArray(gates.dtype, rows, element_shape=gates.shape[1:]).unstack(gates)
        outputs = tf.TensorArray(h.dtype, rows, element_shape=h.shape)

        def body(i: tf.Tensor, h: tf.Tensor, c: tf.Tensor, outputs: tf.TensorArray) -> tuple[Any, ...]:
            h, c = advance(inputs.read(i), h, c)
            return i + 1, h, c, outputs.write(i, h)

        loop = (tf.constant(0), h, c, outputs)
        # XLA differentiates only loops whose length is known.
        _, _, c, outputs = tf.while_loop(
            lambda i, *_: i < rows, body, loop, maximum_iterations=rows, parallel_iterations=1
        )
        return outputs.stack(), c

    # Incrementally. State: row [W, B, 2 filters], h and c of the row before, replaced pixel by pixel; above
    # [W, B, 5 filters], what that row gives to the gates of the current one, and its c; ahead [B, 5 filters], the
    # column of it that the next pixel reads; left [B, k // 2 * C], inputs of the pixels to the left.

    def _row_before(
        self, scope: scopes.Incremental, state: scopes.LayerState, x: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        shape = [x.shape[2], batch_size(x), 2 * self.filters]
        row = state.read("row", shape, self._precise(x.dtype))
        inside = tf.convert_to_tensor(scope.first) > 0
        h, c = self._rows_outside(x)
        return tf.where(inside, tf.cast(row[..., : self.filters], x.dtype), h), tf.where(
            inside, row[..., self.filters :], c
        )

    def _write_above(self, state: scopes.LayerState, h: tf.Tensor, c: tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
        gates = self._state_to_state(h)
        offset = offset[-1] if offset.shape.rank == 4 else offset
        above = tf.concat([gates + offset, c], -1)
        state.write("above", above)
        return above

    def _begin_row(
        self, scope: scopes.Incremental, state: scopes.LayerState, x: tf.Tensor, condition: Any
    ) -> tf.Tensor:
        h, c = self._row_before(scope, state, x)
        above = self._write_above(state, h, c, self._offset(condition, x.dtype, scope.at, 1))
        state.write("ahead", above[0])
        if self.kernel_size > 1:
            state.write("left", tf.zeros([batch_size(x), self.kernel_size // 2 * x.shape[-1]], x.dtype))
        return tf.zeros([batch_size(x), scope.length, x.shape[2], self.filters], x.dtype)

    def _pixel(self, scope: scopes.Incremental, state: scopes.LayerState, x: tf.Tensor) -> tf.Tensor:
        window = x[:, 0, 0]
        if self.kernel_size > 1:
            window = tf.concat([state.read("left"), window], -1)
            state.write("left", window[:, x.shape[-1] :])
        ahead, above, row = state.read("ahead"), state.read("above"), state.read("row")
        size = GATES * self.filters
        gates = self._product(window, self._input_kernel(x.dtype)) + ahead[:, :size]
        h, c = self._advance(gates, ahead[:, size:], x.dtype)
        both = tf.concat([tf.cast(h, c.dtype), c], -1)
        state.write("row", put(row, scope.column, both))
        state.write("ahead", take(above, 0, tf.minimum(scope.column + 1, above.shape[0] - 1))[0])
        return h[:, None, None]

    def _rows(self, scope: scopes.Incremental, state: scopes.LayerState, x: tf.Tensor, condition: Any) -> tf.Tensor:
        """Pixel phase of whole rows, which are their own past."""
        h, c = self._row_before(scope, state, x)
        offset = self._offset(condition, x.dtype, scope.at, scope.length)
        gates = self._input_to_state(x) + offset
        if scope.length > 1:
            before, c = self._run(gates[:-1], h, c)
            h = before[-1]
        last, last_c = self._run(gates[-1:], h, c)
        for name in ("above", "ahead"):
            state.read(name)
        state.write("ahead", self._write_above(state, h, c, offset)[-1])
        state.write("row", tf.concat([tf.cast(last[0], c.dtype), last_c], -1))
        if self.kernel_size > 1:
            left = self.kernel_size // 2
            state.read("left")
            tail = tf.pad(x[:, -1], [[0, 0], [left, 0], [0, 0]])[:, -left:]
            state.write("left", tf.reshape(tail, [-1, left * x.shape[-1]]))
        return cells_outside(tf.concat([before, last], 0) if scope.length > 1 else last)
