"""Trains MADE on binary data sets of its paper, with the original splits, and compares test likelihoods.

    python -m benchmarks.made_datasets [--data_dir=../shared/data/made] [--json=FILE] [--datasets=dna,mushrooms,nips]

One hidden layer of 500 units and one mask (preset `made_uci`), Adagrad, batches of 100, no regularisation; training
stops when the validation likelihood has not improved for 30 epochs, and the best weights are scored, on all test
examples. What counts on data this small are small initial weights and an initial accumulator: from an empty one,
Adagrad's first steps move every weight by the learning rate, needed or not (both missing: 97 nats on DNA).

The limits are those that the project sets itself; the command fails where one is missed. The splits are the paper's,
train / valid / test: DNA 1400 / 600 / 1186, Mushrooms 2000 / 500 / 5624, NIPS-0-12 400 / 100 / 1240.

Reference:
    Germain, Gregor, Murray, Larochelle, MADE: Masked Autoencoder for Distribution Estimation, 2015.
"""

from __future__ import annotations

import dataclasses
import os
import time
from typing import Any

import numpy as np
from absl import flags

from benchmarks import results
from pipelines import command


@dataclasses.dataclass(frozen=True)
class Target:
    """A data set of the paper, with its limit and published figures.

    Attributes:
        published: test nats per example of MADE with a fixed mask.
        limit: test nats that must be reached.
        seconds: training time that must not be exceeded.
    """

    published: float
    limit: float
    seconds: float = 60.0


TARGETS = {"dna": Target(83.63, 85.5), "mushrooms": Target(9.68, 10.2), "nips": Target(280.25, 281.0)}


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("data_dir", "../shared/data/made", "Folder of dna.npz, mushrooms.npz and nips.npz.")
    flags.DEFINE_list("datasets", list(TARGETS), "Data sets to train on.")
    flags.DEFINE_float("learning_rate", 0.1, "Of Adagrad.", lower_bound=0.0)
    flags.DEFINE_float("accumulator", 3.0, "Initial accumulator of Adagrad.", lower_bound=0.0)
    flags.DEFINE_float("stddev", 0.005, "Standard deviation of initial weights.", lower_bound=0.0)
    flags.DEFINE_integer("batch_size", 100, "Examples of a step.", lower_bound=1)
    flags.DEFINE_integer("look_ahead", 30, "Epochs without improvement after which training stops.", lower_bound=1)
    flags.DEFINE_integer("max_epochs", 1000, "Most epochs.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Of weights and batches.")
    flags.DEFINE_string("json", None, "File to write the numbers to.")


def main() -> int:
    """Runs the command; returns the exit code, 1 where a limit is missed."""
    values = flags.FLAGS
    unknown = sorted(set(values.datasets) - set(TARGETS))
    if unknown:
        raise ValueError(f"--datasets must be some of {', '.join(TARGETS)}, got {unknown[0]!r}")
    command.import_quietly()
    measured = [run(name, values) for name in values.datasets]
    print(table(measured))
    results.write(values.json, figures(measured), measured, quick=len(measured) < len(TARGETS))
    return 0 if all(result["passed"] for result in measured) else 1


def run(name: str, values: Any) -> dict[str, Any]:
    """Trains and scores one model.

    Args:
        name: one of `TARGETS`.
        values: the flags.

    Returns:
        Figures by name; likelihoods in nats per example.
    """
    import keras

    from tfar import data, models

    splits = {}
    for split in ("train", "valid", "test"):
        arrays, info = data.load_arrays(f"npz:{name}.npz", split, values.data_dir)
        splits[split] = arrays["x"].astype(np.int32)
    keras.utils.set_random_seed(values.seed)
    initializer = keras.initializers.RandomNormal(stddev=values.stddev)
    model = models.from_preset("made_uci", event_shape=info.event_shape, kernel_initializer=initializer)
    begin = time.perf_counter()
    epochs, best = train(
        model,
        keras.optimizers.Adagrad(values.learning_rate, values.accumulator, epsilon=1e-6),
        splits["train"],
        splits["valid"],
        batch_size=values.batch_size,
        look_ahead=values.look_ahead,
        max_epochs=values.max_epochs,
        seed=values.seed,
    )
    seconds = time.perf_counter() - begin
    nats = -np.asarray(model.log_prob(splits["test"]), np.float64)
    target = TARGETS[name]
    return {
        "dataset": name,
        "dimensions": info.event_shape[0],
        "examples": {split: len(x) for split, x in splits.items()},
        "num_parameters": model.count_params(),
        "epochs": epochs,
        "train_seconds": seconds,
        "valid_nats": best,
        "test_nats": float(nats.mean()),
        "test_standard_error": float(nats.std(ddof=1) / np.sqrt(len(nats))),
        "limit_nats": target.limit,
        "published_nats": target.published,
        "num_cpus": os.cpu_count(),
        "learning_rate": values.learning_rate,
        "accumulator": values.accumulator,
        "stddev": values.stddev,
        "seed": values.seed,
        "passed": bool(nats.mean() <= target.limit and seconds <= target.seconds),
    }


def train(
    model: Any,
    optimizer: Any,
    x: np.ndarray,
    valid: np.ndarray,
    *,
    batch_size: int,
    look_ahead: int,
    max_epochs: int,
    seed: int,
) -> tuple[int, float]:
    """Maximum likelihood with early stopping; leaves the best weights in the model.

    Args:
        model: the model.
        optimizer: a Keras optimizer.
        x: training examples, [examples, *event_shape].
        valid: validation examples.
        batch_size: examples of a step; the last, incomplete batch of an epoch is left out, others come in its place in
            the next.
        look_ahead: epochs without improvement after which training stops.
        max_epochs: most epochs.
        seed: of the order of the examples.

    Returns:
        Epochs trained and the best validation negative log-likelihood, in nats per example.
    """
    import tensorflow as tf

    optimizer.build(model.trainable_variables)
    rng = np.random.Generator(np.random.Philox(seed))
    steps = max(1, len(x) // batch_size)

    @tf.function
    def epoch(batches: tf.Tensor) -> None:
        for index in tf.range(steps):
            with tf.GradientTape() as tape:
                loss = model.compute_loss(x=batches[index], y_pred=model(batches[index], training=True))
                loss *= model.event.num_dimensions  # as a sum over dimensions, Adagrad's epsilon is small beside it
            variables = model.trainable_variables
            optimizer.apply(tape.gradient(loss, variables), variables)

    best, best_epoch, kept = np.inf, 0, model.get_weights()
    for number in range(1, max_epochs + 1):
        rows = rng.permutation(len(x))[: steps * batch_size]
        epoch(tf.constant(x[rows].reshape(steps, -1, *x.shape[1:])))
        nats = -float(np.mean(model.log_prob(valid)))
        if nats < best:
            best, best_epoch, kept = nats, number, model.get_weights()
        elif number - best_epoch >= look_ahead:
            break
    model.set_weights(kept)
    return number, best


def figures(measured: list[dict[str, Any]]) -> dict[str, results.Figure]:
    """Returns the figure of all data sets for docs/results.json."""

    def join(key: str, form: str) -> str:
        return ", ".join(format(result[key], form) for result in measured)

    names = ", ".join({"dna": "DNA", "mushrooms": "Mushrooms", "nips": "NIPS"}[row["dataset"]] for row in measured)
    what = f"MADE 1x500, test: {names} (original splits, all examples), seed {measured[0]['seed']}"
    cell = f"{join('test_nats', '.2f')} nats; {join('train_seconds', '.1f')} s of training"
    values = {row["dataset"]: row["test_nats"] for row in measured}
    return {"likelihoods/made": results.figure(what, cell, values, f"{join('limit_nats', '.1f')} nats")}


def table(measured: list[dict[str, Any]]) -> str:
    """Returns the figures for people."""
    lines = [f"{'data':10}{'dims':>6}{'epochs':>8}{'seconds':>9}{'valid':>9}{'test nats':>17}{'limit':>8}{'paper':>8}"]
    for row in measured:
        test = f"{row['test_nats']:.2f} +- {row['test_standard_error']:.2f}"
        lines.append(
            f"{row['dataset']:10}{row['dimensions']:>6}{row['epochs']:>8}{row['train_seconds']:>9.1f}"
            f"{row['valid_nats']:>9.2f}{test:>17}{row['limit_nats']:>8.1f}{row['published_nats']:>8.2f}"
            f"{'' if row['passed'] else '  MISSED'}"
        )
    lines.append("nats per example over all test examples, one model, raw weights; paper: MADE with a fixed mask")
    return "\n".join(lines)


if __name__ == "__main__":
    command.run(main, define_flags)
