"""Decoding of sequences of symbols: greedy, or by chance (whole, top-k, top-p). beams.py has beam search.

    strategy       the next symbol
    "ancestral"    drawn from p(x_t | x_<t), sharpened or flattened by a temperature
    "greedy"       the most probable one
    top_k=k        drawn from the k most probable ones
    top_p=p        drawn from the fewest symbols that have probability p together (nucleus sampling [1])

Draws are functions of noise, as in `model.sample`; greedy decoding needs none.

References:
    [1] Holtzman et al., The Curious Case of Neural Text Degeneration, 2020.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfar.core import noise as noises
from tfar.core.carry import Carry, Site
from tfar.core.checks import check_choice, check_sizes, checked_integer
from tfar.core.protocols import ArrayLike, Head, Model
from tfar.core.rewinding import rewindable_positions
from tfar.core.slicing import put
from tfar.heads.head import index_from_uniform
from tfar.sampling.continuation import Continuation
from tfar.sampling.speculative import Speculated, Speculation, Speculative

STRATEGIES = ("ancestral", "greedy")


@dataclasses.dataclass(frozen=True)
class Decoded:
    """Decoded sequences.

    Attributes:
        x: int32 [num, length], the prompt included; behind a stop symbol the stop symbol is repeated.
        lengths: int32 [num], symbols up to and with the stop symbol.
        log_prob: float32 [num], nats of those symbols under the model (at temperature 1), the prompt's included.
        speculation: what the proposals of a draft were worth; None without one.
    """

    x: np.ndarray
    lengths: np.ndarray
    log_prob: np.ndarray
    speculation: Speculation | None = None

    def rows(self) -> list[np.ndarray]:
        """Every sequence without what follows its stop symbol."""
        return [row[:length] for row, length in zip(self.x, self.lengths, strict=True)]


def decode(
    model: Model,
    num: int = 1,
    *,
    length: int | None = None,
    prompt: ArrayLike | None = None,
    strategy: str = "ancestral",
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    stop: int | None = None,
    condition: Any = None,
    seed: Any = None,
    noise: ArrayLike | None = None,
    jit_compile: bool = True,
    draft: Model | None = None,
    draft_steps: int = 8,
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
        seed: an int s (example r uses [s, r]), int64 [num, 2], or None for entropy of the operating system.
        noise: uniform numbers in (0, 1) instead of a seed, [num, length, `head.noise_size`].
        jit_compile: compile the loop with XLA.
        draft: a small model of the same symbols that proposes what the model then checks, several symbols in a pass;
            the text stays that of the model alone, see `tfar.sampling.speculative`. It gets the condition, if it takes
            one.
        draft_steps: symbols that a pass checks.

    Returns:
        The sequences with their log-probabilities.

    Raises:
        ValueError: an argument is out of range, or the model is none of sequences of symbols.

    Example:
        A model trained on "hello" continues "h" to "hello".

        >>> import keras, tfar
        >>> keras.utils.set_random_seed(0)
        >>> model = tfar.models.CharRNN((None,), tfar.heads.Categorical(4), units=16, vocabulary="ehlo")
        >>> text = model.text_vocabulary
        >>> model.compile(keras.optimizers.Adam(0.1), jit_compile=False)
        >>> hello = text.encode("hello")[None]
        >>> _ = model.fit(tf.data.Dataset.from_tensors({"x": hello}).repeat(15), verbose=0)
        >>> found = decode(model, length=5, prompt=text.encode("h"), strategy="greedy", jit_compile=False)
        >>> text.decode(found.x[0])
        'hello'
    """
    decoding = _Decoding(model, num, length, prompt, condition, jit_compile)
    choice = decoding.choice(strategy, temperature, top_k, top_p, stop, seed, noise)
    speculation, text = None, decoding.start(choice)
    if draft is not None:
        other = decoding.of_draft(draft, model, prompt, condition)
        text, speculation = decoding.speculate(text, choice, other, checked_integer("draft_steps", draft_steps, low=1))
    text = decoding.advance(text, choice, decoding.length)
    return Decoded(text.x.numpy().T, text.lengths.numpy(), text.log_prob.numpy(), speculation)


def stream(
    model: Model,
    num: int = 1,
    *,
    length: int | None = None,
    prompt: ArrayLike | None = None,
    strategy: str = "ancestral",
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    stop: int | None = None,
    condition: Any = None,
    seed: Any = None,
    noise: ArrayLike | None = None,
    jit_compile: bool = True,
    chunk: int = 16,
) -> Iterator[np.ndarray]:
    """Decodes as `decode` does, and yields each piece as soon as it is decoded.

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
    check_sizes(chunk=chunk)
    decoding = _Decoding(model, num, length, prompt, condition, jit_compile)
    choice = decoding.choice(strategy, temperature, top_k, top_p, stop, seed, noise)
    return _pieces(decoding, choice, chunk)


def _pieces(decoding: _Decoding, choice: _Choice, chunk: int) -> Iterator[np.ndarray]:
    text = decoding.start(choice)
    for begin in range(decoding.prompt_length, decoding.length, chunk):
        if bool(tf.reduce_all(text.done)):
            return
        end = min(begin + chunk, decoding.length)
        text = decoding.advance(text, choice, end)
        last = int(tf.reduce_max(text.lengths))
        yield text.x[begin : min(end, last)].numpy().T


class _Text(NamedTuple):
    """Partly decoded sequences: the carry, int32 x [length, num], and the attributes of `Decoded` by sequence."""

    carry: Carry
    x: tf.Tensor
    lengths: tf.Tensor
    log_prob: tf.Tensor
    done: tf.Tensor


@dataclasses.dataclass(frozen=True)
class _Choice:
    """The rule by which a symbol is chosen: static options select the graph, tensors are its arguments.

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
        """Options that choose the graph."""
        return self.greedy, self.some, self.stop

    @property
    def tensors(self) -> tuple[Any, ...]:
        """Tensors that the graph takes."""
        return self.noise, self.temperature, self.top_k, self.top_p

    def rule(self, head: Head, params: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
        """Chooses symbols, int32 [..., B], by parameters [..., B, P] at places [...] of the sequences."""
        if self.greedy:
            return tf.argmax(head.logits(params), -1, output_type=tf.int32)
        noise = tf.gather(self.noise, place)
        if self.some:
            kept = keep_probable(head.logits(params) / self.temperature, self.top_k, self.top_p)
            return index_from_uniform(kept, noise[..., 0])
        return tf.cast(head.sample(params, noise, self.temperature), tf.int32)


class _Decoding(Continuation):
    """One call of `decode` or `stream`."""

    def choice(
        self, strategy: str, temperature: Any, top_k: Any, top_p: Any, stop: Any, seed: Any, noise: Any
    ) -> _Choice:
        """Checks how symbols are chosen; makes noise of seeds."""
        check_choice(STRATEGIES, strategy=strategy)
        greedy = strategy == "greedy"
        if greedy and (top_k is not None or top_p is not None):
            raise ValueError("top_k and top_p are for strategy='ancestral', got strategy='greedy'")
        if isinstance(temperature, bool) or not np.isfinite(temperature) or temperature <= 0:
            raise ValueError(f"temperature must be a positive number, got {temperature!r}")
        top_k = None if top_k is None else checked_integer("top_k", top_k, low=1)
        if top_p is not None and not 0 < top_p <= 1:
            raise ValueError(f"top_p must lie in 0 < p <= 1, got {top_p!r}")
        self.check_symbol("stop", stop)
        if not greedy:
            size = self.head.noise_size
            if noise is None:
                seeds = noises.seed_rows(seed, self.num)
                uniform = lambda seeds: noises.uniform(seeds, self.length, size)  # noqa: E731
                noise = self.run(("noise", self.length), uniform, seeds, jit_compile=self.jit_compile)
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
            tf.constant(min(top_k or self.levels, self.levels), tf.int32),
            tf.constant(top_p or 1.0, tf.float32),
        )

    def start(self, choice: _Choice) -> _Text:
        """Reads the prompt; returns the text so far."""
        carry, nats = self.read_prompt()
        # A stop symbol inside of the prompt ends nothing.
        rest = [[0, self.length - self.prompt_length], [0, 0]]
        x = tf.pad(tf.transpose(self.prompt), rest, constant_values=max(choice.stop, 0))
        return _Text(carry, x, tf.fill([self.num], self.prompt_length), nats, tf.zeros([self.num], tf.bool))

    def advance(self, text: _Text, choice: _Choice, end: int) -> _Text:
        """Decodes up to symbol end - 1."""

        def advance(text: _Text, tensors: Any, context: Any, end: tf.Tensor) -> _Text:
            given = _Choice(*choice.key, *tensors)

            def step(text: _Text) -> tuple[_Text]:
                choose = functools.partial(self._choose, given)
                value, carry, counts = self.stage.draw(text.carry, choose, text[2:], context)
                x = put(text.x, text.carry.position, tf.cast(value[:, 0], tf.int32))
                return (_Text(carry, x, *counts),)

            def goes_on(text: _Text) -> tf.Tensor:
                return (text.carry.position < end) & ~tf.reduce_all(text.done)

            return tf.while_loop(goes_on, step, (text,), parallel_iterations=1)[0]

        given = (text, choice.tensors, self.context, tf.constant(end))
        return self.run(choice.key, advance, *given, jit_compile=self.jit_compile)

    def of_draft(self, draft: Any, model: Model, prompt: Any, condition: Any) -> Continuation:
        """Checks a draft model; returns it behind the same prompt."""
        if not hasattr(draft, "for_drawing"):
            raise ValueError(f"draft must be a model of sequences of symbols, got {draft!r}")
        told = condition if getattr(draft, "condition", None) is not None else None
        other = Continuation(draft, self.num, self.length, prompt, told, self.jit_compile)
        if (other.levels, other.head.noise_size) != (self.levels, self.head.noise_size):
            raise ValueError(f"draft must be a model of the same {self.levels} symbols, got {other.head!r}")
        texts: list[Any] = [getattr(each, "text_vocabulary", None) for each in (model, draft)]
        if None not in texts and texts[0].characters != texts[1].characters:
            raise ValueError("draft must have the vocabulary of the model, got other characters or another order")
        return other

    def speculate(self, text: _Text, choice: _Choice, draft: Continuation, steps: int) -> tuple[_Text, Speculation]:
        """Decodes with proposals of a draft, as far as whole windows of `steps` symbols go."""
        rewinds = self.length <= rewindable_positions(self.stage, self.context)

        def run(text: _Text, ahead: Carry, tensors: Any, context: Any, told: Any, length: tf.Tensor) -> Any:
            given = _Choice(*choice.key, *tensors)
            options = (given.rule, steps, choice.stop, rewinds)
            right = tf.fill([self.num], text.carry.position)
            begun = Speculated(
                text.carry, ahead, text.x, right, text.carry.position, *text[2:], tf.zeros([3], tf.int32)
            )
            state = Speculative(self.stage, context, draft.stage, told, *options).run(begun, length)
            # Guesses behind the last right symbol are not the text.
            known = tf.range(self.length)[:, None] < state.position
            x = tf.where(known, state.x, max(choice.stop, 0))
            return _Text(state.carry, x, state.lengths, state.log_prob, state.done), state.counts

        ahead, _ = draft.read_prompt()
        given = (text, ahead, choice.tensors, self.context, draft.context, tf.constant(self.length))
        name = (*choice.key, "draft", steps, draft.compiled.serial, self.length)
        text, counts = self.run(name, run, *given, jit_compile=self.jit_compile)
        return text, Speculation(steps, *(int(count) for count in counts))

    def _choose(self, choice: _Choice, params: tf.Tensor, site: Site, aux: Any) -> tuple[tf.Tensor, Any]:
        """Returns the next symbol [num, 1], and lengths, nats and flags of all sequences."""
        lengths, log_prob, done = aux
        logits, value = self.logits(params), choice.rule(self.head, params, site.cell)
        if choice.stop >= 0:
            value = tf.where(done, choice.stop, value)
        cost = tf.gather(tf.nn.log_softmax(logits), value, axis=1, batch_dims=1)
        log_prob += tf.where(done, 0.0, tf.cast(cost, tf.float32))
        lengths += tf.cast(~done, tf.int32)
        return tf.cast(value, self.head.dtype)[:, None], (lengths, log_prob, done | (value == choice.stop))


def keep_probable(logits: tf.Tensor, top_k: tf.Tensor, top_p: tf.Tensor) -> tf.Tensor:
    """Replaces the logits [..., n] of all but the most probable symbols by -inf.

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
