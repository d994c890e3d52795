"""Draws the distribution of every pixel of a 5 x 5 image with 256 levels as 25 histograms.

    python -m examples.pixel_histograms --out=pixel_histograms.png

An autoregressive model knows p(x_i | x_1, ..., x_(i-1)) for every value of every pixel, not only a best guess. This
trains a small Gated PixelCNN on digits shrunk to 5 x 5 (about a minute on two cores), asks it for all conditionals of
one test image, `model.conditionals(x).prob(level)`, and draws them where the pixels are. The product of the
probabilities of the observed values is the probability of the image.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags

import tfar

FLAGS = flags.FLAGS
flags.DEFINE_string("out", "pixel_histograms.png", "PNG file to write.")
flags.DEFINE_integer("steps", 400, "training steps of 64 images.", lower_bound=1)
flags.DEFINE_integer("index", 0, "which test image.", lower_bound=0)


def shrunken_digits(split: str) -> np.ndarray:
    """Digits [N, 5, 5, 1], averaged from 8 x 8 pixels of 17 levels to values 0 to 255."""
    arrays, _ = tfar.data.load_arrays("digits", split)
    shrunken = tf.image.resize(tf.cast(arrays["x"], tf.float32), (5, 5), "area")
    return tf.cast(tf.round(shrunken * 255 / 16), tf.int32).numpy()


def trained(steps: int) -> tfar.models.GatedPixelCNN:
    """Trains a small model on the training images."""
    keras.utils.set_random_seed(0)
    model = tfar.models.GatedPixelCNN(
        (5, 5, 1), tfar.heads.Categorical(256), filters=32, num_blocks=3, first_kernel_size=3
    )
    x = shrunken_digits("train")
    batches = tf.data.Dataset.from_tensor_slices({"x": x}).shuffle(len(x), seed=0).repeat().batch(64)
    model.compile(keras.optimizers.Adam(2e-3))
    model.fit(batches, steps_per_epoch=steps, verbose=2, shuffle=False)
    return model


def draw(model: tfar.models.GatedPixelCNN, image: np.ndarray, path: str) -> None:
    """Draws the image [5, 5, 1] and the 25 histograms of its pixels."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    conditionals = model.conditionals(image[None])
    histograms = np.stack([conditionals.prob(level).numpy()[0, ..., 0] for level in range(256)], -1)
    observed = conditionals.prob(image[None]).numpy()[0, ..., 0]
    nats = float(model.log_prob(image[None])[0])
    print(f"sum over pixels of ln p(observed) = {np.log(observed).sum():.4f} nats, log_prob = {nats:.4f} nats")
    print(f"p(90) at every pixel:\n{np.array2string(histograms[..., 90], precision=4, suppress_small=True)}")

    figure = pyplot.figure(figsize=(14, 7.5), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 2.6))
    axes = left.subplots()
    axes.imshow(image[..., 0], cmap="gray", vmin=0, vmax=255)
    axes.set_xticks(range(5)), axes.set_yticks(range(5))
    axes.set_title(f"a test image: ln p = {nats:.1f} nats, {-nats / 25 / np.log(2):.2f} bits/dim")
    # Bins of 8 levels, all on one scale: single levels of few training images are ragged.
    bins = histograms.reshape(5, 5, 32, 8).sum(-1)
    for (i, j), axes in np.ndenumerate(right.subplots(5, 5, sharex=True, sharey=True)):
        axes.bar(np.arange(32) * 8, bins[i, j], width=8, align="edge", color="0.55")
        axes.axvline(image[i, j, 0], color="tab:red", linewidth=1.5)
        axes.set_title(f"p({image[i, j, 0]}) = {observed[i, j]:.2g}", fontsize=8)
        axes.set_ylim(0, 1)
        axes.set_xticks([0, 128, 255])
        axes.tick_params(labelsize=7)
    right.suptitle("p(x_ij | pixels before), summed over 8 levels a bar; red: the observed value", fontsize=10)
    figure.savefig(path, dpi=110)
    print(f"wrote {path}")


def main(argv: list[str]) -> None:
    """Trains, asks, draws."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments {argv[1:]}")
    images = shrunken_digits("test")
    if FLAGS.index >= len(images):
        raise app.UsageError(f"--index must be below {len(images)}, got {FLAGS.index}")
    draw(trained(FLAGS.steps), images[FLAGS.index], FLAGS.out)


if __name__ == "__main__":
    app.run(main)
