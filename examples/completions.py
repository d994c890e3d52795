"""Uses a label-conditional model beyond drawing: completes, explains pixel by pixel, exaggerates, classifies.

    python -m examples.completions --out=completions.png                            # digits, 2 minutes
    python -m examples.completions --data=mnist --transforms=binarize --steps=2000

A small Gated PixelCNN learns p(x | label), and p(x) at the same time by doing without the label now and then
(`condition_dropout`). The picture:

    completions     the upper half of a test image is kept, the lower one drawn from p(lower | upper), several times
    heat map        ln p(x_i | x_<i, label) of every pixel of a test image: dark pixels surprise
    classes         a column per label, drawn with guidance_scale 1 (the model as it is) and 2 (classes exaggerated)

Printed: how often argmax over labels of ln p(x | label) is right on test images (Bayes' rule with equal priors), and
how often a classifier of another kind, logistic regression on pixels, recognizes the label of what was drawn.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags

import tfar
from pipelines import pictures

FLAGS = flags.FLAGS
flags.DEFINE_string("out", "completions.png", "PNG file to write.")
flags.DEFINE_string("data", "digits", "name of a data set with labels, see tfar.data.load.")
flags.DEFINE_string("data_dir", None, "where TFDS data are prepared.")
flags.DEFINE_string("transforms", None, "of the values, e.g. binarize or bits:3.")
flags.DEFINE_integer("steps", 1200, "training steps of 64 images.", lower_bound=1)
flags.DEFINE_integer("filters", 32, "features of the model.", lower_bound=2)
flags.DEFINE_integer("blocks", 3, "gated layers of the model after the first.", lower_bound=1)
flags.DEFINE_integer("draws", 20, "images drawn per label and guidance_scale, for the classifier.", lower_bound=4)
flags.DEFINE_integer("held_out", 500, "at most so many test images are classified.", lower_bound=8)


def trained(x: np.ndarray, labels: np.ndarray, levels: int) -> tfar.models.GatedPixelCNN:
    """Trains the model; half of the examples come without their label, because p(x) is the harder half to learn."""
    keras.utils.set_random_seed(0)
    model = tfar.models.GatedPixelCNN(
        x.shape[1:],
        tfar.heads.Bernoulli() if levels == 2 else tfar.heads.Categorical(levels),
        filters=FLAGS.filters,
        num_blocks=FLAGS.blocks,
        first_kernel_size=5,
        condition=tfar.conditions.Label(int(labels.max()) + 1),
        condition_dropout=0.5,
        dropout=0.3,
    )
    batches = tf.data.Dataset.from_tensor_slices({"x": x, "condition": labels})
    rate = keras.optimizers.schedules.CosineDecay(3e-3, FLAGS.steps)
    model.compile(keras.optimizers.Adam(rate, clipnorm=1.0, use_ema=True, ema_momentum=0.99))
    model.fit(batches.shuffle(len(x), seed=0).repeat().batch(64), steps_per_epoch=FLAGS.steps, verbose=0, shuffle=False)
    return model


def classify(model: tfar.models.GatedPixelCNN, x: np.ndarray) -> np.ndarray:
    """Argmax over labels of ln p(x | label), [N]."""
    labels = range(model.condition.num_labels)
    nats = [model.log_prob(x, np.full(len(x), label, np.int32)).numpy() for label in labels]
    return np.argmax(nats, 0)


def draw(
    completed: np.ndarray, x: np.ndarray, score: np.ndarray, classes: dict[float, np.ndarray], levels: int, path: str
) -> None:
    """Draws completions [n, columns, H, W, C], images with their scores [n, H, W], and images by class."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=(13, 6.6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.15))
    above, below = left.subplots(2, 1, height_ratios=(1.9, 1))
    shown = [pictures.to_images(completed.reshape(-1, *x.shape[1:]), levels), pictures.to_images(x, levels)]
    above.imshow(pictures.grid(shown[0], completed.shape[1]), cmap="gray")
    above.set_title("test image, its upper half, and completions of it")
    low, high = np.percentile(score, 1), 0.0
    both = np.concatenate([shown[1].repeat(3 // shown[1].shape[-1], -1), pictures.heat(score, low, high)])
    below.imshow(pictures.grid(both, len(x)))
    below.set_title("test images, and ln p of every pixel given those before it")
    scale = matplotlib.cm.ScalarMappable(matplotlib.colors.Normalize(low, high), "magma")
    left.colorbar(scale, ax=below, label="nats", shrink=0.9)
    for ax, (guidance, images) in zip(right.subplots(2, 1), classes.items(), strict=True):
        columns = images.shape[1]
        ax.imshow(pictures.grid(pictures.to_images(images.reshape(-1, *x.shape[1:]), levels), columns), cmap="gray")
        ax.set_title(f"a column per class, guidance_scale = {guidance:g}")
    for ax in figure.axes[:2] + figure.axes[3:]:
        ax.set(xticks=[], yticks=[])
    figure.savefig(path, dpi=72)
    print(f"wrote {path}")


def main(argv: list[str]) -> None:
    """Trains, completes, scores, draws, classifies."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments {argv[1:]}")
    from sklearn.linear_model import LogisticRegression

    options = {"transforms": FLAGS.transforms} if FLAGS.transforms else {}
    arrays, info = tfar.data.load_arrays(FLAGS.data, "train", FLAGS.data_dir, condition="label", **options)
    x, labels = arrays["x"], arrays["condition"]
    held_out, _ = tfar.data.load_arrays(FLAGS.data, "test", FLAGS.data_dir, condition="label", **options)
    test, truth = held_out["x"][: FLAGS.held_out], held_out["condition"][: FLAGS.held_out]
    model = trained(x, labels, info.levels)
    num_labels = model.condition.num_labels
    right = classify(model, test) == truth
    print(f"argmax of ln p(x | label): {right.mean():.3f} of {len(test)} right, chance {1 / num_labels:.2f}")

    # One image of each of some classes. Guidance 0 leaves the label out: the completion may become something else.
    chosen = np.array([np.flatnonzero(truth == label)[0] for label in range(num_labels) if label in truth])[:8]
    observed = np.zeros(x.shape[1:], bool)
    observed[: x.shape[1] // 2] = True
    begun, several = test[chosen].repeat(6, 0), truth[chosen].repeat(6)
    completions = model.complete(begun, observed, several, seed=0, guidance_scale=0.0).numpy()
    cut = np.where(observed, test[chosen], 0)
    completions = completions.reshape(len(chosen), 6, *x.shape[1:])
    completed = np.concatenate([test[chosen][:, None], cut[:, None], completions], 1)
    score = model.score(test[chosen], truth[chosen]).numpy()
    score = score.reshape(*score.shape[:3], -1).sum(-1)

    size = 3000  # images are enough for it
    judge = LogisticRegression(max_iter=300).fit(x[:size].reshape(len(x[:size]), -1) / (info.levels - 1), labels[:size])
    wanted = np.tile(np.arange(num_labels), FLAGS.draws)
    classes = {}
    accuracy = judge.score(test.reshape(len(test), -1) / (info.levels - 1), truth)
    print(f"logistic regression recognizes {accuracy:.3f} of the test images")
    for guidance in (1.0, 2.0):
        drawn = model.sample(len(wanted), wanted, seed=0, guidance_scale=guidance).numpy()
        accuracy = judge.score(drawn.reshape(len(drawn), -1) / (info.levels - 1), wanted)
        print(f"guidance_scale {guidance:g}: it recognizes the label of {accuracy:.3f} of {len(wanted)} drawn images")
        classes[guidance] = drawn.reshape(FLAGS.draws, num_labels, *x.shape[1:])[:4]
    draw(completed, test[chosen], score, classes, info.levels, FLAGS.out)


if __name__ == "__main__":
    app.run(main)
