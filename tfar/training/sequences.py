"""Scores of sequences: every element once, given all elements before it that the model can use.

Short sequences are scored whole, in one parallel pass. Long ones go through in blocks with the model's incremental
state, which gives the same numbers:

    x:      [block 0][block 1][block 2] ...        state: zeros --> after block 0 --> after block 1 --> ...

A model with a greatest length W (`longest_event`, learned positions) is scored in windows that overlap by half; all but
the first count their second half only, so that every element is given at least W / 2 elements before it:

    [0 ............ W)
            [W/2 ..........., 3W/2)
                    [W ............ 2W)
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfar.core.units import bits_per_dim
from tfar.training.metrics import Z95, Score

# Padded sequences are cut to a multiple of this.
_STEP = 1024
# Longer sequences are scored in blocks.
_WHOLE = 20_000
# Elements of one text that count as one example in a confidence interval: neighbours depend on each other.
_STRETCH = 1000


def sequence_log_probs(
    model: Any,
    arrays: Mapping[str, np.ndarray],
    batch_size: int = 16,
    block: int = 512,
    rows: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[np.ndarray]:
    """Computes the log-probability in nats of every element of sequences.

    Args:
        model: an `AutoregressiveModel` of events of any length.
        arrays: {"x": [N, T], "length": [N], "condition": [N, ...]}; without "length" all T elements count.
        batch_size: sequences (or windows) that are scored together.
        block: elements of a sequence that are scored together where it goes through in blocks.
        rows: stretches that one long sequence is cut into, to be scored together: faster, but each begins from the
            zero state. 1 is exact.
        progress: called with (elements done, all of them).

    Returns:
        float64 [length] for each sequence.

    Raises:
        ValueError: rows > 1 for several sequences.

    Example:
        >>> import tfar
        >>> model = tfar.models.CharRNN((None,), tfar.heads.Categorical(4), units=3)
        >>> [nats.shape for nats in sequence_log_probs(model, {"x": np.zeros([2, 6], np.int32), "length": [6, 4]})]
        [(6,), (4,)]
    """
    x = np.asarray(arrays["x"])
    lengths = np.asarray(arrays.get("length", [x.shape[1]] * len(x)), np.int64)
    condition = arrays.get("condition")
    report = progress or (lambda done, total: None)
    total, done = int(lengths.sum()), 0
    longest = model.longest_event
    if rows > 1 and len(x) > 1:
        raise ValueError(f"rows must be 1 for {len(x)} sequences, got {rows}")
    if longest is not None and x.shape[1] > longest:
        found = []
        for index, length in enumerate(lengths):
            given = None if condition is None else condition[index]
            found.append(_in_windows(model, x[index, :length], given, longest, batch_size))
            done += int(length)
            report(done, total)
        return found
    if rows > 1:
        size = math.ceil(x.shape[1] / rows)
        stretches = np.zeros([rows, size], x.dtype)
        stretches.reshape(-1)[: x.shape[1]] = x[0]
        cut = {"x": stretches, "length": np.full(rows, size)}
        if condition is not None:
            cut["condition"] = np.repeat(condition, rows, 0)
        parts = sequence_log_probs(model, cut, rows, block, progress=lambda done, _: report(min(done, total), total))
        return [np.concatenate(parts)[: x.shape[1]]]
    found = []
    in_blocks = x.shape[1] > _WHOLE
    for start in range(0, len(x), batch_size):
        # The last batch is filled up, so that one shape is compiled.
        chosen = np.minimum(np.arange(start, start + min(batch_size, len(x))), len(x) - 1)
        given = None if condition is None else condition[chosen]
        if in_blocks:
            step = functools.partial(_report, report, done, len(chosen), total)
            nats = _in_blocks(model, x[chosen], given, block, step)
        else:
            # Not beyond the longest of the batch, in steps, so that few shapes are compiled.
            size = min(x.shape[1], -(-int(lengths[chosen].max()) // _STEP) * _STEP)
            nats = model.score(x[chosen, :size], given).numpy()
        for row, index in enumerate(range(start, min(start + batch_size, len(x)))):
            found.append(nats[row, : lengths[index]].astype(np.float64))
            done += int(lengths[index])
        report(done, total)
    return found


def _report(report: Callable[[int, int], None], before: int, sequences: int, total: int, elements: int) -> None:
    report(min(total, before + sequences * elements), total)


def _in_blocks(model: Any, x: np.ndarray, condition: Any, block: int, progress: Callable[[int], None]) -> np.ndarray:
    """Nats [B, T] in blocks that go on from one another's state."""
    batch, length = x.shape
    (stage,), request = model.stages, model.request(condition, batch)
    context = model.context(request)
    padded = np.pad(x, [(0, 0), (0, -length % block)])
    carry = stage.begin(batch, context)

    def score_block(carry: Any, x: tf.Tensor, context: Any) -> Any:
        outputs, carry = stage.read(carry, model.event.to_grid(tf.cast(x, model.head.dtype)), context)
        return model.head.log_prob(model.split(outputs), model.event.to_head(x)), carry

    found = []
    for at in range(0, padded.shape[1], block):
        values = tf.constant(padded[:, at : at + block])
        nats, carry = model.compiled_functions.run("score_block", score_block, carry, values, context)
        found.append(nats.numpy())
        progress(min(at + block, length))
    return np.concatenate(found, 1)[:, :length]


def _in_windows(model: Any, x: np.ndarray, condition: Any, window: int, batch_size: int) -> np.ndarray:
    """Nats [T] of one sequence in windows that overlap by half."""
    length, half = len(x), max(1, window // 2)
    window = min(window, length)
    starts = np.minimum(np.arange(0, max(1, length - window + half), half), length - window)
    nats, scored = np.zeros(length), 0
    for first in range(0, len(starts), batch_size):
        chosen = np.minimum(np.arange(first, first + min(batch_size, len(starts))), len(starts) - 1)
        given = None if condition is None else np.repeat(condition[None], len(chosen), 0)
        values = model.score(x[starts[chosen, None] + np.arange(window)], given).numpy()
        for row, start in enumerate(starts[first : first + batch_size]):
            nats[scored : start + window] = values[row, scored - start :]
            scored = max(scored, start + window)
    return nats


def sequence_score(nats: list[np.ndarray], info: Any, weights: str, how: str = "") -> Score:
    """Computes the score of sequences.

    Args:
        nats: log-probabilities of the elements of every sequence, from `sequence_log_probs`.
        info: the split's `tfar.data.DataInfo`.
        weights: "averaged" or "raw".
        how: how much of the past the elements were given.

    Raises:
        ValueError: not every element of the split was scored.
    """
    total = sum(len(part) for part in nats)
    if total != info.num_values:
        raise ValueError(f"nats must have one number for each of {info.num_values} {info.unit}s, got {total}")
    parts = independent_parts(nats)
    mean = sum(float(part.sum()) for part in nats) / total
    half = math.inf
    if len(parts) > 1:
        # A ratio of sums over examples of unequal lengths.
        rests = np.array([part.sum() - mean * len(part) for part in parts])
        half = Z95 * math.sqrt(float(rests @ rests) * len(parts) / (len(parts) - 1)) / total
    return Score(
        data=info.name,
        split=info.split,
        transforms=tuple(info.transforms),
        fingerprint=info.fingerprint,
        bits_per_dim=bits_per_dim(mean, 1),
        bits_per_dim_interval=(bits_per_dim(mean + half, 1), bits_per_dim(mean - half, 1)),
        nats=-mean,
        nats_interval=(-mean - half, -mean + half),
        examples=total,
        dimensions=1,
        weights=weights,
        unit=info.unit,
        sequences=len(nats),
        how=how,
    )


def independent_parts(nats: list[np.ndarray]) -> list[np.ndarray]:
    """Splits nats into independent examples: sequences; of a single one, stretches of 1,000 elements."""
    return nats if len(nats) > 1 else np.array_split(nats[0], max(1, len(nats[0]) // _STRETCH))


def how_scored(model: Any) -> str:
    """How much of the past `sequence_log_probs` gives to the elements, in words."""
    longest = model.longest_event
    if longest is not None:
        return f"windows of {longest} that overlap by half"
    return "every element given all before it that the model sees"
