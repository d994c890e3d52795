"""Draws digits in parallel, all pixels at once again and again until nothing changes; shows the passes of each pixel.

    python -m examples.parallel_sampling --out=parallel_sampling.png                 # trains for 2 minutes
    python -m examples.parallel_sampling --model=runs/digits/model.keras             # a trained model of grey images

The picture:

    passes          what stands on the canvas after some passes over the whole image, from the noise of the sample
    came to rest    the pass that changed a pixel last, of the same images, and the mean of all
    row by row      the same where every row is a block of its own, which reads the state of the rows above

Printed: passes of the whole image and of all its rows, and whether every value equals the incremental sample's.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags

import tfar
from pipelines import pictures
from tfar.core import noise as noises

FLAGS = flags.FLAGS
flags.DEFINE_string("out", "parallel_sampling.png", "PNG file to write.")
flags.DEFINE_string("model", None, "A trained model of grey images; by default one is trained on digits.")
flags.DEFINE_integer("steps", 800, "training steps of 64 images.", lower_bound=1)
flags.DEFINE_integer("num", 64, "images drawn.", lower_bound=6)

SHOWN = 6  # images
AFTER = (1, 2, 3, 5, 8)  # passes


def trained() -> tfar.models.GatedPixelCNN:
    """Trains a small Gated PixelCNN on digits."""
    keras.utils.set_random_seed(0)
    arrays, info = tfar.data.load_arrays("digits", "train")
    model = tfar.models.GatedPixelCNN(
        info.event_shape,
        tfar.heads.Categorical(info.levels),
        filters=32,
        num_blocks=5,
        first_kernel_size=5,
        dropout=0.4,
    )
    batches = tf.data.Dataset.from_tensor_slices({"x": arrays["x"]}).shuffle(2000, seed=0).repeat().batch(64)
    rate = keras.optimizers.schedules.CosineDecay(2e-3, FLAGS.steps)
    model.compile(keras.optimizers.Adam(rate, clipnorm=1.0, use_ema=True, ema_momentum=0.99))
    model.fit(batches, steps_per_epoch=FLAGS.steps, verbose=0, shuffle=False)
    return model


def canvases(
    model: tfar.models.AutoregressiveModel, noise: tf.Tensor, condition: np.ndarray | None
) -> list[np.ndarray]:
    """The canvas after every pass over the whole image: draws from its own conditionals, by the same noise."""
    x, found = np.zeros([noise.shape[0], *model.event_shape], np.int32), []
    by_position = tf.reshape(noise, [noise.shape[0], *model.event.positions, -1])
    for _ in range(max(AFTER)):
        params = model(x, condition)
        x = tf.reshape(model.head.sample(params, by_position), x.shape).numpy()
        found.append(x)
    return found


def draw(states: list[np.ndarray], x: np.ndarray, settled: dict[str, np.ndarray], levels: int, path: str) -> None:
    """Draws canvases after `AFTER` passes, samples, and the passes in which pixels came to rest."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=(13, 6.4), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.15, 1))
    columns = [states[number - 1][:SHOWN] for number in AFTER] + [x[:SHOWN]]
    for axes, images, title in zip(
        left.subplots(1, len(columns)), columns, [*(f"pass {number}" for number in AFTER), "sample"], strict=True
    ):
        axes.imshow(pictures.grid(pictures.to_images(images, levels), 1), cmap="gray")
        axes.set_title(title)
        axes.axis("off")
    above, below = right.subfigures(2, 1)
    for part, (title, passes) in zip((above, below), settled.items(), strict=True):
        single, mean = part.subplots(1, 2, width_ratios=(SHOWN / 2, 1.3))
        top = passes[:SHOWN].max()
        single.imshow(np.concatenate(list(passes[:SHOWN]), 1), cmap="viridis", vmin=0, vmax=top)
        single.set_title(f"{title}: pass that changed a pixel last (dark 0, light {top})", fontsize=9)
        single.axis("off")
        shown = mean.imshow(passes.mean(0), cmap="viridis", vmin=0)
        mean.set_title(f"mean of {len(passes)} images", fontsize=9)
        mean.axis("off")
        part.colorbar(shown, ax=mean)
    figure.savefig(path, dpi=80)


def main(_: list[str]) -> None:
    """Runs the example."""
    model = tfar.models.load(FLAGS.model) if FLAGS.model else trained()
    height, width, channels = model.event_shape
    if channels != 1 or model.head.event_ndims:
        raise app.UsageError(f"--model must be of grey images with a value per pixel, got {model.event_shape}")
    condition = None
    if model.condition is not None:
        condition = np.arange(FLAGS.num, dtype=np.int32) % (model.condition.num_labels or 1)
    noise = noises.uniform(noises.seed_rows(0, FLAGS.num), model.event.num_positions, model.head.noise_size)
    common = {"noise": noise, "batch_size": FLAGS.num}
    x = model.sample(FLAGS.num, condition, **common).numpy()
    settled = {}
    for title, block in (("whole image", height), ("row by row", 1)):
        same, passes = model.sample(
            FLAGS.num, condition, method="fixed_point", block=block, return_passes=True, **common
        )
        settled[title] = passes.settled[..., 0]
        print(
            f"{title}: {int(passes.total[0])} passes for {height * width} pixels of {FLAGS.num} images together, "
            f"{int((same.numpy() != x).sum())} values differ from the incremental sample"
        )
    first = None if condition is None else condition[:SHOWN]
    draw(canvases(model, noise[:SHOWN], first), x, settled, model.head.levels, FLAGS.out)
    print(f"written: {FLAGS.out}")


if __name__ == "__main__":
    app.run(main)
