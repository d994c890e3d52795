"""Draws portraits of people a model has never seen, from the embedding of one photograph of them.

    python -m examples.faces --data=npz:faces.npz        # "images" [N, H, W, 1] and "labels" [N], one per person
    python -m examples.faces --data=images:FOLDER        # a folder per person: FOLDER/ann/1.png, FOLDER/bob/1.png, ...

About 5 minutes on two cores for the 400 faces of 40 people of the ORL data (AT&T, scikit-learn's Olivetti faces).

1.  An embedding network learns to tell the first 35 people apart; e(image) is its last layer, of length 1.
2.  A conditional Gated PixelCNN learns p(image | e(another image of the same person)), so that the embedding says who
    it is, and pose, light and expression are left to the model.
3.  The last 5 people are new to both. Images are drawn given one photograph of each, embedded again, and compared with
    the mean embedding of the same person's other photographs and with those of the other new people.
4.  Images are drawn along the lines from embeddings of one new person to those of another.

Reference: van den Oord et al., Conditional Image Generation with PixelCNN Decoders, 2016, section 3.3, figures 4 and 5.
"""

from __future__ import annotations

import itertools

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags

import tfar
from pipelines import pictures

FLAGS = flags.FLAGS
flags.DEFINE_string("out", "faces.png", "PNG file to write.")
flags.DEFINE_string("data", None, "npz:FILE with images and labels, or images:FOLDER with a folder per person.")
flags.DEFINE_integer("held_out", 5, "people, from the last label down, that no network sees.", lower_bound=2)
flags.DEFINE_integer("size", 16, "images are shrunken to size x size pixels.", lower_bound=8)
flags.DEFINE_integer("bits", 4, "of the grey levels.", lower_bound=1, upper_bound=8)
flags.DEFINE_integer("embedding", 16, "numbers of an embedding.", lower_bound=2)
flags.DEFINE_integer("embedding_steps", 400, "training steps of the embedding network.", lower_bound=1)
flags.DEFINE_integer("steps", 1000, "training steps of the Gated PixelCNN.", lower_bound=1)
flags.DEFINE_integer("filters", 32, "features of the Gated PixelCNN.", lower_bound=2)
flags.DEFINE_integer("blocks", 8, "gated layers of the Gated PixelCNN after the first.", lower_bound=1)
flags.DEFINE_integer("draws", 2, "images drawn per photograph, and per point of a line.", lower_bound=1)

POINTS = np.linspace(0, 1, 6)


def load(data: str | None, size: int, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Faces, uint8 [N, size, size, 1] of 2^bits levels, and the numbers of their people [N]."""
    kind = (data or "").partition(":")[0]
    if kind not in ("npz", "images"):
        raise app.UsageError(
            f"--data must be npz:FILE with the arrays images [N, H, W, 1] and labels [N], or images:FOLDER with a "
            f"folder per person, got {data!r}"
        )
    options = {"size": size, "mode": "grey"} if kind == "images" else {}
    arrays, info = tfar.data.load_arrays(data, "train", valid_fraction=0, test_fraction=0, **options)
    if "label" not in arrays:
        raise app.UsageError(f"--data must say who is on every image, {data!r} has no labels")
    grey = tf.reduce_mean(tf.cast(arrays["x"], tf.float32) * (255 / (info.levels - 1)), -1, keepdims=True)
    shrunken = tf.round(tf.image.resize(grey, (size, size), "area"))
    return (tf.cast(shrunken, tf.int32).numpy() >> (8 - bits)).astype(np.uint8), arrays["label"]


def embedding_network(x: np.ndarray, people: np.ndarray, levels: int) -> keras.Model:
    """Trains and returns e: images [N, size, size, 1] -> unit vectors [N, FLAGS.embedding]."""
    keras.utils.set_random_seed(0)
    image = keras.Input(x.shape[1:])
    y = keras.layers.Rescaling(2 / (levels - 1), -1)(image)
    for filters in (32, 64):
        y = keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(y)
        y = keras.layers.MaxPooling2D()(y)
    y = keras.layers.Dropout(0.3)(keras.layers.Flatten()(y))
    embedding = keras.layers.UnitNormalization()(keras.layers.Dense(FLAGS.embedding)(y))
    # Cosines with one direction per person; the factor lets a softmax over cosines become sure.
    cosines = keras.layers.Dense(int(people.max()) + 1, use_bias=False, kernel_constraint=keras.constraints.UnitNorm())
    network = keras.Model(image, embedding)
    shifts = keras.Sequential(
        [keras.layers.RandomTranslation(0.08, 0.08, "nearest"), keras.layers.RandomFlip("horizontal")]
    )
    classifier = keras.Model(image, keras.layers.Rescaling(10.0)(cosines(network(shifts(image)))))
    classifier.compile(
        keras.optimizers.Adam(2e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    rows = np.random.default_rng(0).integers(0, len(x), FLAGS.embedding_steps * 64)
    history = classifier.fit(x[rows].astype(np.float32), people[rows], batch_size=64, shuffle=False, verbose=0)
    print(
        f"embedding network: accuracy {history.history['accuracy'][-1]:.2f} on the {people.max() + 1} people it learns"
    )
    return network


def embed(network: keras.Model, x: np.ndarray) -> np.ndarray:
    """Embeddings [N, FLAGS.embedding]; an image and its reflection are the same person."""
    both = [network.predict(images.astype(np.float32), verbose=0) for images in (x, x[:, :, ::-1])]
    return _unit(both[0] + both[1])


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def face_model(x: np.ndarray, people: np.ndarray, embeddings: np.ndarray) -> tfar.models.GatedPixelCNN:
    """Trains the conditional model on images and embeddings of other images of the same people."""
    keras.utils.set_random_seed(0)
    model = tfar.models.GatedPixelCNN(
        x.shape[1:],
        tfar.heads.DiscretizedLogisticMixture(5, bits=FLAGS.bits),
        filters=FLAGS.filters,
        num_blocks=FLAGS.blocks,
        first_kernel_size=5,
        condition=tfar.conditions.Vector(FLAGS.embedding),
        dropout=0.2,
    )
    rng = np.random.default_rng(0)
    rows = rng.integers(0, len(x), FLAGS.steps * 32)
    others = [np.flatnonzero((people == people[i]) & (np.arange(len(x)) != i)) for i in range(len(x))]
    partners = np.array([rng.choice(others[i]) for i in rows])
    flipped = rng.random(len(rows)) < 0.5
    images = np.where(flipped[:, None, None, None], x[rows][:, :, ::-1], x[rows])
    # Noise on the embeddings fills the space between the people of the training set.
    conditions = _unit(embeddings[partners] + 0.1 * rng.normal(size=(len(rows), FLAGS.embedding)))
    data = tf.data.Dataset.from_tensor_slices({"x": images, "condition": conditions.astype(np.float32)}).batch(32)
    rate = keras.optimizers.schedules.CosineDecay(0.0, FLAGS.steps, warmup_target=2e-3, warmup_steps=FLAGS.steps // 20)
    model.compile(keras.optimizers.Adam(rate, clipnorm=1.0, use_ema=True, ema_momentum=0.99))
    history = model.fit(data, verbose=0, shuffle=False)
    print(f"face model: {history.history['loss'][-1]:.3f} bits/dim over the whole of its training")
    return model


def mean_with_interval(values: np.ndarray) -> str:
    """Mean with a 95% interval, values taken as independent."""
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    return (
        f"{values.mean():+.3f} (95% CI {values.mean() - half:+.3f} to {values.mean() + half:+.3f}, n = {len(values)})"
    )


def own_and_others(found: np.ndarray, embeddings: np.ndarray, people: np.ndarray) -> np.ndarray:
    """Similarity of every photograph's draws to its own person and to the others, [N, 2].

    Args:
        found: embeddings of the draws, [N, draws, d].
        embeddings: of the photographs, [N, d]; the one that was given does not count for its person's mean.
        people: [N].
    """
    rows = []
    for i, person in enumerate(people):
        own = embeddings[(people == person) & (np.arange(len(people)) != i)].mean(0)
        others = [embeddings[people == other].mean(0) for other in np.unique(people) if other != person]
        rows.append([(found[i] @ _unit(own)).mean(), (found[i] @ _unit(np.stack(others)).T).mean()])
    return np.array(rows)


def draw(
    photographs: np.ndarray, drawn: np.ndarray, lines: np.ndarray, similarities: np.ndarray, levels: int, path: str
) -> None:
    """Draws people [P, 1 + n, H, W, C], lines [L, points, H, W, C] and their similarities [2, points]."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=(13, 5.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.15, 1, 0.9))
    for ax, images in ((left, np.concatenate([photographs, drawn], 1)), (middle, lines)):
        flat = images.reshape(-1, *images.shape[2:])
        ax.imshow(pictures.grid(pictures.to_images(flat, levels), columns=images.shape[1]), cmap="gray")
        ax.set(xticks=[], yticks=[])
    left.set_title("a new person, and images given photographs of them")
    middle.set_title("from one new person to another")
    for values, name in zip(similarities, ("to the first", "to the second"), strict=True):
        right.plot(POINTS, values, "o-", label=name)
    right.set(xlabel="place on the line", ylabel="cosine of embeddings", title="similarity of what is drawn")
    right.legend()
    figure.savefig(path, dpi=72)
    print(f"wrote {path}")


def main(argv: list[str]) -> None:
    """Trains both networks, draws the new people, measures."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments {argv[1:]}")
    levels = 2**FLAGS.bits
    x, people = load(FLAGS.data, FLAGS.size, FLAGS.bits)
    num = people.max() + 1 - FLAGS.held_out
    if num < 2 or np.bincount(people).min() < 2:
        raise app.UsageError(
            f"--data must hold {FLAGS.held_out + 2} people or more with 2 images each, got {people.max() + 1}"
        )
    known, new = people < num, people >= num
    network = embedding_network(x[known], people[known], levels)
    embeddings = embed(network, x)
    model = face_model(x[known], people[known], embeddings[known])

    # The embedding itself: photographs of new people among each other.
    given, who = embeddings[new], people[new]
    real = own_and_others(given[:, None], given, who)
    print(f"new people, photographs: own less others {mean_with_interval(real[:, 0] - real[:, 1])}")

    conditions = given.repeat(FLAGS.draws, 0)
    drawn = model.sample(len(conditions), conditions, seed=0).numpy()
    found = own_and_others(embed(network, drawn).reshape(len(given), FLAGS.draws, -1), given, who)
    apart = found[:, 0] - found[:, 1]
    print(f"new people, images given one photograph: own {found[:, 0].mean():.3f}, others {found[:, 1].mean():.3f}")
    print(f"    own less others {mean_with_interval(apart)}, over photographs")
    print(f"    by person: {' '.join(f'{apart[who == person].mean():+.3f}' for person in np.unique(who))}")
    shuffled = np.roll(given, np.bincount(who)[-1], 0)
    gain = (model.log_prob(x[new], given) - model.log_prob(x[new], shuffled)).numpy()
    print(
        f"    nats of the photographs: under their own embedding {mean_with_interval(gain)} more than under another's"
    )

    # Lines between all pairs of new people, from every photograph of one to that with the same number of the other.
    count = np.bincount(who)[num:].min()
    photographs = np.array([np.flatnonzero(who == person)[:count] for person in np.unique(who)])  # [people, count]
    pairs = np.concatenate([list(itertools.combinations(numbered, 2)) for numbered in photographs.T])
    h1, h2 = given[pairs[:, 0]], given[pairs[:, 1]]
    along = _unit((1 - POINTS[:, None]) * h1[:, None] + POINTS[:, None] * h2[:, None])  # [pairs, points, d]
    conditions = along.reshape(-1, along.shape[-1]).repeat(FLAGS.draws, 0)
    on_lines = model.sample(len(conditions), conditions, seed=1).numpy()
    found = embed(network, on_lines).reshape(len(pairs), len(POINTS), FLAGS.draws, -1).mean(2)
    similarities = np.stack([np.einsum("lpd,ld->lp", found, h) for h in (h1, h2)])  # [2, pairs, points]
    for name, values in zip(("h1", "h2"), similarities, strict=True):
        print(f"line, similarity to {name}: {' '.join(f'{value:.3f}' for value in values.mean(0))}")
        print(f"    end less beginning {mean_with_interval(values[:, -1] - values[:, 0])}, over lines")

    shape = x.shape[1:]
    rows = photographs[:5, 0]
    columns = drawn.reshape(len(given), FLAGS.draws, *shape)
    same = [np.concatenate([columns[i] for i in np.flatnonzero(who == who[row])])[:6] for row in rows]
    lines = on_lines.reshape(len(pairs), len(POINTS), FLAGS.draws, *shape)[:5, :, 0]
    draw(x[new][rows][:, None], np.stack(same), lines, similarities.mean(1), levels, FLAGS.out)


if __name__ == "__main__":
    app.run(main)
