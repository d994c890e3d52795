"""Measures how many nats a code saves: auto-encoders with a PixelCNN as decoder, codes of 10 and of 100 numbers.

    python -m examples.autoencoder --out=autoencoder.png                                    # digits, 2 minutes
    python -m examples.autoencoder --data=fashion_mnist --transforms=bits:3 --steps=2000    # or mnist, npz:FILE, ...

An encoder maps an image to h, a Gated PixelCNN gets h in every layer and draws the image again; both are trained
end to end on the likelihood, and the decoder once more without a code. The picture shows test images and one draw per
code; the table gives the nats of test images under the right code and under the code of another image:

    m = 100 < m = 10 < no code        right code < shuffled code

Weights are those of the step that was best on the validation split, for all three.

Reference: van den Oord et al., Conditional Image Generation with PixelCNN Decoders, 2016, section 3.4.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags

import tfar
from pipelines import pictures

FLAGS = flags.FLAGS
flags.DEFINE_string("out", "autoencoder.png", "PNG file to write.")
flags.DEFINE_string("data", "digits", "name of a data set, see tfar.data.load.")
flags.DEFINE_string("data_dir", None, "where TFDS data are prepared.")
flags.DEFINE_string("transforms", None, "of the values, e.g. binarize or bits:3.")
flags.DEFINE_integer("steps", 600, "training steps of each of the three models.", lower_bound=1)
flags.DEFINE_integer("batch_size", 64, "images in a step.", lower_bound=1)
flags.DEFINE_integer("filters", 32, "features of the decoder.", lower_bound=2)
flags.DEFINE_integer("blocks", 2, "gated layers of the decoder after the first.", lower_bound=0)
flags.DEFINE_integer("held_out", 1000, "at most so many images of the validation and test splits.", lower_bound=2)

CODE_SIZES = (10, 100)


def load(split: str, limit: int | None = None) -> tuple[np.ndarray, int]:
    """Images of a split [N, H, W, C] and their number of levels."""
    options = {"transforms": FLAGS.transforms} if FLAGS.transforms else {}
    arrays, info = tfar.data.load_arrays(FLAGS.data, split, FLAGS.data_dir, **options)
    return arrays["x"][:limit], info.levels


def build(code_size: int | None, event_shape: tuple[int, ...], levels: int) -> tfar.models.AutoregressiveModel:
    """Builds the auto-encoder, or its decoder without a code."""
    keras.utils.set_random_seed(0)
    head = tfar.heads.Bernoulli() if levels == 2 else tfar.heads.Categorical(levels)
    decoder = {"filters": FLAGS.filters, "num_blocks": FLAGS.blocks, "first_kernel_size": 5, "dropout": 0.2}
    if code_size is None:
        return tfar.models.GatedPixelCNN(event_shape, head, **decoder)
    return tfar.models.PixelCNNAutoencoder(event_shape, head, code_size, encoder_filters=32, **decoder)


def train(model: tfar.models.AutoregressiveModel, x: np.ndarray, valid: np.ndarray) -> None:
    """Trains, and goes back to the weights that were best on `valid`."""

    def batches(images: np.ndarray) -> tf.data.Dataset:
        with_code = {"x": images} if model.condition is None else {"x": images, "condition": images}
        return tf.data.Dataset.from_tensor_slices(with_code)

    between = min(FLAGS.steps, 50)
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(3e-3, FLAGS.steps), clipnorm=1.0))
    model.fit(
        batches(x).shuffle(len(x), seed=0).repeat().batch(FLAGS.batch_size),
        steps_per_epoch=between,
        epochs=FLAGS.steps // between,
        validation_data=batches(valid).batch(256),
        callbacks=[keras.callbacks.EarlyStopping("val_loss", patience=FLAGS.steps, restore_best_weights=True)],
        shuffle=False,
        verbose=0,
    )


def nats(model: tfar.models.AutoregressiveModel, x: np.ndarray, condition: np.ndarray | None = None) -> np.ndarray:
    """-ln p(x | code of the condition) of every image, [N]."""
    parts = [slice(start, start + 256) for start in range(0, len(x), 256)]
    return np.concatenate([-model.log_prob(x[p], None if condition is None else condition[p]).numpy() for p in parts])


def difference(first: np.ndarray, second: np.ndarray) -> str:
    """Mean of first - second over the same images, with a 95% interval."""
    apart = first - second
    return f"{apart.mean():+8.2f} +- {1.96 * apart.std(ddof=1) / np.sqrt(len(apart)):.2f}"


def draw(rows: dict[str, np.ndarray], levels: int, path: str) -> None:
    """Draws one row of images per title."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(rows), 1, figsize=(11, 1.3 * len(rows)), layout="constrained")
    for ax, (title, images) in zip(axes, rows.items(), strict=True):
        ax.imshow(pictures.grid(pictures.to_images(images, levels), columns=len(images)), cmap="gray")
        ax.set(xticks=[], yticks=[])
        ax.set_ylabel(title, rotation=0, ha="right", va="center")
    figure.savefig(path, dpi=80)
    print(f"wrote {path}")


def main(argv: list[str]) -> None:
    """Trains the three models, scores them, draws."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments {argv[1:]}")
    (x, levels), (valid, _), (test, _) = load("train"), load("valid", FLAGS.held_out), load("test", FLAGS.held_out)
    # Everyone's code goes to the next one in a random order.
    test = test[np.random.default_rng(0).permutation(len(test))]
    others = np.roll(test, 1, axis=0)

    free = build(None, x.shape[1:], levels)
    train(free, x, valid)
    found = {"no code": nats(free, test)}
    shown = test[: min(12, len(test))]
    rows = {"test images": shown}
    print(f"{FLAGS.data}: nats per image on {len(test)} test images, and paired differences with 95% intervals")
    print(f"{'no code':<10}{found['no code'].mean():8.2f}")
    for code_size in CODE_SIZES:
        name, model = f"m = {code_size}", build(code_size, x.shape[1:], levels)
        train(model, x, valid)
        found[name] = nats(model, test, test)
        wrong = nats(model, test, others)
        less = difference(found[name], list(found.values())[-2])
        print(
            f"{name:<10}{found[name].mean():8.2f}   less the row above {less}   shuffled code {wrong.mean():8.2f}, "
            f"right code less shuffled {difference(found[name], wrong)}"
        )
        rows[f"{name}\n{found[name].mean():.1f} nats"] = model.reconstruct(shown, seed=0).numpy()
    draw(rows, levels, FLAGS.out)


if __name__ == "__main__":
    app.run(main)
