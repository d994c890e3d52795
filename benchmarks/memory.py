"""Measures the memory of a training step, with and without recomputation of the blocks' activations.

    python -m benchmarks.memory [--preset=image_transformer_small] [--batches=1,4,16] [--json=FILE]

Every figure is of a process of its own that builds the preset for 32 x 32 colour images and takes two training steps
(a plain graph, Adam) on random ones: peak resident memory, less that of the process before its first step, and the
seconds of the second step. A preset that leaves the head open gets a mixture of ten logistics.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from typing import Any

from absl import flags

from pipelines import command

# Linux counts in KiB.
_UNIT = 1024 / 2**20


def define_flags() -> None:
    """The command's flags."""
    flags.DEFINE_string("preset", "image_transformer_small", "A preset whose model has the option recompute.")
    flags.DEFINE_list("batches", ["1", "4", "16"], "Numbers of images in a step.")
    flags.DEFINE_list("event_shape", ["32", "32", "3"], "Height, width and channels of an image.")
    flags.DEFINE_string("json", None, "File to write the numbers to.")
    flags.DEFINE_bool("measure", False, "Measure one batch in this process and print JSON; the command uses it.")
    flags.DEFINE_bool("recompute", False, "With --measure: the option.")


def main() -> int:
    """Runs the command; returns the exit code."""
    values = flags.FLAGS
    if values.measure:
        command.import_quietly()
        shape = tuple(int(size) for size in values.event_shape)
        print(json.dumps(measure(values.preset, shape, int(values.batches[0]), values.recompute)))
        return 0
    results = []
    for batch in values.batches:
        for recompute in (False, True):
            arguments = ["--measure", f"--preset={values.preset}", f"--batches={batch}", f"--recompute={recompute}"]
            arguments.append(f"--event_shape={','.join(values.event_shape)}")
            output = subprocess.run(
                [sys.executable, "-m", "benchmarks.memory", *arguments], check=True, capture_output=True, text=True
            ).stdout
            results.append(json.loads(output.splitlines()[-1]))
    print(table(results))
    if values.json:
        with open(values.json, "w", encoding="utf-8") as file:
            file.write(json.dumps(results, indent=2) + "\n")
        print(f"written: {values.json}", file=sys.stderr)
    return 0


def measure(preset: str, event_shape: tuple[int, ...], batch: int, recompute: bool) -> dict[str, Any]:
    """Takes two training steps in this process.

    Args:
        preset: of a model with the option `recompute`.
        event_shape: (height, width, channels), where the preset leaves it open.
        batch: number of images.
        recompute: the option.

    Returns:
        The figures; memory in MiB, time in seconds.
    """
    import keras
    import tensorflow as tf

    import tfar

    given = tfar.models.presets()[preset].PRESETS[preset]
    if "event_shape" not in given:
        given = {"event_shape": event_shape, "head": tfar.heads.DiscretizedLogisticMixture(10)}
    else:
        given = {}
    model = tfar.models.from_preset(preset, **given, recompute=recompute)
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(model.trainable_variables)
    x = tf.constant(tfar.testing.random_events(model, batch))

    @tf.function(autograph=False)
    def step(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = model.compute_loss(x=x, y_pred=model(x, training=True))
        weights = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, [weight.value for weight in weights]), weights, strict=True))
        return loss

    step.get_concrete_function(x)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT
    loss = float(step(x))
    begun = time.perf_counter()
    step(x).numpy()
    return {
        "preset": preset,
        "event_shape": list(model.event_shape),
        "batch": batch,
        "recompute": recompute,
        "loss": loss,
        "before_mib": round(before),
        "step_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT - before),
        "step_s": round(time.perf_counter() - begun, 2),
    }


def table(results: list[dict[str, Any]]) -> str:
    """The figures for people."""
    lines = [
        f"{results[0]['preset']}, {' x '.join(map(str, results[0]['event_shape']))}: memory of a training step",
        f"{'batch':>6}{'kept':>14}{'recomputed':>14}{'share':>8}{'seconds a step':>22}",
    ]
    for kept, again in zip(results[::2], results[1::2], strict=True):
        times = f"{kept['step_s']:.2f}, {again['step_s']:.2f}"
        share = again["step_mib"] / max(kept["step_mib"], 1)
        lines.append(f"{kept['batch']:>6}{kept['step_mib']:>10} MiB{again['step_mib']:>10} MiB{share:>8.0%}{times:>22}")
    return "\n".join(lines)


if __name__ == "__main__":
    command.run(main, define_flags)
