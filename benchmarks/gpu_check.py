"""Compares training, sampling and numerics between GPU and CPU; `make gpu-check`.

    python -m benchmarks.gpu_check [--json=FILE]

Without a visible GPU it says so and exits 0. With one it exits 1 where
    log p of a pixel under the same weights differs by more than 1e-3 nats,
    the loss after 20 equal steps differs by more than 2%, or
    a sample from the same noise differs first where it is no tie (the noise within 1e-4 of a boundary).
TF32 is switched off for the comparison.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import app, flags

_JSON = flags.DEFINE_string("json", None, "File to write the numbers to.")

_STEPS, _BATCH, _SAMPLES = 20, 64, 16
_TOLERANCE_NATS, _TOLERANCE_LOSS, _TOLERANCE_TIE = 1e-3, 0.02, 1e-4


def measure(device: str) -> dict[str, Any]:
    """Trains, scores and samples on one device, everything from the same seeds.

    Args:
        device: "CPU:0" or "GPU:0".
    """
    import keras
    import tensorflow as tf

    import tfar
    from tfar import training
    from tfar.data import Batches, load_arrays

    keras.utils.set_random_seed(0)
    arrays, info = load_arrays("digits", "train", condition="label")
    strategy = tf.distribute.OneDeviceStrategy(device)
    with strategy.scope():
        model = tfar.models.GatedPixelCNN(
            info.event_shape,
            tfar.heads.Categorical(info.levels),
            filters=32,
            num_blocks=5,
            first_kernel_size=5,
            condition=tfar.conditions.Label(info.num_labels),
        )
        optimizer = training.optimizer("adam", 1e-3)
    with tf.device(device):
        scores = model.score(arrays["x"][:_BATCH], arrays["condition"][:_BATCH]).numpy()
        labels = np.arange(_SAMPLES) % info.num_labels
        noise = tfar.core.uniform(tfar.core.seed_rows(0, _SAMPLES), model.event.num_positions, model.head.noise_size)
        samples = model.sample(_SAMPLES, labels, noise=noise).numpy()
        # How far the noise of every draw lies from a boundary between two values.
        places = [_SAMPLES, *model.event.positions]
        params = model(samples, labels, training=False)
        distances = model.head.boundary_distance(params, tf.reshape(noise, [*places, -1])).numpy()
        began = time.monotonic()
        model.sample(_SAMPLES, labels, seed=1).numpy()
        sample_seconds = time.monotonic() - began
    step = training.TrainStep(model, optimizer, strategy, _BATCH, ema_decay=0.9)
    batches = Batches(arrays, _BATCH)
    losses = [float(step(batches.batch(0), 0)[0])]  # traced here
    began = time.monotonic()
    losses += [float(step(batches.batch(index), index)[0]) for index in range(1, _STEPS)]
    return {
        "device": device,
        "scores": scores,
        "samples": samples,
        "distances": distances,
        "losses": losses,
        "step_seconds": (time.monotonic() - began) / (_STEPS - 1),
        "sample_seconds": sample_seconds,
    }


def compare(cpu: dict[str, Any], gpu: dict[str, Any]) -> dict[str, Any]:
    """What differs between two results of `measure`, and whether that is within the tolerances."""
    nats = float(np.abs(cpu["scores"] - gpu["scores"]).max())
    loss = abs(cpu["losses"][-1] - gpu["losses"][-1]) / cpu["losses"][-1]
    tipped, unexplained = _first_differences(cpu, gpu)
    return {
        "largest_difference_nats": nats,
        "relative_difference_loss": loss,
        "samples_with_a_tie": tipped,
        "samples_that_differ_without_a_tie": unexplained,
        "passed": nats <= _TOLERANCE_NATS and loss <= _TOLERANCE_LOSS and unexplained == 0,
        **{f"{name}_step_seconds": run["step_seconds"] for name, run in (("cpu", cpu), ("gpu", gpu))},
        **{f"{name}_sample_seconds": run["sample_seconds"] for name, run in (("cpu", cpu), ("gpu", gpu))},
    }


def _first_differences(cpu: dict[str, Any], gpu: dict[str, Any]) -> tuple[int, int]:
    """Samples whose first difference is a tie, and those where it is not; what follows it differs rightly."""
    ties = others = 0
    for a, b, distance in zip(cpu["samples"], gpu["samples"], cpu["distances"], strict=True):
        different = (a != b).reshape(-1)
        if different.any():
            tie = distance.reshape(-1)[np.argmax(different)] <= _TOLERANCE_TIE
            ties, others = ties + int(tie), others + int(not tie)
    return ties, others


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns the exit code."""
    del arguments
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):
        print("gpu-check skipped: TensorFlow sees no GPU (install the extra `gpu` on a machine that has one)")
        return 0
    tf.config.experimental.enable_tensor_float_32_execution(False)
    result = compare(measure("CPU:0"), measure("GPU:0"))
    for key, value in result.items():
        print(f"{key}: {value}")
    if _JSON.value:
        from tfar.training.checkpoint import write_atomically

        write_atomically(_JSON.value, (json.dumps(result, indent=2) + "\n").encode())
    print("gpu-check passed" if result["passed"] else "gpu-check FAILED", file=sys.stderr)
    return 0 if result["passed"] else 1


if __name__ == "__main__":
    app.run(main)
