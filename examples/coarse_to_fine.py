"""Draws handwritten digits from coarse to fine, and shows what is known of each image after every stage.

    python -m examples.coarse_to_fine [--out=coarse_to_fine.png] [--steps=300] [--labels=3,8]

About 5 minutes on two cores: two models learn scikit-learn's 8x8 digits given their labels.

1.  Multiscale PixelCNN: a PixelCNN draws 2x2 pixels of the image, every other stage a third of the pixels that double
    it, all at once. Pixels that are not drawn yet are blue.
2.  Pyramid PixelCNN: averages over 4x4 and over 2x2 pixels are drawn first, each image pixel by pixel given the coarser
    one. The averages are auxiliary variables: the image need not have exactly these.

References: Reed et al., Parallel Multiscale Autoregressive Density Estimation, 2017; Kolesnikov, Lampert, PixelCNN
Models with Auxiliary Variables for Natural Image Modeling, 2017.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags

import tfar
from pipelines import pictures

FLAGS = flags.FLAGS
flags.DEFINE_string("out", "coarse_to_fine.png", "PNG file to write.")
flags.DEFINE_integer("steps", 300, "training steps of each model.", lower_bound=1)
flags.DEFINE_integer("filters", 16, "features of both models.", lower_bound=2)
flags.DEFINE_list("labels", ["3", "8"], "digits to draw, one image of each.")
flags.DEFINE_integer("seed", 0, "of the draws.")

UNKNOWN = np.array([60, 90, 150], np.uint8)
_NAMES = {"MultiscalePixelCNN": "Multiscale PixelCNN", "PyramidPixelCNN": "Pyramid PixelCNN"}


def models(levels: int) -> list[tfar.models.Chain]:
    """The two models of 8x8 images."""
    common = {"event_shape": (8, 8, 1), "head": tfar.heads.Categorical(levels), "num_doublings": 2, "dropout": 0.2}
    common |= {"filters": FLAGS.filters, "condition": tfar.conditions.Label(10)}
    return [
        tfar.models.MultiscalePixelCNN(num_blocks=2, upscaler_filters=FLAGS.filters, upscaler_blocks=3, **common),
        tfar.models.PyramidPixelCNN(num_resnets=1, top_resnets=2, unet_stages=1, unet_resnets=1, **common),
    ]


def train(model: tfar.models.Chain, arrays: dict[str, np.ndarray]) -> None:
    """Trains a model on images and labels."""
    rows = np.random.default_rng(0).integers(0, len(arrays["x"]), FLAGS.steps * 64)
    if model.has_weight_norm:
        model.initialize_from_data(arrays["x"][:256], arrays["label"][:256])
    data = tf.data.Dataset.from_tensor_slices({"x": arrays["x"][rows], "condition": arrays["label"][rows]}).batch(64)
    rate = keras.optimizers.schedules.CosineDecay(0.0, FLAGS.steps, warmup_target=3e-3, warmup_steps=FLAGS.steps // 20)
    model.compile(keras.optimizers.Adam(rate, clipnorm=1.0, use_ema=True, ema_momentum=0.99), jit_compile=False)
    model.fit(data, verbose=0, shuffle=False)


def stages(model: tfar.models.Chain, values: Sequence[tf.Tensor]) -> list[np.ndarray]:
    """What is known after every part, as images: uint8 [num, H, W, 3] each.

    Args:
        model: of images.
        values: of its parts, from `sample_parts`.
    """
    height, width = model.event_shape[:2]
    canvas, known, shown = 0, False, []
    for part, y in zip(model.parts, values, strict=True):
        if part.view.auxiliary:
            image = pictures.to_images(y, part.model.head.levels)
            image = image.repeat(height // image.shape[1], 1).repeat(width // image.shape[2], 2)
        else:
            canvas = canvas + part.view.put(y, model.event_shape).numpy()
            known = known | (part.view.put(tf.ones_like(y), model.event_shape).numpy() > 0).all(-1, keepdims=True)
            image = np.where(known, pictures.to_images(canvas, model.head.levels), UNKNOWN)
        shown.append(np.broadcast_to(image, (len(image), height, width, 3)))
    return shown


def main(_: list[str]) -> None:
    """Trains, draws and writes the picture."""
    labels = np.array([int(label) for label in FLAGS.labels])
    splits = {split: tfar.data.load_arrays("digits", split) for split in ("train", "test")}
    (arrays, info), (held_out, _) = splits["train"], splits["test"]
    rows = []
    for model in models(info.levels):
        train(model, arrays)
        bits = model.bits_per_dim(held_out["x"], held_out["label"]).numpy().mean()
        bound = ", a bound: with its averages" if model.has_auxiliary else ""
        name = _NAMES[type(model).__name__]
        print(f"{name}: {bits:.3f} bits/dim on {len(held_out['x'])} test images{bound}; {model.num_passes} passes")
        drawn = model.sample_parts(len(labels), labels, seed=FLAGS.seed, jit_compile=False)
        rows.extend(zip(*stages(model, drawn), strict=True))  # a row of stages for every label
    columns = max(map(len, rows))
    blank = np.full_like(rows[0][0], 255)
    cells = [image for row in rows for image in (*row, *[blank] * (columns - len(row)))]
    pictures.save_png(pictures.grid(np.stack(cells), columns, side=96), FLAGS.out)
    print(f"written: {FLAGS.out}")


if __name__ == "__main__":
    app.run(main)
