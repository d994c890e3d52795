r"""Relearns a Bayesian network from its own samples: five variables of a lung-cancer diagnosis.

    python -m examples.lung_cancer --out=lung_cancer.png

    Pollution    Smoker                     p(P, S, C, X, D) = p(P) p(S) p(C | P, S) p(X | C) p(D | C)
          \      /
           Cancer
          /      \
      X-ray    Dyspnoea

Samples are drawn from the textbook's tables, `BayesNet` learns them (a small network per node, only the graph given),
and the picture shows every learned table beside the true one and the joint probabilities of all 32 events.

Reference: Korb, Nicholson, Bayesian Artificial Intelligence, 2nd edition, 2010, section 2.2.
"""

from __future__ import annotations

import itertools

import keras
import numpy as np
from absl import app, flags

import tfar

FLAGS = flags.FLAGS
flags.DEFINE_string("out", "lung_cancer.png", "PNG file to write.")
flags.DEFINE_integer("samples", 100_000, "samples to learn from.", lower_bound=1)
flags.DEFINE_integer("epochs", 10, "passes over the samples.", lower_bound=1)

NAMES = ["Pollution", "Smoker", "Cancer", "X-ray", "Dyspnoea"]
PARENTS = {"Cancer": ["Pollution", "Smoker"], "X-ray": ["Cancer"], "Dyspnoea": ["Cancer"]}
# p(node = 1 | parents), 1 being high, yes or positive.
TABLES = {
    "Pollution": 0.1,
    "Smoker": 0.3,
    "Cancer": [[0.001, 0.03], [0.02, 0.05]],
    "X-ray": [0.2, 0.9],
    "Dyspnoea": [0.3, 0.65],
}
EVENTS = np.array(list(itertools.product([0, 1], repeat=5)), np.int32)


def true_joint() -> np.ndarray:
    """Probabilities of the 32 `EVENTS` by the tables."""
    joint = np.ones(len(EVENTS))
    for node, name in enumerate(NAMES):
        parents = tuple(EVENTS[:, NAMES.index(parent)] for parent in PARENTS.get(name, []))
        one = np.asarray(TABLES[name])[parents]
        joint *= np.where(EVENTS[:, node] == 1, one, 1 - one)
    return joint


def trained(samples: int, epochs: int) -> tfar.models.BayesNet:
    """Trains the network on samples of the tables."""
    keras.utils.set_random_seed(0)
    x = EVENTS[np.random.default_rng(0).choice(len(EVENTS), size=samples, p=true_joint())]
    model = tfar.models.BayesNet((5,), tfar.heads.Bernoulli(), parents=PARENTS, names=NAMES, hidden=(8,))
    batch = min(1_000, samples)
    schedule = keras.optimizers.schedules.CosineDecay(0.02, epochs * -(-samples // batch))
    model.compile(keras.optimizers.Adam(schedule))
    model.fit({"x": x}, batch_size=batch, epochs=epochs, verbose=2)
    return model


def conditional(joint: np.ndarray, name: str, values: tuple[int, ...]) -> float:
    """p(name = 1 | parents = values) in a joint over `EVENTS`."""
    rows = np.ones(len(EVENTS), bool)
    for parent, value in zip(PARENTS.get(name, []), values, strict=True):
        rows &= EVENTS[:, NAMES.index(parent)] == value
    return float((joint * rows * EVENTS[:, NAMES.index(name)]).sum() / (joint * rows).sum())


def draw(true: np.ndarray, learned: np.ndarray, path: str) -> None:
    """Draws the graph with its tables, and the two joints against each other."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(13, 6), width_ratios=(1.5, 1), layout="constrained")
    places = {"Pollution": (0, 2), "Smoker": (2, 2), "Cancer": (1, 1), "X-ray": (0, 0), "Dyspnoea": (2, 0)}
    boxes = {}
    for name, (x, y) in places.items():
        lines = [name, "parents   true    learned"]
        for values in itertools.product([0, 1], repeat=len(PARENTS.get(name, []))):
            given = ",".join(map(str, values)) or "-"
            lines.append(
                f"{given:^7s}  {conditional(true, name, values):.4f}  {conditional(learned, name, values):.4f}"
            )
        box = {"boxstyle": "round,pad=0.5", "facecolor": "white", "edgecolor": "0.3"}
        boxes[name] = left.text(
            x, y, "\n".join(lines), ha="center", va="center", family="monospace", fontsize=9, bbox=box
        )
    for child, parents in PARENTS.items():
        for parent in parents:
            ends = {"patchA": boxes[parent].get_bbox_patch(), "patchB": boxes[child].get_bbox_patch()}
            arrow = {"arrowstyle": "-|>", "color": "0.3", "linewidth": 1.5, "shrinkA": 0, "shrinkB": 2, **ends}
            left.annotate("", places[child], places[parent], arrowprops=arrow)
    left.set(xlim=(-0.6, 2.6), ylim=(-0.4, 2.4), title="p(node = 1 | parents): tables and networks")
    left.axis("off")

    right.loglog(true, learned, "o", color="tab:blue", markersize=5)
    ends = [true.min() / 2, 1]
    right.loglog(ends, ends, color="0.6", linewidth=1, zorder=0)
    divergence = float((true * np.log(true / learned)).sum())
    right.set(xlabel="true probability", ylabel="learned probability")
    right.set_title(f"the 32 events, KL(true || learned) = {divergence:.1e} nats")
    figure.savefig(path, dpi=110)
    largest = np.abs(np.log(true / learned)).max()
    print(f"KL {divergence:.2e} nats; the largest difference of an event's ln p is {largest:.3f}")
    print(f"wrote {path}")


def main(argv: list[str]) -> None:
    """Samples, learns, draws."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments {argv[1:]}")
    model = trained(FLAGS.samples, FLAGS.epochs)
    draw(true_joint(), np.exp(model.log_prob(EVENTS).numpy().astype(np.float64)), FLAGS.out)


if __name__ == "__main__":
    app.run(main)
