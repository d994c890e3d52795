"""Decoding of sequences of symbols: greedy, by chance (whole, top-k, top-p), and by beam search.

    strategy       the next symbol
    "ancestral"    drawn from p(x_t | x_<t), sharpened or flattened by a temperature
    "greedy"       the most probable one
    top_k=k        drawn from the k most probable ones
    top_p=p        drawn from the fewest symbols that have probability p together (nucleus sampling [1])
    beam search    the `width` most probable beginnings are kept, whatever their last symbols

Everything works on a model's stage (network, head, encoding) with the incremental scope: a prompt is one block, taken
in parallel, then come steps. Draws are functions of noise, as in `model.sample`; greedy and beam search need none.

References:
    [1] Holtzman et al., The Curious Case of Neural Text Degeneration, 2020.
    [2] Wu et al., Google's Neural Machine Translation System, 2016, section 7 (length penalty).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfar.core import noise as noises
from tfar.core.compiled import CompiledFunctions
from tfar.core.event import Stage
from tfar.core.scope import Incremental, State, initial_state, state_spec
from tfar.heads import Bernoulli, Categorical
from tfar.heads.head import index_from_uniform

STRATEGIES = ("ancestral", "greedy")

Carry = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Decoded:
    """Decoded sequences.

    Attributes:
        x: int32 [num, length], the prompt included; behind a stop symbol the stop symbol is repeated.
        lengths: int32 [num], symbols up to and with the stop symbol.
        log_prob: float32 [num], nats of those symbols under the model (at temperature 1), the prompt's included.
    """

    x: np.ndarray
    lengths: np.ndarray
    log_prob: np.ndarray

    def rows(self) -> list[np.ndarray]:
        """Every sequence without what follows its stop symbol."""
        return [row[:length] for row, length in zip(self.x, self.lengths, strict=True)]


@dataclasses.dataclass(frozen=True)
class Beams:
    """What a beam search found, the best first; [rows, width, ...] where several prompts were given.

    Attributes:
        x: int32 [width, length]; behind an end symbol the end symbol is repeated.
        lengths: int32 [width], symbols up to and with the end symbol.
        log_prob: float32 [width], nats of those symbols, the prompt's included; -inf where there are fewer sequences
            than beams.
        scores: float32 [width], by which they are ranked: `log_prob` of what follows the prompt, over the penalty.
    """

    x: np.ndarray
    lengths: np.ndarray
    log_prob: np.ndarray
    scores: np.ndarray


def decode(
    model: Any,
    num: int = 1,
    *,
    length: int | None = None,
    prompt: Any = None,
    strategy: str = "ancestral",
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    stop: int | None = None,
    condition: Any = None,
    seed: Any = None,
    noise: Any = None,
    jit_compile: bool = True,
) -> Decoded:
    """Continues a prompt, or begins anew, `num` times.

    Args:
        model: model of sequences with a discrete head.
        num: number of sequences.
        length: symbols of a sequence, the prompt included; the model's where its events have a length.
        prompt: first symbols, [n] for all or [num, n]; taken in one parallel pass.
        strategy: "ancestral" or "greedy".
        temperature: positive; logits are divided by it before symbols are left out.
        top_k: draw among the k most probable symbols.
        top_p: draw among the fewest most probable symbols that have this probability together, 0 < p <= 1.
        stop: a symbol behind which a sequence ends.
        condition: values of the condition, [num, ...], or one value for all.
        seed: an int s (row r uses [s, r]), int64 [num, 2], or None for entropy of the operating system.
        noise: uniform numbers in (0, 1) instead of a seed, [num, length, `head.noise_size`].
        jit_compile: compile the loop with XLA.

    Returns:
        The sequences with their log-probabilities.

    Raises:
        ValueError: an argument is out of range, or the model is none of sequences of symbols.

    Example:
        The example of every lecture: trained on "hello", it says so.

        >>> import keras, tfar
        >>> keras.utils.set_random_seed(0)
        >>> model = tfar.models.CausalTransformer(
        ...     (None,), tfar.heads.Categorical(4), width=16, num_layers=1, num_heads=2, vocabulary="ehlo")
        >>> text = model.text_vocabulary
        >>> model.compile(keras.optimizers.Adam(0.01), jit_compile=False)
        >>> hello = text.encode("hello")[None]
        >>> _ = model.fit(tf.data.Dataset.from_tensors({"x": hello}).repeat(40), verbose=0)
        >>> found = decode(model, length=5, prompt=text.encode("h"), strategy="greedy", jit_compile=False)
        >>> text.decode(found.x[0])
        'hello'
    """
    decoding = _Decoding(model, num, length, prompt, condition, jit_compile)
    choice = decoding.choice(strategy, temperature, top_k, top_p, stop, seed, noise)
    carry = decoding.start(choice)
    carry = decoding.advance(carry, choice, decoding.prompt_length, decoding.length)
    return Decoded(carry["x"].numpy().T, carry["lengths"].numpy(), carry["log_prob"].numpy())


def stream(
    model: Any,
    num: int = 1,
    *,
    length: int | None = None,
    prompt: Any = None,
    strategy: str = "ancestral",
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    stop: int | None = None,
    condition: Any = None,
    seed: Any = None,
    noise: Any = None,
    jit_compile: bool = True,
    chunk: int = 16,
) -> Iterator[np.ndarray]:
    """`decode`, piece by piece: yields what was decoded as soon as it is there.

    Args:
        model: as in `decode`, and so are all arguments but the last.
        num: as in `decode`.
        length: as in `decode`.
        prompt: as in `decode`; it is not yielded.
        strategy: as in `decode`.
        temperature: as in `decode`.
        top_k: as in `decode`.
        top_p: as in `decode`.
        stop: as in `decode`; where all sequences have ended, no more pieces follow.
        condition: as in `decode`.
        seed: as in `decode`.
        noise: as in `decode`.
        jit_compile: as in `decode`.
        chunk: symbols of a piece.

    Yields:
        int32 [num, n], n at most `chunk`: the pieces together are what `decode` gives behind the prompt, up to the
        last stop symbol.

    Raises:
        ValueError: as in `decode`.
    """
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1, got {chunk}")
    decoding = _Decoding(model, num, length, prompt, condition, jit_compile)
    choice = decoding.choice(strategy, temperature, top_k, top_p, stop, seed, noise)
    return _pieces(decoding, choice, chunk)


def _pieces(decoding: _Decoding, choice: _Choice, chunk: int) -> Iterator[np.ndarray]:
    carry = decoding.start(choice)
    for begin in range(decoding.prompt_length, decoding.length, chunk):
        if bool(tf.reduce_all(carry["done"])):
            return
        end = min(begin + chunk, decoding.length)
        carry = decoding.advance(carry, choice, begin, end)
        last = int(tf.reduce_max(carry["lengths"]))
        yield carry["x"][begin : min(end, last)].numpy().T


def beam_search(
    model: Any,
    width: int,
    *,
    length: int | None = None,
    prompt: Any = None,
    end: int | None = None,
    length_penalty: float = 0.0,
    condition: Any = None,
    jit_compile: bool = True,
) -> Beams:
    """Searches for the most probable sequence.

        score = log p(continuation | prompt) / ((5 + symbols of the continuation) / 6)^length_penalty    [2]

    All continuations of all beams by one symbol are ranked, and the best `width` of them are the next beams. A beam
    that has ended stays among them with the score that it has, until `width` others are better.

    Args:
        model: model of sequences with a discrete head.
        width: beams; 1 is greedy decoding.
        length: symbols of a sequence, the prompt included; the model's where its events have a length.
        prompt: first symbols, [n], or [rows, n] for several searches at once.
        end: a symbol behind which a sequence ends.
        length_penalty: 0 ranks by probability; greater values favour longer sequences.
        condition: a value of the condition, or one per row.
        jit_compile: compile the loop with XLA.

    Returns:
        The beams, the best first.

    Raises:
        ValueError: an argument is out of range, or the model is none of sequences of symbols.
    """
    if isinstance(width, bool) or not isinstance(width, int | np.integer) or width < 1:
        raise ValueError(f"width must be a positive integer, got {width!r}")
    if not np.isfinite(length_penalty) or length_penalty < 0:
        raise ValueError(f"length_penalty must be a number of at least 0, got {length_penalty!r}")
    several = np.ndim(prompt) == 2
    decoding = _Decoding(model, len(prompt) if several else 1, length, prompt, condition, jit_compile)
    decoding.check_symbol("end", end)
    found = decoding.search(int(width), end, float(length_penalty))
    found = {key: value.numpy() if several else value.numpy()[0] for key, value in found.items()}
    return Beams(found["x"], found["lengths"], found["log_prob"], found["scores"])


# === The parts ===


@dataclasses.dataclass(frozen=True)
class _Choice:
    """How a symbol is chosen; what is static decides on the graph, the tensors are its arguments.

    Attributes:
        greedy: take the most probable symbol.
        some: leave symbols out by `top_k` or `top_p`.
        stop: the stop symbol, or -1.
        noise: float32 [length, num, k], or None where greedy.
        temperature: float32 [].
        top_k: int32 [].
        top_p: float32 [].
    """

    greedy: bool
    some: bool
    stop: int
    noise: Any
    temperature: Any
    top_k: Any
    top_p: Any

    @property
    def key(self) -> tuple[Any, ...]:
        """What the graph depends on."""
        return self.greedy, self.some, self.stop

    @property
    def tensors(self) -> tuple[Any, ...]:
        """What the graph is given."""
        return self.noise, self.temperature, self.top_k, self.top_p


class _Decoding:
    """One call: a model, its prompt and condition, checked."""

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

    def choice(
        self, strategy: str, temperature: Any, top_k: Any, top_p: Any, stop: Any, seed: Any, noise: Any
    ) -> _Choice:
        """Checks how symbols are chosen; makes noise of seeds."""
        if strategy not in STRATEGIES:
            raise ValueError(f"strategy must be one of {STRATEGIES}, got {strategy!r}")
        greedy = strategy == "greedy"
        if greedy and (top_k is not None or top_p is not None):
            raise ValueError("top_k and top_p are for strategy='ancestral', got strategy='greedy'")
        if isinstance(temperature, bool) or not np.isfinite(temperature) or temperature <= 0:
            raise ValueError(f"temperature must be a positive number, got {temperature!r}")
        if top_k is not None and (isinstance(top_k, bool) or not isinstance(top_k, int | np.integer) or top_k < 1):
            raise ValueError(f"top_k must be a positive integer, got {top_k!r}")
        if top_p is not None and not 0 < top_p <= 1:
            raise ValueError(f"top_p must lie in 0 < p <= 1, got {top_p!r}")
        self.check_symbol("stop", stop)
        if not greedy:
            size = self.head.noise_size
            if noise is None:
                seeds = noises.seed_rows(seed, self.num)
                uniform = lambda seeds: noises.uniform(seeds, self.length, size)  # noqa: E731
                noise = self.compiled.run(("noise", self.length), uniform, seeds, jit_compile=self.jit_compile)
            noise = tf.cast(noise, tf.float32)
            if noise.shape != (self.num, self.length, size):
                raise ValueError(f"noise must have shape {(self.num, self.length, size)}, got {tuple(noise.shape)}")
            noise = tf.transpose(noise, [1, 0, 2])
        return _Choice(
            greedy,
            top_k is not None or (top_p is not None and top_p < 1),
            -1 if stop is None else int(stop),
            None if greedy else noise,
            tf.constant(temperature, tf.float32),
            tf.constant(min(top_k or self.head.levels, self.head.levels), tf.int32),
            tf.constant(top_p or 1.0, tf.float32),
        )

    def start(self, choice: _Choice) -> Carry:
        """The carry behind the prompt."""
        name = ("decode start", self.length, self.prompt_length, self.num, self.shared, choice.stop)

        def start(prompt: tf.Tensor, context: Any) -> Carry:
            carry = self._read_prompt(prompt[:1] if self.shared else prompt, context)
            if self.shared:
                carry = self._take_rows(carry, tf.zeros([self.num], tf.int32), context)
            # A stop symbol inside of the prompt ends nothing.
            x = tf.pad(tf.transpose(prompt), [[0, self.length - self.prompt_length], [0, 0]])
            fill = tf.range(self.length)[:, None] >= self.prompt_length
            x = tf.where(fill, max(choice.stop, 0), x)
            lengths = tf.fill([self.num], self.prompt_length)
            return {**carry, "x": x, "lengths": lengths, "done": tf.zeros([self.num], tf.bool)}

        return self.compiled.run(name, start, self.prompt, self.context)

    def advance(self, carry: Carry, choice: _Choice, begin: int, end: int) -> Carry:
        """Decodes symbols begin, ..., end - 1."""

        def advance(carry: Carry, tensors: Any, context: Any, begin: tf.Tensor, end: tf.Tensor) -> Carry:
            given = _Choice(*choice.key, *tensors)

            def step(t: tf.Tensor, carry: Carry) -> tuple[tf.Tensor, Carry]:
                return t + 1, self._step(carry, given, context, t)

            def goes_on(t: tf.Tensor, carry: Carry) -> tf.Tensor:
                return (t < end) & ~tf.reduce_all(carry["done"])

            return tf.while_loop(goes_on, step, (begin, carry), parallel_iterations=1)[1]

        span = tf.constant(begin), tf.constant(end)
        name = ("decode", *choice.key)
        return self.compiled.run(
            name, advance, carry, choice.tensors, self.context, *span, jit_compile=self.jit_compile
        )

    def _step(self, carry: Carry, choice: _Choice, context: Any, t: tf.Tensor) -> Carry:
        params, state = self._next(carry, context, t)
        logits = level_logits(self.head, params)
        if choice.greedy:
            value = tf.argmax(logits, -1, output_type=tf.int32)
        elif choice.some:
            kept = keep_probable(logits / choice.temperature, choice.top_k, choice.top_p)
            value = index_from_uniform(kept, choice.noise[t][:, 0])
        else:
            value = tf.cast(self.head.sample(params, choice.noise[t], choice.temperature), tf.int32)
        done = carry["done"]
        if choice.stop >= 0:
            value = tf.where(done, choice.stop, value)
        cost = tf.gather(tf.nn.log_softmax(logits), value, axis=1, batch_dims=1)
        return {
            "state": state,
            "previous": self._encode(value[:, None]),
            "x": tf.tensor_scatter_nd_update(carry["x"], [[t]], value[None]),
            "log_prob": carry["log_prob"] + tf.where(done, 0.0, tf.cast(cost, tf.float32)),
            "lengths": carry["lengths"] + tf.cast(~done, tf.int32),
            "done": done | (value == choice.stop),
        }

    # Beam search.

    def search(self, width: int, end: int | None, length_penalty: float) -> dict[str, tf.Tensor]:
        """The beams of every row: x [R, W, length], lengths, log_prob and scores [R, W]."""
        rows, levels, first = self.num, self.head.levels, self.prompt_length
        beams = tf.repeat(tf.range(rows), width)

        def ranked(log_prob: tf.Tensor, lengths: tf.Tensor, base: tf.Tensor) -> tf.Tensor:
            """Scores of beams [R, ...]; `base` are the nats of the prompts."""
            count = tf.cast(lengths - first, tf.float32)
            return (log_prob - base) / ((5.0 + count) / 6.0) ** length_penalty

        def search(prompt: tf.Tensor, context: Any) -> dict[str, tf.Tensor]:
            carry = self._read_prompt(prompt, context)
            base = carry["log_prob"]
            # All beams begin alike, so only the first of each row is in the race.
            others = tf.where(tf.range(width) == 0, 0.0, -np.inf)
            context = tf.nest.map_structure(lambda x: x if x is None else tf.gather(x, beams), context)
            axes = self._batch_axes(context)
            x = tf.pad(tf.gather(prompt, beams), [[0, 0], [0, self.length - first]], constant_values=end or 0)
            carry = {
                "state": _gather_rows(carry["state"], axes, beams),
                "previous": tf.gather(carry["previous"], beams),
                "x": tf.reshape(x, [rows, width, self.length]),
                "log_prob": base[:, None] + others,
                "lengths": tf.fill([rows, width], first),
                "done": tf.zeros([rows, width], tf.bool),
            }

            def step(t: tf.Tensor, carry: Carry) -> tuple[tf.Tensor, Carry]:
                params, state = self._next(carry, context, t)
                costs = tf.cast(tf.nn.log_softmax(level_logits(self.head, params)), tf.float32)
                costs = tf.reshape(costs, [rows, width, levels])
                done = carry["done"][..., None]
                # What has ended goes on in one way, which costs nothing.
                idle = tf.where(tf.range(levels) == (0 if end is None else end), 0.0, -np.inf)
                log_prob = carry["log_prob"][..., None] + tf.where(done, idle, costs)
                lengths = carry["lengths"][..., None] + tf.cast(~done, tf.int32)
                scores = ranked(log_prob, lengths, base[:, None, None])
                best = tf.math.top_k(tf.reshape(scores, [rows, width * levels]), width).indices
                parent, value = best // levels, best % levels
                take = lambda x: tf.gather(x, parent, axis=1, batch_dims=1)  # noqa: E731
                flat = tf.reshape(parent + width * tf.range(rows)[:, None], [-1])
                here = tf.range(self.length) == t
                ended = take(carry["done"])
                return t + 1, {
                    "state": _gather_rows(state, axes, flat),
                    "previous": self._encode(tf.reshape(value, [-1, 1])),
                    "x": tf.where(here, value[..., None], take(carry["x"])),
                    "log_prob": tf.gather(tf.reshape(log_prob, [rows, -1]), best, axis=1, batch_dims=1),
                    "lengths": take(carry["lengths"]) + tf.cast(~ended, tf.int32),
                    "done": ended | (value == (-1 if end is None else end)),
                }

            def goes_on(t: tf.Tensor, carry: Carry) -> tf.Tensor:
                return (t < self.length) & ~tf.reduce_all(carry["done"])

            _, carry = tf.while_loop(goes_on, step, (tf.constant(first), carry), parallel_iterations=1)
            found = {key: carry[key] for key in ("x", "lengths", "log_prob")}
            return {**found, "scores": ranked(found["log_prob"], found["lengths"], base[:, None])}

        name = ("beam search", self.length, first, rows, width, end, length_penalty)
        return self.compiled.run(name, search, self.prompt, self.context, jit_compile=self.jit_compile)

    # The network.

    def _encode(self, values: tf.Tensor) -> tf.Tensor:
        """Symbols [B, n] -> input of the network [B, n, F]."""
        return self.stage.encode(tf.cast(values, self.head.dtype)[..., None])

    def _next(self, carry: Carry, context: Any, t: tf.Tensor) -> tuple[tf.Tensor, State]:
        """Parameters [B, P] of element t, and the state behind it."""
        with Incremental(carry["state"], at=t) as scope:
            outputs = self.stage.run(carry["previous"], context)[:, 0]
        return outputs, scope.state

    def _inputs(self) -> Mapping[str, tuple[int | None, ...]]:
        return {"step": (1, self._encode(tf.zeros([1, 1], tf.int32)).shape[-1])}

    def _read_prompt(self, prompt: tf.Tensor, context: Any) -> Carry:
        """State, last element and nats of prompts [B, n], taken in one block."""
        encoded = self._encode(prompt if self.prompt_length else tf.zeros([tf.shape(prompt)[0], 1], tf.int32))
        batch = tf.shape(encoded)[0]
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

    def _batch_axes(self, context: Any) -> dict[str, int | None]:
        """Where the rows of the batch stand in every entry of the state."""
        spec = state_spec(self.stage.network, self._inputs(), context)
        return {key: item.shape.as_list().index(None) if None in item.shape else None for key, item in spec.items()}

    def _take_rows(self, carry: Carry, rows: tf.Tensor, context: Any) -> Carry:
        state = _gather_rows(carry["state"], self._batch_axes(context), rows)
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


def keep_probable(logits: tf.Tensor, top_k: tf.Tensor, top_p: tf.Tensor) -> tf.Tensor:
    """Logits [..., n] with -inf in place of what is not among the most probable.

    Args:
        logits: [..., n].
        top_k: int32 [], how many are kept at most.
        top_p: float32 []; the fewest that have this probability together are kept, at least one.

    Returns:
        [..., n].
    """
    order = tf.argsort(logits, direction="DESCENDING", stable=True)
    probs = tf.nn.softmax(tf.gather(logits, order, axis=-1, batch_dims=logits.shape.rank - 1))
    before = tf.cumsum(probs, axis=-1, exclusive=True)
    rank = tf.range(logits.shape[-1])
    kept = (rank < top_k) & ((before < tf.cast(top_p, probs.dtype)) | (top_p >= 1.0) | (rank == 0))
    places = tf.argsort(order)
    kept = tf.gather(kept, places, axis=-1, batch_dims=logits.shape.rank - 1)
    return tf.where(kept, logits, tf.constant(-np.inf, logits.dtype))


def _gather_rows(state: State, axes: Mapping[str, int | None], rows: tf.Tensor) -> State:
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
