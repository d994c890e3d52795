"""Continues sequences of symbols behind a prompt; shared by all ways of decoding."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import tensorflow as tf

from tfar.core.carry import Carry
from tfar.core.checks import checked_integer
from tfar.core.protocols import ArrayLike, Model
from tfar.core.request import Request
from tfar.sampling.incremental import blocks


class Continuation:
    """A model, its prompt and its condition, checked.

    Args:
        model: model of sequences with a discrete head.
        num: number of sequences.
        length: symbols of a sequence, the prompt included; the model's where its events have a length.
        prompt: first symbols, [n] for all or [num, n], or None.
        condition: values of the condition, [num, ...], or one value for all.
        jit_compile: compile loops with XLA.

    Attributes:
        stage: network, head and encoding.
        head: of the stage.
        levels: symbols of the head.
        prompt: int32 [num, prompt_length].
        context: the request with the condition's features, see `model.context`.
        compiled: the model's compiled functions.

    Raises:
        ValueError: an argument is out of range, or the model is none of sequences of symbols.
    """

    def __init__(
        self,
        model: Model,
        num: int,
        length: int | None,
        prompt: ArrayLike | None,
        condition: Any,
        jit_compile: bool,
    ):
        model = model.for_drawing()
        self.num = checked_integer("num", num, low=1)
        self.jit_compile, self.compiled = jit_compile, model.compiled_functions
        (self.stage,) = model.stages
        event, self.head = self.stage.event, self.stage.event.head
        levels = self.head.levels
        if levels is None or self.head.event_ndims or len(event.grid) != 1 or len(event.event_shape) != 1:
            raise ValueError(
                "decoding takes models of sequences of symbols, (length,) or (None,) with a discrete head, got "
                f"{type(model).__name__} of {event.event_shape} with {self.head!r}; use model.sample"
            )
        self.levels = levels
        self.length = _length(model, event.event_shape[0], length)
        prompt = np.zeros([0], np.int32) if prompt is None else np.asarray(prompt)
        if prompt.ndim not in (1, 2) or (prompt.ndim == 2 and len(prompt) != self.num):
            raise ValueError(f"prompt must have shape [n] or [{self.num}, n], got {prompt.shape}")
        self.prompt_length = prompt.shape[-1]
        if self.prompt_length > self.length:
            raise ValueError(f"length must cover the prompt of {self.prompt_length} symbols, got {self.length}")
        self.head.check(prompt, "prompt")
        self.context: Request = model.context(model.request(condition, self.num, (self.length,)))
        # Where all examples begin alike, the prompt is read once.
        self._shared = prompt.ndim == 1 and self.context.is_empty
        self.prompt = tf.constant(prompt if prompt.ndim == 2 else np.repeat(prompt[None], self.num, 0), tf.int32)
        if self.stage.order(self.context) is not None:
            raise ValueError(
                f"decoding takes models whose elements are drawn as stored, got {self.stage.orderings[0]!r}"
            )

    def check_symbol(self, name: str, symbol: Any) -> None:
        """Raises ValueError unless it is None or a symbol of the head."""
        if symbol is None:
            return
        if isinstance(symbol, bool) or not isinstance(symbol, int | np.integer) or not 0 <= symbol < self.levels:
            raise ValueError(f"{name} must be a symbol, 0 to {self.levels - 1}, got {symbol!r}")

    def run(self, name: Hashable, function: Callable[..., Any], *arguments: Any, jit_compile: bool = False) -> Any:
        """`function(*arguments)`, compiled once per name and shapes."""
        return self.compiled.run(("decode", name), function, *arguments, jit_compile=jit_compile)

    def read_prompt(self) -> tuple[Carry, tf.Tensor]:
        """Returns the carry behind the prompt, and the nats of the prompt [num]."""
        stage, prompt = self.stage, self.prompt[:1] if self._shared else self.prompt
        batch = int(prompt.shape[0])

        def read(carry: Carry, nats: tf.Tensor, symbols: tf.Tensor, context: Request) -> tuple[Carry, tf.Tensor]:
            outputs, carry = stage.read(carry, tf.cast(symbols, self.head.dtype)[..., None], context)
            costs = tf.gather(self.log_probs(outputs), symbols, axis=2, batch_dims=2)
            return carry, nats + tf.cast(tf.reduce_sum(costs, 1), tf.float32)

        carry = self.run(("begin", batch), lambda context: stage.begin(batch, context), self.context)
        nats, first = tf.zeros([batch]), 0
        for size in blocks(stage, self.prompt_length):
            carry, nats = self.run("read", read, carry, nats, prompt[:, first : first + size], self.context)
            first += size
        if not self._shared:
            return carry, nats
        every = tf.zeros([self.num], tf.int32)
        return self.run("repeat", stage.take, carry, every, self.context), tf.gather(nats, every)

    def logits(self, params: tf.Tensor) -> tf.Tensor:
        """Unnormalized log-probabilities [..., levels] of all symbols, at least float32."""
        return self.head.logits(params)

    def log_probs(self, params: tf.Tensor) -> tf.Tensor:
        """Log-probabilities [..., levels] of all symbols."""
        return tf.nn.log_softmax(self.logits(params))


def _length(model: Model, fixed: int | None, length: int | None) -> int:
    if length is None:
        if fixed is None:
            raise ValueError("length must be given: the model takes events of any length")
        return fixed
    length = checked_integer("length", length, low=1)
    longest = fixed or model.longest_event
    if longest is not None and length > longest:
        raise ValueError(f"length must be at most {longest} for this {type(model).__name__}, got {length}")
    return length
