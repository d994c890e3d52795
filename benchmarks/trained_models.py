"""Small trained models for benchmarks: each is trained once, for one or two minutes, and kept beside the run.

What fixed-point iteration and drafts save depends on what a model has learned, so random weights would say nothing.
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys
import time
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """A model and its training.

    Attributes:
        kind: class.
        arguments: of the class; event and head follow from the data.
        data: name of the data set.
        transforms: of the data.
        head: class and arguments; by default `Bernoulli` or `Categorical` by the levels of the data.
        steps: of training.
        batch: examples of a step.
        rate: learning rate at its highest.
        window: symbols of a training example of a text.
    """

    kind: str
    arguments: dict[str, Any]
    data: str
    transforms: tuple[str, ...] = ()
    head: tuple[Any, ...] = ()
    steps: int = 500
    batch: int = 32
    rate: float = 2e-3
    window: int | None = None


_BINARY: dict[str, Any] = {"data": "mnist", "transforms": ("binarize",)}
MODELS = {
    "digits": TrainedModel(
        "GatedPixelCNN",
        {"filters": 32, "num_blocks": 5, "first_kernel_size": 5, "dropout": 0.4},
        "digits",
        steps=800,
        batch=64,
    ),
    # The network for which 31 passes are published.
    "made_mnist": TrainedModel("MADE", {"hidden": (512, 512)}, **_BINARY, steps=3000, batch=100, rate=1e-3),
    "binary_mnist": TrainedModel(
        "GatedPixelCNN", {"filters": 32, "num_blocks": 6, "first_kernel_size": 7}, **_BINARY, steps=300
    ),
    "cifar10_subset": TrainedModel(
        "PixelCNNPP",
        {"filters": 32, "num_resnets": 2, "dropout": 0.0},
        "npz:cifar10_subset.npz",
        head=("DiscretizedLogisticMixture", 5),
        steps=60,
        batch=16,
    ),
    "text": TrainedModel(
        "CausalTransformer",
        {"width": 128, "num_layers": 4, "num_heads": 4, "positions": "rotary", "max_length": 256},
        "text",
        steps=300,
        batch=16,
        rate=3e-3,
        window=128,
    ),
    "text_draft": TrainedModel("CharRNN", {"units": 128}, "text", steps=1200, batch=32, rate=5e-3, window=64),
}
TINY: dict[str, dict[str, Any]] = {
    "GatedPixelCNN": {"filters": 4, "num_blocks": 1, "first_kernel_size": 3},
    "PixelCNNPP": {"filters": 4, "num_resnets": 1},
    "MADE": {"hidden": (16,)},
    "CausalTransformer": {"width": 8, "num_layers": 1, "num_heads": 2},
    "CharRNN": {"units": 8},
}


def trained(name: str, folder: pathlib.Path, data_dir: str | None = None, tiny: bool = False) -> Any:
    """Loads a model from its file, or trains it and writes the file.

    Args:
        name: of `MODELS`.
        folder: where `NAME.keras` lies, or is written.
        data_dir: of data in files.
        tiny: a few steps of a small model, to try the benchmark.

    Returns:
        The model, with averaged weights.
    """
    import tfar

    path = folder / f"{name}{'_tiny' if tiny else ''}.keras"
    if path.exists():
        return tfar.models.load(str(path))
    began = time.monotonic()
    model = _train(MODELS[name], data_dir, tiny)
    folder.mkdir(parents=True, exist_ok=True)
    model.save(str(path))
    print(f"{name}: trained in {time.monotonic() - began:.0f} s, written to {path}", file=sys.stderr)
    return model


def examples(name: str, data_dir: str | None = None, split: str = "train") -> np.ndarray:
    """Events of a split of the data that a model is trained on."""
    from tfar import data

    of = MODELS[name]
    options: dict[str, Any] = {} if of.window is None else {"window": of.window, "unit": "char"}
    return data.load_arrays(of.data, split, _folder(of, data_dir), transforms=of.transforms, **options)[0]["x"]


def _folder(of: TrainedModel, data_dir: str | None) -> str | None:
    """The folder of data in files; TFDS has one of its own, TFDS_DATA_DIR."""
    return data_dir if ":" in of.data else None


def _train(of: TrainedModel, data_dir: str | None, tiny: bool) -> Any:
    import keras
    import tensorflow as tf

    import tfar

    keras.utils.set_random_seed(0)
    options: dict[str, Any] = {} if of.window is None else {"window": of.window, "unit": "char"}
    arrays, info = tfar.data.load_arrays(of.data, "train", _folder(of, data_dir), transforms=of.transforms, **options)
    arguments = {**of.arguments, **(TINY[of.kind] if tiny else {})}
    if of.head:
        head = getattr(tfar.heads, of.head[0])(*of.head[1:])
    else:
        head = tfar.heads.Bernoulli() if info.levels == 2 else tfar.heads.Categorical(info.levels)
    shape = info.event_shape
    if of.window is not None:
        shape, arguments = (None,), {**arguments, "vocabulary": info.vocabulary}
    model = getattr(tfar.models, of.kind)(shape, head, **arguments)
    steps = 2 if tiny else of.steps
    batches = tf.data.Dataset.from_tensor_slices({"x": arrays["x"]}).shuffle(len(arrays["x"]), seed=0).repeat()
    rate = keras.optimizers.schedules.CosineDecay(0.0, steps, warmup_target=of.rate, warmup_steps=steps // 20 + 1)
    model.compile(
        keras.optimizers.Adam(rate, clipnorm=1.0, use_ema=True, ema_momentum=0.99), jit_compile=of.window is not None
    )
    history = model.fit(batches.batch(of.batch), steps_per_epoch=steps, verbose=0, shuffle=False)
    print(f"training bits/dim {history.history['loss'][-1]:.3f}", file=sys.stderr)
    return model
