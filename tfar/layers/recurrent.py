"""A recurrent layer: LSTM, GRU or vanilla cells along a sequence, with the state outside of the layer."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfar.core import scope as scopes
from tfar.core.checks import check_choice, check_sizes
from tfar.core.sizes import batch_size
from tfar.layers.weighted import WeightedLayer

# Parts of the gate vector: the projections of x and of h have this many times `units` features.
GATES = {"lstm": 4, "gru": 3, "vanilla": 1}

# Steps in one turn of the loop over time: fewer turns cost less bookkeeping (20% of a training step at 8), more steps a
# turn make a larger graph.
_UNROLL = 8


@keras.saving.register_keras_serializable("tfar")
class Recurrent(WeightedLayer):
    """A layer of recurrent cells; y_t = h_t is a function of x_1, ..., x_t (exclusive: x_1, ..., x_(t-1)).

        lstm       i, f, o, g = W x_t + b + U h_(t-1) + u         [1]; the order of the gates is that of [3]
                   c_t = sigmoid(f) c_(t-1) + sigmoid(i) tanh(g)
                   h_t = sigmoid(o) tanh(c_t)
        gru        r, z = sigmoid(W x_t + b + U h_(t-1) + u)      [2]
                   n = tanh(W x_t + b + U (r h_(t-1)) + u)
                   h_t = (1 - z) h_(t-1) + z n
        vanilla    h_t = tanh(W x_t + b + U h_(t-1) + u)

    A condition is added to the gates of every step, V h.

    In parallel the cells start from zeros. A step, or a block of n elements, starts from the state of the scope and
    leaves its own there: entries "h" and, for an LSTM, "c", [B, units]. A block is how truncated back-propagation
    carries its state from one window to the next.

    W x of all elements is one matrix product; only U h is left for the loop over time. In half precision the matrix
    products are done in it, gates and state in float32.

    Args:
        units: size of the hidden state.
        cell: "lstm", "gru" or "vanilla".
        exclusive: True for the first layer of a network: the outputs are delayed by one element, and the first cell
            is given zeros. In a step the input is the previous element already.
        init_scale: None draws W by Glorot's rule, U orthogonal, and sets the biases to 0; a number s draws all of
            them from U(-s, s) (0.08 in [3]).
        forget_bias: initial b of an LSTM's forget gates (1 in [3]).

    Input shape `[B, T, C]`, output shape `[B, T, units]`.

    Raises:
        ValueError: units is not positive, or the cell is unknown.

    Example:
        >>> layer = Recurrent(3, cell="gru")
        >>> tuple(layer(tf.zeros([2, 5, 4])).shape)
        (2, 5, 3)

    References:
        [1] Hochreiter and Schmidhuber, Long Short-Term Memory, 1997; forget gates: Gers et al., 2000.
        [2] Cho et al., Learning Phrase Representations using RNN Encoder-Decoder, 2014.
        [3] Karpathy, char-rnn, https://github.com/karpathy/char-rnn, model/{LSTM,GRU,RNN}.lua, 2015.
    """

    def __init__(
        self,
        units: int,
        cell: str = "lstm",
        exclusive: bool = False,
        init_scale: float | None = None,
        forget_bias: float = 1.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_sizes(units=units)
        check_choice(tuple(GATES), cell=cell)
        self.units, self.cell, self.exclusive = units, cell, exclusive
        self.init_scale, self.forget_bias = init_scale, forget_bias

    def build(self, x_shape: tuple[int | None, ...], condition_shape: tuple[int | None, ...] | None = None) -> None:
        """Creates W, U, b, u and, with a condition, V."""
        size = GATES[self.cell] * self.units

        def initializer(default: str) -> Any:  # one for every weight: an initializer draws the same values again
            scale = self.init_scale
            return keras.initializers.get(default if scale is None else keras.initializers.RandomUniform(-scale, scale))

        def bias(shape: tuple[int, ...], dtype: Any = None) -> Any:
            values = initializer("zeros")(shape, dtype)
            if self.cell != "lstm":
                return values
            return keras.ops.where(np.arange(size) // self.units == 1, keras.ops.cast(self.forget_bias, dtype), values)

        def weight(name: str, shape: tuple[int, ...], initializer: Any) -> Any:
            return self.add_weight(shape=shape, initializer=initializer, name=name)

        self.kernel = weight("kernel", (x_shape[-1], size), initializer("glorot_uniform"))
        self.recurrent_kernel = weight("recurrent_kernel", (self.units, size), initializer("orthogonal"))
        # Two bias vectors, of which the sum matters, as in [3]: published parameter counts contain both.
        self.bias = weight("bias", (size,), bias)
        self.recurrent_bias = weight("recurrent_bias", (size,), initializer("zeros"))
        self.condition_kernel = None
        if condition_shape is not None:
            self.condition_kernel = weight(
                "condition_kernel", (condition_shape[-1], size), initializer("glorot_uniform")
            )

    def call(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """[B, T, C] and a condition [B, d] -> [B, T, units]."""
        scope = scopes.current()
        if scope is not None and scope.phase != "step":
            raise RuntimeError(f"layer {self.name!r} works on sequences and has no {scope.phase} phase")
        if scope is None and self.exclusive:
            x = tf.pad(x[:, :-1], [[0, 0], [1, 0], [0, 0]])
        # Time first, so that the loop reads whole rows; x has fewer features than the gates, so x is transposed.
        gates = tf.matmul(tf.transpose(x, [1, 0, 2]), tf.cast(self.kernel, x.dtype))
        # Not "+": in a batch of one, TensorFlow's graph optimizer merges sums of [1, n] and [n] into one that fails.
        gates = tf.nn.bias_add(gates, tf.cast(self.bias + self.recurrent_bias, x.dtype))
        if condition is not None:
            gates += tf.matmul(tf.cast(condition, x.dtype), tf.cast(self.condition_kernel, x.dtype))[None]
        gates = gates if x.dtype == tf.float64 else tf.cast(gates, tf.float32)
        shape = [batch_size(x), self.units]
        names = ("h", "c") if self.cell == "lstm" else ("h",)
        if scope is None:
            return self._run(gates, tuple(tf.zeros(shape, gates.dtype) for _ in names), x.dtype)[0]
        state = scope.state_of(self)
        before = tuple(state.read(name, shape, gates.dtype) for name in names)
        y, after = self._run(gates, before, x.dtype)
        for name, value in zip(names, after, strict=True):
            state.write(name, value)
        return y

    def _run(
        self, gates: tf.Tensor, state: tuple[tf.Tensor, ...], dtype: tf.DType
    ) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
        """Outputs [B, T, units] of `dtype` and the last state, for W x + b + u [T, B, gates] and the state before."""
        kernel = tf.cast(self.recurrent_kernel, dtype)
        if gates.shape[0] == 1:
            state = self._advance(gates[0], state, kernel)
            return tf.cast(state[0], dtype)[:, None], state
        length = tf.shape(gates)[0]
        unroll = _UNROLL if gates.shape[0] is not None and gates.shape[0] % _UNROLL == 0 else 1
        inputs = tf.TensorArray(gates.dtype, length, element_shape=gates.shape[1:]).unstack(gates)
        outputs = tf.TensorArray(gates.dtype, length, element_shape=[gates.shape[1], self.units])

        def body(t: tf.Tensor, state: tuple[tf.Tensor, ...], outputs: tf.TensorArray) -> tuple[Any, Any, Any]:
            for step in range(unroll):
                state = self._advance(inputs.read(t + step), state, kernel)
                outputs = outputs.write(t + step, state[0])
            return t + unroll, state, outputs

        _, state, outputs = tf.while_loop(
            lambda t, *_: t < length,
            body,
            (tf.constant(0), state, outputs),
            maximum_iterations=length // unroll,
            parallel_iterations=1,
        )
        return tf.transpose(tf.cast(outputs.stack(), dtype), [1, 0, 2]), state

    def _advance(self, gates: tf.Tensor, state: tuple[tf.Tensor, ...], kernel: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """One step of the cell: W x + b + u [B, gates] and the state before -> the state after, its first entry h."""
        h = state[0]

        def product(h: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
            return tf.cast(tf.matmul(tf.cast(h, kernel.dtype), kernel), h.dtype)

        if self.cell == "vanilla":
            return (tf.tanh(gates + product(h, kernel)),)
        if self.cell == "lstm":
            i, f, o, g = tf.split(gates + product(h, kernel), 4, -1)
            c = tf.sigmoid(f) * state[1] + tf.sigmoid(i) * tf.tanh(g)
            return tf.sigmoid(o) * tf.tanh(c), c
        both = 2 * self.units
        r, z = tf.split(tf.sigmoid(gates[:, :both] + product(h, kernel[:, :both])), 2, -1)
        n = tf.tanh(gates[:, both:] + product(r * h, kernel[:, both:]))
        return (h + z * (n - h),)

    def compute_output_shape(
        self, x_shape: tuple[int | None, ...], condition_shape: tuple[int | None, ...] | None = None
    ) -> tuple[int | None, ...]:
        """[B, T, units]."""
        return (*x_shape[:-1], self.units)
