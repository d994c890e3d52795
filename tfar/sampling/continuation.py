"""Sequences of symbols that go on behind a prompt: what every way of decoding has in common.

Everything works on a model's stage (network, head, encoding) with the incremental scope: the prompt is one block, taken
in parallel, then come steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfar.core.compiled import CompiledFunctions
from tfar.core.event import Stage
from tfar.core.scope import Incremental, State, initial_state, state_spec
from tfar.core.sizes import batch_size
from tfar.heads import Bernoulli, Categorical

Carry = dict[str, Any]


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
        prompt: int32 [num, prompt_length].
        context: what the network is told.
        shared: whether all rows begin alike, so that one is enough to read.
        compiled: the model's compiled functions.

    Raises:
        ValueError: an argument is out of range, or the model is none of sequences of symbols.
    """

    def __init__(self, model: Any, num: int, length: Any, prompt: Any, condition: Any, jit_compile: bool):
        if isinstance(num, bool) or not isinstance(num, int | np.integer) or num < 1:
            raise ValueError(f"num must be a positive integer, got {num!r}")
        self.stage: Stage = model.stage
        event, self.head = self.stage.event, self.stage.event.head
        self.num, self.jit_compile = int(num), jit_compile
        if self.head.levels is None or self.head.event_ndims or len(event.grid) != 1 or len(event.event_shape) != 1:
            raise ValueError(
                "decoding takes models of sequences of symbols, (length,) or (None,) with a discrete head, got "
                f"{type(model).__name__} of {event.event_shape} with {self.head!r}; use model.sample"
            )
        self.length = _length(model, event.event_shape[0], length)
        prompt = np.zeros([0], np.int32) if prompt is None else np.asarray(prompt)
        if prompt.ndim not in (1, 2) or (prompt.ndim == 2 and len(prompt) != self.num):
            raise ValueError(f"prompt must have shape [n] or [{self.num}, n], got {prompt.shape}")
        self.prompt_length = prompt.shape[-1]
        if self.prompt_length > self.length:
            raise ValueError(f"length must cover the prompt of {self.prompt_length} symbols, got {self.length}")
        self.head.check(prompt, "prompt")
        self.context = model.context(model._check_condition(condition, self.num, (self.length,)))
        # Where all rows begin alike, the prompt is read once.
        self.shared = prompt.ndim == 1 and self.context is None
        self.prompt = tf.constant(prompt if prompt.ndim == 2 else np.repeat(prompt[None], self.num, 0), tf.int32)
        if self.stage.order(self.context) is not None:
            raise ValueError(f"decoding takes models whose elements are drawn as stored, got {self.stage.ordering!r}")
        self.compiled: CompiledFunctions = getattr(model, "_compiled", None) or CompiledFunctions()

    def check_symbol(self, name: str, symbol: Any) -> None:
        """Raises ValueError unless it is None or a symbol of the head."""
        if symbol is None:
            return
        if isinstance(symbol, bool) or not isinstance(symbol, int | np.integer) or not 0 <= symbol < self.head.levels:
            raise ValueError(f"{name} must be a symbol, 0 to {self.head.levels - 1}, got {symbol!r}")

    # The network.

    def encode(self, values: tf.Tensor) -> tf.Tensor:
        """Symbols [B, n] -> input of the network [B, n, F]."""
        return self.stage.encode(tf.cast(values, self.head.dtype)[..., None])

    def next_parameters(self, carry: Carry, context: Any, t: tf.Tensor) -> tuple[tf.Tensor, State]:
        """Parameters [B, P] of element t, and the state behind it."""
        with Incremental(carry["state"], at=t) as scope:
            outputs = self.stage.run(carry["previous"], context)[:, 0]
        return outputs, scope.state

    def _inputs(self) -> Mapping[str, tuple[int | None, ...]]:
        return {"step": (1, self.encode(tf.zeros([1, 1], tf.int32)).shape[-1])}

    def read_prompt(self, prompt: tf.Tensor, context: Any) -> Carry:
        """State, last element and nats of prompts [B, n], taken in one block."""
        encoded = self.encode(prompt if self.prompt_length else tf.zeros([batch_size(prompt), 1], tf.int32))
        batch = batch_size(encoded)
        state = initial_state(self.stage.network, batch, self._inputs(), context)
        previous, log_prob = tf.zeros_like(encoded[:, :1]), tf.zeros([batch])
        if self.prompt_length:
            with Incremental(state, at=0, length=self.prompt_length) as scope:
                outputs = self.stage.run(tf.concat([previous, encoded[:, :-1]], 1), context)
            state, previous = scope.state, encoded[:, -1:]
            costs = tf.nn.log_softmax(level_logits(self.head, outputs))
            costs = tf.gather(costs, prompt, axis=2, batch_dims=2)
            log_prob = tf.cast(tf.reduce_sum(costs, 1), tf.float32)
        return {"state": state, "previous": previous, "log_prob": log_prob}

    def batch_axes(self, context: Any) -> dict[str, int | None]:
        """Where the rows of the batch stand in every entry of the state."""
        spec = state_spec(self.stage.network, self._inputs(), context)
        return {key: item.shape.as_list().index(None) if None in item.shape else None for key, item in spec.items()}

    def take_rows(self, carry: Carry, rows: tf.Tensor, context: Any) -> Carry:
        """What is carried, for other rows of the batch."""
        state = gather_rows(carry["state"], self.batch_axes(context), rows)
        rest = {key: tf.gather(value, rows) for key, value in carry.items() if key != "state"}
        return {"state": state, **rest}


def level_logits(head: Any, params: tf.Tensor) -> tf.Tensor:
    """Unnormalized log-probabilities [..., levels] of all symbols, from the parameters [..., P] of a discrete head."""
    params = params if params.dtype == tf.float64 else tf.cast(params, tf.float32)
    if isinstance(head, Categorical):
        return params
    if isinstance(head, Bernoulli):
        return tf.concat([tf.zeros_like(params), params], -1)
    return head.log_prob(params[..., None, :], tf.range(head.levels))


def gather_rows(state: State, axes: Mapping[str, int | None], rows: tf.Tensor) -> State:
    """The state of other rows of the batch: of the beams that are continued."""
    return {key: value if axes[key] is None else tf.gather(value, rows, axis=axes[key]) for key, value in state.items()}


def _length(model: Any, fixed: int | None, length: Any) -> int:
    if length is None:
        if fixed is None:
            raise ValueError("length must be given: the model takes events of any length")
        return fixed
    if isinstance(length, bool) or not isinstance(length, int | np.integer) or length < 1:
        raise ValueError(f"length must be a positive integer, got {length!r}")
    longest = fixed or getattr(model, "longest_event", None)
    if longest is not None and length > longest:
        raise ValueError(f"length must be at most {longest} for this {type(model).__name__}, got {length}")
    return int(length)
