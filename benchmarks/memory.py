"""Measures the memory of a training step, with and without the options that trade time for it.

    python -m benchmarks.memory [--preset=image_transformer_small] [--batches=1,4,16] [--json=FILE]

    kept        nothing: every activation is kept for the backward pass
    recomputed  `recompute`: of every block the inputs are kept
    blocked     `attention_block_size`, where the model has it: weights of attention by blocks of 128 queries
    both        both

Every figure is of a process of its own that builds the preset for 32 x 32 colour images and takes two training steps
(a plain graph, Adam) on random ones: peak resident memory, less that of the process before its first step, and the
seconds of the second step. A preset that leaves the head open gets a mixture of ten logistics.
"""

from __future__ import annotations

import inspect
import json
import resource
import subprocess
import sys
import time
from typing import Any

from absl import flags

from benchmarks import results
from pipelines import command

# Linux counts in KiB.
_UNIT = 1024 / 2**20
WAYS: dict[str, dict[str, Any]] = {
    "kept": {},
    "recomputed": {"recompute": True},
    "blocked": {"attention_block_size": 128},
    "both": {"recompute": True, "attention_block_size": 128},
}


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("preset", "image_transformer_small", "A preset whose model has the option recompute.")
    flags.DEFINE_list("batches", ["1", "4", "16"], "Numbers of images in a step.")
    flags.DEFINE_list("event_shape", ["32", "32", "3"], "Height, width and channels of an image.")
    flags.DEFINE_string("json", None, "File to write the numbers to.")
    flags.DEFINE_enum("measure", None, list(WAYS), "Measure one batch in this process and print JSON; for the command.")


def main() -> int:
    """Runs the command; returns the exit code."""
    values = flags.FLAGS
    command.import_quietly()
    if values.measure:
        shape = tuple(int(size) for size in values.event_shape)
        print(json.dumps(measure(values.preset, shape, int(values.batches[0]), values.measure)))
        return 0
    measured = []
    for batch in values.batches:
        for way in ways(values.preset):
            arguments = [f"--measure={way}", f"--preset={values.preset}", f"--batches={batch}"]
            arguments.append(f"--event_shape={','.join(values.event_shape)}")
            output = subprocess.run(
                [sys.executable, "-m", "benchmarks.memory", *arguments], check=True, capture_output=True, text=True
            ).stdout
            measured.append(json.loads(output.splitlines()[-1]))
    print(table(measured))
    results.write(values.json, figures(measured), measured, quick=values.preset.endswith("_tiny"))
    return 0


def ways(preset: str) -> list[str]:
    """Names of `WAYS` whose options the model of a preset has."""
    import tfar

    known = inspect.signature(tfar.models.presets()[preset]).parameters
    return [way for way, options in WAYS.items() if options.keys() <= known.keys()]


def measure(preset: str, event_shape: tuple[int, ...], batch: int, way: str) -> dict[str, Any]:
    """Takes two training steps in this process.

    Args:
        preset: of a model with the options of the way.
        event_shape: (height, width, channels), where the preset leaves it open.
        batch: number of images.
        way: of `WAYS`.

    Returns:
        The figures; memory in MiB, time in seconds.
    """
    import keras
    import tensorflow as tf

    import tfar

    keras.utils.set_random_seed(0)
    given = tfar.models.presets()[preset].PRESETS[preset]
    if "event_shape" not in given:
        given = {"event_shape": event_shape, "head": tfar.heads.DiscretizedLogisticMixture(10)}
    else:
        given = {}
    model = tfar.models.from_preset(preset, **given, **WAYS[way])
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
        "way": way,
        "loss": loss,
        "before_mib": round(before),
        "step_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT - before),
        "step_s": round(time.perf_counter() - begun, 2),
    }


def figures(measured: list[dict[str, Any]]) -> dict[str, results.Figure]:
    """Returns the figures of a preset, one for each batch."""
    found = {}
    for kept in (result for result in measured if result["way"] == "kept"):
        steps = {result["way"]: result["step_mib"] for result in measured if result["batch"] == kept["batch"]}
        others = (f"{way} {mib} ({mib / max(kept['step_mib'], 1):.0%})" for way, mib in steps.items() if way != "kept")
        cell = f"{kept['step_mib']} MiB; {', '.join(others)}"
        shape = " x ".join(map(str, kept["event_shape"]))
        name = f"memory/{kept['preset']}_batch_{kept['batch']}"
        found[name] = results.figure(f"`{kept['preset']}`, {shape}, batch {kept['batch']}", cell, steps)
    return found


def table(measured: list[dict[str, Any]]) -> str:
    """Returns the figures for people."""
    lines = [
        f"{measured[0]['preset']}, {' x '.join(map(str, measured[0]['event_shape']))}: memory of a training step",
        f"{'batch':>6}  {'way':<12}{'memory':>12}{'share':>8}{'seconds a step':>16}",
    ]
    kept = {result["batch"]: result["step_mib"] for result in measured if result["way"] == "kept"}
    for result in measured:
        share = result["step_mib"] / max(kept[result["batch"]], 1)
        figures = f"{result['step_mib']:>8} MiB{share:>8.0%}{result['step_s']:>16.2f}"
        lines.append(f"{result['batch']:>6}  {result['way']:<12}{figures}")
    return "\n".join(lines)


if __name__ == "__main__":
    command.run(main, define_flags)
