"""Beam search: the `width` most probable beginnings of a sequence are kept, whatever their last symbols.

References:
    Wu et al., Google's Neural Machine Translation System, 2016, section 7 (length penalty).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from tfar.sampling.continuation import Carry, Continuation, gather_rows, level_logits


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

        score = log p(continuation | prompt) / ((5 + symbols of the continuation) / 6)^length_penalty

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
    continuation = Continuation(model, len(prompt) if several else 1, length, prompt, condition, jit_compile)
    continuation.check_symbol("end", end)
    found = _search(continuation, int(width), end, float(length_penalty))
    found = {key: value.numpy() if several else value.numpy()[0] for key, value in found.items()}
    return Beams(found["x"], found["lengths"], found["log_prob"], found["scores"])


def _search(continuation: Continuation, width: int, end: int | None, length_penalty: float) -> dict[str, tf.Tensor]:
    """The beams of every row: x [R, W, length], lengths, log_prob and scores [R, W]."""
    rows, levels, first = continuation.num, continuation.head.levels, continuation.prompt_length
    beams = tf.repeat(tf.range(rows), width)

    def ranked(log_prob: tf.Tensor, lengths: tf.Tensor, base: tf.Tensor) -> tf.Tensor:
        """Scores of beams [R, ...]; `base` are the nats of the prompts."""
        count = tf.cast(lengths - first, tf.float32)
        return (log_prob - base) / ((5.0 + count) / 6.0) ** length_penalty

    def search(prompt: tf.Tensor, context: Any) -> dict[str, tf.Tensor]:
        carry = continuation.read_prompt(prompt, context)
        base = carry["log_prob"]
        # All beams begin alike, so only the first of each row is in the race.
        others = tf.where(tf.range(width) == 0, 0.0, -np.inf)
        context = tf.nest.map_structure(lambda x: x if x is None else tf.gather(x, beams), context)
        axes = continuation.batch_axes(context)
        x = tf.pad(tf.gather(prompt, beams), [[0, 0], [0, continuation.length - first]], constant_values=end or 0)
        carry = {
            "state": gather_rows(carry["state"], axes, beams),
            "previous": tf.gather(carry["previous"], beams),
            "x": tf.reshape(x, [rows, width, continuation.length]),
            "log_prob": base[:, None] + others,
            "lengths": tf.fill([rows, width], first),
            "done": tf.zeros([rows, width], tf.bool),
        }

        def step(t: tf.Tensor, carry: Carry) -> tuple[tf.Tensor, Carry]:
            params, state = continuation.next_parameters(carry, context, t)
            costs = tf.cast(tf.nn.log_softmax(level_logits(continuation.head, params)), tf.float32)
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
            here = tf.range(continuation.length) == t
            ended = take(carry["done"])
            return t + 1, {
                "state": gather_rows(state, axes, flat),
                "previous": continuation.encode(tf.reshape(value, [-1, 1])),
                "x": tf.where(here, value[..., None], take(carry["x"])),
                "log_prob": tf.gather(tf.reshape(log_prob, [rows, -1]), best, axis=1, batch_dims=1),
                "lengths": take(carry["lengths"]) + tf.cast(~ended, tf.int32),
                "done": ended | (value == (-1 if end is None else end)),
            }

        def goes_on(t: tf.Tensor, carry: Carry) -> tf.Tensor:
            return (t < continuation.length) & ~tf.reduce_all(carry["done"])

        _, carry = tf.while_loop(goes_on, step, (tf.constant(first), carry), parallel_iterations=1)
        found = {key: carry[key] for key in ("x", "lengths", "log_prob")}
        return {**found, "scores": ranked(found["log_prob"], found["lengths"], base[:, None])}

    name = ("beam search", continuation.length, first, rows, width, end, length_penalty)
    given = continuation.prompt, continuation.context
    return continuation.compiled.run(name, search, *given, jit_compile=continuation.jit_compile)
