"""The score of a run's model on a split, of images and of sequences."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from pipelines import workdir as runs
from tfar import training
from tfar.data import DataInfo


def score_run(
    run: runs.Run, split: str, batch_size: int | None = None, shuffle_conditions: bool = False
) -> tuple[training.Score, runs.Arrays, DataInfo]:
    """Scores all examples of a split, of sequences all elements, with a progress bar on stderr.

    Args:
        run: a trained model.
        split: "train", "valid" or "test".
        batch_size: examples scored together; by default as in the run's validation.
        shuffle_conditions: give every example the condition of another one (a random order, seed 0).

    Returns:
        The score, and the split's arrays and description.

    Raises:
        ValueError: conditions are to be shuffled, but the model has none.
    """
    nats, arrays, info = nats_of_split(run, split, batch_size, shuffle_conditions)
    return score_of(run, nats, info), arrays, info


def nats_of_split(
    run: runs.Run, split: str, batch_size: int | None = None, shuffle_conditions: bool = False
) -> tuple[Any, runs.Arrays, DataInfo]:
    """Log-probabilities of a split [N], of sequences those of their elements; arguments as of `score_run`.

    Returns:
        The log-probabilities in nats, of every part [N, parts] where the model has parts, and the split's arrays and
        description.
    """
    arrays, info = runs.load_split(run.config, split)
    run.check_data(info)
    if shuffle_conditions:
        if "condition" not in arrays:
            raise ValueError("shuffle_conditions needs a model with a condition; this run has none")
        order = np.random.default_rng(0).permutation(len(arrays["x"]))
        arrays = {**arrays, "condition": arrays["condition"][order]}
    batch_size = run.config["train"]["eval_batch_size"] if batch_size is None else batch_size
    bar = training.ProgressBar(info.num_values if info.is_sequence else info.num_examples, "score")
    score: Callable[..., Any] = training.sequence_log_probs
    if not info.is_sequence:
        score = functools.partial(training.log_probs, in_parts=bool(run.model.parts))
    try:
        nats = score(run.model, arrays, batch_size, progress=lambda done, total: bar.update(done))
    finally:
        bar.close()
    return nats, arrays, info


def score_of(run: runs.Run, nats: Any, info: DataInfo) -> training.Score:
    """Returns the score that belongs to the log-probabilities of `nats_of_split`."""
    if info.is_sequence:
        return training.sequence_score(nats, info, run.weights, training.how_scored(run.model))
    names = [part.name for part in run.model.parts] or None
    return training.score(nats, info, run.weights, run.model.num_members, names)


def whole(run: runs.Run, nats: Any) -> Any:
    """Returns log-probabilities of `nats_of_split`, those of parts summed."""
    return nats.sum(1) if run.model.parts else nats
