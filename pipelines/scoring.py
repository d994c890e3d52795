"""The score of a run's model on a split, of images and of sequences."""

from __future__ import annotations

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
    arrays, info = runs.load_split(run.config, split)
    if shuffle_conditions:
        if "condition" not in arrays:
            raise ValueError("shuffle_conditions needs a model with a condition; this run has none")
        order = np.random.default_rng(0).permutation(len(arrays["x"]))
        arrays = {**arrays, "condition": arrays["condition"][order]}
    batch_size = run.config["train"]["eval_batch_size"] if batch_size is None else batch_size
    bar = training.ProgressBar(info.num_values if info.is_sequence else info.num_examples, "score")
    score: Any
    try:
        if info.is_sequence:
            parts = training.sequence_log_probs(
                run.model, arrays, batch_size, progress=lambda done, total: bar.update(done)
            )
            score = training.sequence_score(parts, info, run.weights, training.how_scored(run.model))
        else:
            nats = training.log_probs(run.model, arrays, batch_size, lambda done, total: bar.update(done))
            score = training.score(nats, info, run.weights)
    finally:
        bar.close()
    return score, arrays, info
