"""Beam search: the `width` most probable beginnings of a sequence are kept, whatever their last symbols.

References:
    Wu et al., Google's Neural Machine Translation System, 2016, section 7 (length penalty).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from tfar.core.checks import checked_integer
from tfar.core.protocols import ArrayLike, Model
from tfar.sampling.continuation import Continuation


@dataclasses.dataclass(frozen=True)
class Beams:
    """The sequences that a beam search found, the best first; [num, width, ...] where several prompts were given.

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
    model: Model,
    width: int,
    *,
    length: int | None = None,
    prompt: ArrayLike | None = None,
    end: int | None = None,
    length_penalty: float = 0.0,
    condition: Any = None,
    jit_compile: bool = True,
) -> Beams:
    """Searches for the most probable sequence.

        score = log p(continuation | prompt) / ((5 + symbols of the continuation) / 6)^length_penalty

    Every step ranks all continuations of all beams by one symbol; the best `width` of them are the next beams. A
    finished beam keeps its score and its place until `width` others are better.

    Args:
        model: model of sequences with a discrete head.
        width: beams; 1 is greedy decoding.
        length: symbols of a sequence, the prompt included; the model's where its events have a length.
        prompt: first symbols, [n], or [num, n] for several searches at once.
        end: a symbol behind which a sequence ends.
        length_penalty: 0 ranks by probability; greater values favour longer sequences.
        condition: a value of the condition, or one per prompt.
        jit_compile: compile the loop with XLA.

    Returns:
        The beams, the best first.

    Raises:
        ValueError: an argument is out of range, or the model is none of sequences of symbols.
    """
    width = checked_integer("width", width, low=1)
    if not np.isfinite(length_penalty) or length_penalty < 0:
        raise ValueError(f"length_penalty must be a number of at least 0, got {length_penalty!r}")
    shape = () if prompt is None else np.shape(prompt)
    several = len(shape) == 2
    continuation = Continuation(model, shape[0] if several else 1, length, prompt, condition, jit_compile)
    continuation.check_symbol("end", end)
    found = _search(continuation, width, end, float(length_penalty))
    found = {key: value.numpy() if several else value.numpy()[0] for key, value in found.items()}
    return Beams(found["x"], found["lengths"], found["log_prob"], found["scores"])


def _search(continuation: Continuation, width: int, end: int | None, length_penalty: float) -> dict[str, tf.Tensor]:
    """Searches the beams of every prompt: x [R, W, length], lengths, log_prob and scores [R, W]."""
    rows, length, first = continuation.num, continuation.length, continuation.prompt_length
    stage, levels = continuation.stage, continuation.levels
    beams = tf.repeat(tf.range(rows), width)

    def ranked(log_prob: tf.Tensor, lengths: tf.Tensor, base: tf.Tensor, first: tf.Tensor) -> tf.Tensor:
        """Scores of beams [R, ...]; `base` are the nats of the prompts."""
        count = tf.cast(lengths - first, tf.float32)
        return (log_prob - base) / ((5.0 + count) / 6.0) ** length_penalty

    def search(carry: Any, base: tf.Tensor, x: tf.Tensor, first: tf.Tensor, context: Any) -> dict[str, tf.Tensor]:
        told = context
        context = context.map(lambda part: tf.gather(part, beams) if part.shape.rank else part)
        # All beams begin alike, so only the first of each prompt takes part.
        others = tf.where(tf.range(width) == 0, 0.0, -np.inf)
        found = {
            "carry": stage.take(carry, beams, told),
            "x": tf.repeat(x[:, None], width, 1),
            "log_prob": base[:, None] + others,
            "lengths": tf.fill([rows, width], first),
            "done": tf.zeros([rows, width], tf.bool),
        }

        def step(found: dict[str, Any]) -> tuple[dict[str, Any]]:
            params, pending = stage.predict(found["carry"], context)
            costs = tf.reshape(tf.cast(continuation.log_probs(params), tf.float32), [rows, width, levels])
            done = found["done"][..., None]
            # A finished beam continues in one way, at no cost.
            idle = tf.where(tf.range(levels) == (0 if end is None else end), 0.0, -np.inf)
            log_prob = found["log_prob"][..., None] + tf.where(done, idle, costs)
            lengths = found["lengths"][..., None] + tf.cast(~done, tf.int32)
            scores = ranked(log_prob, lengths, base[:, None, None], first)
            best = tf.math.top_k(tf.reshape(scores, [rows, width * levels]), width).indices
            parent, value = best // levels, best % levels
            chosen = lambda x: tf.gather(x, parent, axis=1, batch_dims=1)  # noqa: E731
            flat = tf.reshape(parent + width * tf.range(rows)[:, None], [-1])
            pending = stage.take(pending, flat, context)
            symbol = tf.cast(tf.reshape(value, [-1, 1]), continuation.head.dtype)
            here, ended = tf.range(length) == found["carry"].position, chosen(found["done"])
            return (
                {
                    "carry": stage.accept(pending, symbol),
                    "x": tf.where(here, value[..., None], chosen(found["x"])),
                    "log_prob": tf.gather(tf.reshape(log_prob, [rows, -1]), best, axis=1, batch_dims=1),
                    "lengths": chosen(found["lengths"]) + tf.cast(~ended, tf.int32),
                    "done": ended | (value == (-1 if end is None else end)),
                },
            )

        def goes_on(found: dict[str, Any]) -> tf.Tensor:
            return (found["carry"].position < length) & ~tf.reduce_all(found["done"])

        (found,) = tf.while_loop(goes_on, step, (found,), parallel_iterations=1)
        result = {key: found[key] for key in ("x", "lengths", "log_prob")}
        return {**result, "scores": ranked(result["log_prob"], result["lengths"], base[:, None], first)}

    carry, base = continuation.read_prompt()
    x = tf.pad(continuation.prompt, [[0, 0], [0, length - first]], constant_values=end or 0)
    given = (("beams", length, rows, width, end, length_penalty), search, carry, base, x, tf.constant(first))
    return continuation.run(*given, continuation.context, jit_compile=continuation.jit_compile)
