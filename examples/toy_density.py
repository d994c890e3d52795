"""A density over two variables of 64 values each: a histogram for x1, a small network for x2 given x1.

    python -m examples.toy_density --out=toy_density.png

The true density is a ring beside a slanted bar, so that p(x2 | x1) has one, two or three modes. The first factor is
set to the histogram of the samples, its exact maximum of likelihood; the second is learned in half a minute. The
picture shows the true density, the samples, and what the model has made of them: all 4,096 probabilities.
"""

from __future__ import annotations

import itertools

import keras
import numpy as np
from absl import app, flags

import tfar

FLAGS = flags.FLAGS
flags.DEFINE_string("out", "toy_density.png", "PNG file to write.")
flags.DEFINE_integer("samples", 100_000, "samples to learn from.", lower_bound=1)
flags.DEFINE_integer("epochs", 4, "passes over the samples.", lower_bound=1)

LEVELS = 64
EVENTS = np.array(list(itertools.product(range(LEVELS), repeat=2)), np.int32)


def true_joint() -> np.ndarray:
    """Probabilities [4096] of `EVENTS`."""
    x1, x2 = EVENTS.T
    ring = np.exp(-(((np.hypot(x1 - 26, x2 - 36) - 18) / 3) ** 2))
    bar = np.exp(-(((x1 - 50 - 0.3 * (x2 - 32)) / 2.5) ** 2)) * (x2 > 4)
    joint = ring + bar + 1e-3
    return joint / joint.sum()


def trained(x: np.ndarray, epochs: int) -> tfar.models.ToyHistogram:
    """Trains the model on samples [N, 2]."""
    keras.utils.set_random_seed(0)
    model = tfar.models.ToyHistogram((2,), tfar.heads.Categorical(LEVELS), hidden=(128,), embedding_dim=32)
    fit = model.fit_histogram(x[:, 0], smoothing=0.5)
    print(f"x1: {fit.nats:.4f} nats, empirical entropy {fit.entropy:.4f}, {fit.num_empty_bins} empty bins")
    batch = min(500, len(x))
    schedule = keras.optimizers.schedules.CosineDecay(0.01, epochs * -(-len(x) // batch))
    model.compile(keras.optimizers.Adam(schedule))
    model.fit({"x": x}, batch_size=batch, epochs=epochs, verbose=2)
    return model


def draw(true: np.ndarray, x: np.ndarray, learned: np.ndarray, path: str) -> None:
    """Draws the true density, the histogram of the samples and the learned density."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    divergence = float((true * np.log(true / learned)).sum())
    counts = np.bincount(x[:, 0] * LEVELS + x[:, 1], minlength=LEVELS**2) / len(x)
    titles = ["true density", f"{len(x):,} samples", f"learned, KL = {divergence:.3f} nats"]
    figure, axes = pyplot.subplots(1, 3, figsize=(13, 4.6), layout="constrained")
    for ax, density, title in zip(axes, (true, counts, learned), titles, strict=True):
        ax.imshow(density.reshape(LEVELS, LEVELS).T, origin="lower", cmap="viridis", vmin=0, vmax=true.max())
        ax.set(title=title, xlabel="x1", ylabel="x2")
    figure.savefig(path, dpi=110)
    print(f"KL(true || learned) = {divergence:.4f} nats")
    print(f"wrote {path}")


def main(argv: list[str]) -> None:
    """Samples, learns, draws."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments {argv[1:]}")
    joint = true_joint()
    x = EVENTS[np.random.default_rng(0).choice(len(EVENTS), size=FLAGS.samples, p=joint)]
    model = trained(x, FLAGS.epochs)
    draw(joint, x, np.exp(model.log_prob(EVENTS).numpy().astype(np.float64)), FLAGS.out)


if __name__ == "__main__":
    app.run(main)
