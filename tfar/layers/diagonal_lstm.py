"""The Diagonal LSTM of PixelRNN: a convolutional LSTM that runs along the anti-diagonals of an image.

    image          skewed: row i moves i columns          the state of a pixel follows from
    a b c          a b c . .                              those above and to the left of it,
    d e f          . d e f .                              which stand in the column before:  h      row i - 1
    g h i          . . g h i                                                                 h o    row i

One layer sees all that lies above and to the left, or, from right to left, above and to the right. The two together,
the second shifted down by one row, see all previous pixels.

Reference: van den Oord, Kalchbrenner, Kavukcuoglu, Pixel Recurrent Neural Networks, 2016, section 3.2 and figure 3.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfar.core import scope as scopes
from tfar.core.sizes import batch_size
from tfar.core.slicing import put, take
from tfar.layers.spatial_lstm import SpatialLSTM, cells_inside, cells_outside

DIRECTIONS = ("left_to_right", "right_to_left")

# Taps of the state-to-state kernel.
_ABOVE, _BEFORE = 0, 1


def skew(x: tf.Tensor) -> tf.Tensor:
    """Moves row i by i columns to the right: [B, n, W, C] -> [B, n, n + W - 1, C], filled with zeros.

    Example:
        >>> skew(tf.reshape(tf.range(1, 7), [1, 3, 2, 1]))[0, ..., 0].numpy()
        array([[1, 2, 0, 0],
               [0, 3, 4, 0],
               [0, 0, 5, 6]], dtype=int32)
    """
    rows, width, features = x.shape[1:]
    # Rows of n + W elements, written one after the other, and read again as rows of one element less.
    flat = tf.reshape(tf.pad(x, [[0, 0], [0, 0], [0, rows], [0, 0]]), [-1, rows * (rows + width), features])
    return tf.reshape(flat[:, : rows * (rows + width - 1)], [-1, rows, rows + width - 1, features])


def unskew(x: tf.Tensor) -> tf.Tensor:
    """Undoes `skew`: [B, n, n + W - 1, C] -> [B, n, W, C].

    Example:
        >>> unskew(skew(tf.reshape(tf.range(1, 7), [1, 3, 2, 1])))[0, ..., 0].numpy().tolist()
        [[1, 2], [3, 4], [5, 6]]
    """
    rows, columns, features = x.shape[1:]
    flat = tf.pad(tf.reshape(x, [-1, rows * columns, features]), [[0, 0], [0, rows], [0, 0]])
    return tf.reshape(flat, [-1, rows, columns + 1, features])[:, :, : columns + 1 - rows]


@keras.saving.register_keras_serializable("tfar")
class DiagonalLSTM(SpatialLSTM):
    """h_ij, c_ij = LSTM(x_ij, h_i-1,j, h_i,j-1, c_i,j-1): one layer, one direction, a diagonal at a time.

        o, f, i, g = K_is x_ij + K_above h_(i-1),j + K_before h_i,(j-1) + b (+ V condition)
        c_ij = sigmoid(f) c_i,(j-1) + sigmoid(i) tanh(g)
        h_ij = sigmoid(o) tanh(c_ij)

    K_is is a 1 x 1 convolution with mask B. Outside of the image the state is learned: c_0, and h_0 = tanh(c_0).

    From right to left the image is mirrored, run, and mirrored back, and the result shifted down by one row (zeros
    come in at the top): without that, pixel (i, j) would see pixels to the right of it. Row i of this output knows
    complete rows only, so it is computed when row i begins.

    Args:
        filters: features of the state h.
        direction: "left_to_right" or "right_to_left" (shifted down).
        groups: number of colours that the network orders; 1 where pixels are drawn whole.
        channel_groups: layout of the colour groups of the output, "interleaved" or "contiguous".
        input_groups: layout of the input; default as `channel_groups`.
        forget_bias: initial b of the forget gates.
        **kwargs: name and dtype.

    Input shape `[B, H, W, C]`, output shape `[B, H, W, filters]`. A second input is the condition, a vector `[B, d]`
    or a map `[B, H, W, d]`.

    Raises:
        ValueError: filters is not positive, or the direction is unknown.

    Example:
        >>> tuple(DiagonalLSTM(3, "right_to_left")(tf.zeros([2, 4, 5, 6])).shape)
        (2, 4, 5, 3)
    """

    def __init__(
        self,
        filters: int,
        direction: str = "left_to_right",
        groups: int = 1,
        channel_groups: str = "interleaved",
        input_groups: str | None = None,
        forget_bias: float = 1.0,
        **kwargs: Any,
    ):
        if direction not in DIRECTIONS:
            raise ValueError(f"direction must be one of {DIRECTIONS}, got {direction!r}")
        super().__init__(filters, 1, 2, groups, channel_groups, input_groups, forget_bias, **kwargs)
        self.direction = direction

    @property
    def shifted(self) -> bool:
        """True from right to left, where the output is shifted down by one row."""
        return self.direction == "right_to_left"

    def call(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """[B, H, W, C] -> [B, H, W, filters]."""
        scope = scopes.current()
        if scope is None:
            return self._parallel(x, condition)
        if scope.phase == "step":
            raise RuntimeError(f"layer {self.name!r} works on images and has no step phase")
        state = scope.state_of(self)
        if self.shifted:
            return self._shifted(scope, state, x, condition)
        if scope.phase == "row":
            return self._begin_row(scope, state, x, condition)
        return self._rows(scope, state, x, condition) if scope.whole_rows else self._pixel(scope, state, x)

    # Whole rows.

    def _parallel(self, x: tf.Tensor, condition: tf.Tensor | None) -> tf.Tensor:
        rows, above = x.shape[1], self._row_outside(x)
        if not self.shifted:
            return self._run(x, self._offset(condition, x.dtype), above)[0]
        if rows == 1:
            return tf.zeros([batch_size(x), 1, x.shape[2], self.filters], x.dtype)
        # The last row is not seen.
        y, _ = self._run(x[:, :-1], self._offset(condition, x.dtype, 0, rows - 1), above)
        return tf.pad(y, [[0, 0], [1, 0], [0, 0], [0, 0]])

    def _row_outside(self, x: tf.Tensor) -> tf.Tensor:
        """Returns the h above the image, [W, B, filters]."""
        return tf.broadcast_to(self._initial_state(x.dtype)[0], [x.shape[2], batch_size(x), self.filters])

    def _run(self, x: tf.Tensor, offset: tf.Tensor, above: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Several rows, diagonal by diagonal.

        Args:
            x: [B, n, W, C].
            offset: b + V condition, see `_offset`.
            above: h of the row above them, [W, B, filters].

        Returns:
            h of all rows, [B, n, W, filters], and c of the last pixel of the last row, [B, filters].
        """
        dtype, rows = x.dtype, x.shape[1]
        count = rows + x.shape[2] - 1
        if self.shifted:
            x, above = x[:, :, ::-1], above[::-1]
        # Every diagonal reads its inputs, and the row above in the place of the state above the first row.
        read = [tf.transpose(skew(x), [2, 0, 1, 3]), tf.pad(above, [[0, rows - 1], [0, 0], [0, 0]])[:, :, None]]
        if offset.shape.rank == 4:
            offset = offset[:, ::-1] if self.shifted else offset
            read.append(tf.transpose(skew(cells_outside(offset)), [2, 0, 1, 3]))
        elif offset.shape.rank == 2:
            offset = offset[:, None]
        arrays = [tf.TensorArray(part.dtype, count, element_shape=part.shape[1:]).unstack(part) for part in read]
        kernel = tf.concat([self._state_kernel(dtype), self._input_kernel(dtype)], 0)
        h, c = (tf.broadcast_to(part, [batch_size(x), rows, self.filters]) for part in self._initial_state(dtype))
        # Rows that the diagonal has not reached keep the state left of the image.
        numbers = tf.range(rows)[:, None]

        def body(s: tf.Tensor, h: tf.Tensor, c: tf.Tensor, outputs: tf.TensorArray) -> tuple[Any, ...]:
            inputs, first, *others = (array.read(s) for array in arrays)
            gates = self._product(tf.concat([tf.concat([first, h[:, :-1]], 1), h, inputs], -1), kernel)
            new_h, new_c = self._advance(gates + (others[0] if others else offset), c, dtype)
            h, c = tf.where(numbers <= s, new_h, h), tf.where(numbers <= s, new_c, c)
            return s + 1, h, c, outputs.write(s, h)

        outputs = tf.TensorArray(dtype, count, element_shape=h.shape)
        # XLA differentiates only loops whose length is known.
        _, _, c, outputs = tf.while_loop(
            lambda s, *_: s < count,
            body,
            (tf.constant(0), h, c, outputs),
            maximum_iterations=count,
            parallel_iterations=1,
        )
        y = unskew(tf.transpose(outputs.stack(), [1, 2, 0, 3]))
        return y[:, :, ::-1] if self.shifted else y, c[:, -1]

    def _run_row(self, x: tf.Tensor, offset: tf.Tensor, above: tf.Tensor) -> tf.Tensor:
        """One row from right to left: inputs and h of the row above it, [W, B, ...] -> h [W, B, filters]."""
        dtype, width = x.dtype, x.shape[0]
        gates = tf.concat([above, x], -1)
        kernel = tf.concat([self._state_kernel(dtype, _ABOVE), self._input_kernel(dtype)], 0)
        gates = self._product(gates, kernel) + (offset[0] if offset.shape.rank == 4 else offset)
        before = self._state_kernel(dtype, _BEFORE)
        inputs = tf.TensorArray(gates.dtype, width, element_shape=gates.shape[1:]).unstack(gates)
        h, c = (tf.broadcast_to(part, [tf.shape(x)[1], self.filters]) for part in self._initial_state(dtype))

        def body(j: tf.Tensor, h: tf.Tensor, c: tf.Tensor, outputs: tf.TensorArray) -> tuple[Any, ...]:
            h, c = self._advance(inputs.read(j) + self._product(h, before), c, dtype)
            return j - 1, h, c, outputs.write(j, h)

        outputs = tf.TensorArray(dtype, width, element_shape=h.shape)
        loop = (tf.constant(width - 1), h, c, outputs)
        return tf.while_loop(lambda j, *_: j >= 0, body, loop, maximum_iterations=width, parallel_iterations=1)[
            -1
        ].stack()

    # Incrementally, from left to right. State: row [W, B, filters], h of the row before, replaced pixel by pixel;
    # above [W, B, 4 filters], its contribution to the gates of the current row; ahead [B, 4 filters], the column of
    # "above" that the next pixel reads; h and c of the pixel before, [B, filters].

    def _row_before(self, scope: scopes.Incremental, state: scopes.LayerState, x: tf.Tensor) -> tf.Tensor:
        row = state.read("row", [x.shape[2], batch_size(x), self.filters], x.dtype)
        return tf.where(tf.convert_to_tensor(scope.first) > 0, row, self._row_outside(x))

    def _write_above(self, state: scopes.LayerState, above: tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
        offset = offset[-1] if offset.shape.rank == 4 else offset
        above = self._product(above, self._state_kernel(above.dtype, _ABOVE)) + offset
        state.write("above", above)
        return above

    def _begin_row(
        self, scope: scopes.Incremental, state: scopes.LayerState, x: tf.Tensor, condition: Any
    ) -> tf.Tensor:
        before = self._row_before(scope, state, x)
        above = self._write_above(state, before, self._offset(condition, x.dtype, scope.at, 1))
        state.write("ahead", above[0])
        for name, value in zip("hc", self._initial_state(x.dtype), strict=True):
            state.write(name, tf.broadcast_to(value, [batch_size(x), self.filters]))
        return tf.zeros([batch_size(x), scope.length, x.shape[2], self.filters], x.dtype)

    def _pixel(self, scope: scopes.Incremental, state: scopes.LayerState, x: tf.Tensor) -> tf.Tensor:
        above, row = state.read("above"), state.read("row")
        # One product of both inputs; a concatenation is worth moving out of a loop to XLA.
        kernel = tf.concat([self._input_kernel(x.dtype), self._state_kernel(x.dtype, _BEFORE)], 0)
        gates = self._product(tf.concat([x[:, 0, 0], state.read("h")], -1), kernel) + state.read("ahead")
        h, c = self._advance(gates, state.read("c"), x.dtype)
        state.write("h", h)
        state.write("c", c)
        state.write("row", put(row, scope.column, h))
        state.write("ahead", take(above, 0, tf.minimum(scope.column + 1, above.shape[0] - 1))[0])
        return h[:, None, None]

    def _rows(self, scope: scopes.Incremental, state: scopes.LayerState, x: tf.Tensor, condition: Any) -> tf.Tensor:
        """Pixel phase of whole rows, which are their own past."""
        before = self._row_before(scope, state, x)
        offset = self._offset(condition, x.dtype, scope.at, scope.length)
        y, c = self._run(x, offset, before)
        for name in ("above", "ahead", "h", "c"):
            state.read(name)
        rows = cells_inside(y[:, -2:])
        state.write("ahead", self._write_above(state, rows[0] if scope.length > 1 else before, offset)[-1])
        state.write("row", rows[-1])
        state.write("h", rows[-1, -1])
        state.write("c", c)
        return y

    # Incrementally, from right to left. State: inputs [W, B, C], of the row before, replaced pixel by pixel; row
    # [W, B, filters], the output of the current row, that is h of the row before; ahead [B, filters], its next column.

    def _shifted(self, scope: scopes.Incremental, state: scopes.LayerState, x: tf.Tensor, condition: Any) -> tf.Tensor:
        batch, width = batch_size(x), x.shape[2]
        at, first = tf.convert_to_tensor(scope.at), tf.convert_to_tensor(scope.first)
        if scope.phase == "row":
            inputs = state.read("inputs", [width, batch, x.shape[-1]], x.dtype)
            row = state.read("row", [width, batch, self.filters], x.dtype)
            above = tf.where(first > 1, row, self._row_outside(x))
            offset = self._offset(condition, x.dtype, tf.maximum(at - 1, 0), 1)
            row = self._run_row(inputs, offset, above) * tf.cast(first > 0, x.dtype)
            state.write("row", row)
            state.write("ahead", row[0])
            return tf.zeros([batch, scope.length, width, self.filters], x.dtype)
        inputs, row, ahead = state.read("inputs"), state.read("row"), state.read("ahead")
        if not scope.whole_rows:
            state.write("inputs", put(inputs, scope.column, x[:, 0, 0]))
            state.write("ahead", take(row, 0, tf.minimum(scope.column + 1, row.shape[0] - 1))[0])
            return ahead[:, None, None]
        y = cells_outside(row[None])
        if scope.length > 1:
            # The row phase has run over the row above the block; those in the block are in the argument.
            above = tf.where(at > 0, row, self._row_outside(x))
            offset = self._offset(condition, x.dtype, at, scope.length - 1)
            y = tf.concat([y, self._run(x[:, :-1], offset, above)[0]], 1)
            row = cells_inside(y[:, -1:])[0]
        state.write("row", row)
        state.write("ahead", row[-1])
        state.write("inputs", cells_inside(x[:, -1:])[0])
        return y
