"""Measures the cost of a step whose examples stand at positions of their own.

    python -m benchmarks.positions [--models=char_rnn,causal_transformer,wavenet,gated_pixel_cnn] [--batch=64]
                                     [--json=FILE]

A step of the plain graph (of an image a row) draws the next unit of every example: once with all examples at the last
position, where attention reads most, once with each at another one. Rounds alternate; printed are medians and the
median of the rounds' ratios. A server that admits a new text while others are half done needs this to be near 1.
"""

from __future__ import annotations

import functools
import statistics
from typing import Any

import numpy as np
from absl import flags

from benchmarks import results, sampling
from pipelines import command


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_list("models", ["char_rnn", "causal_transformer", "wavenet", "gated_pixel_cnn"], "What is measured.")
    flags.DEFINE_integer("batch", 64, "Examples.", lower_bound=2)
    flags.DEFINE_integer("repeats", 7, "Rounds of which the medians are taken.", lower_bound=1)
    flags.DEFINE_bool("tiny", False, "Models at a size that says nothing about speed, for tests.")
    flags.DEFINE_string("json", None, "File to write the numbers to.")


def main() -> int:
    """Runs the command; returns the exit code."""
    values = flags.FLAGS
    command.import_quietly()
    measured = {}
    for name in values.models:
        result = measured[name] = measure(name, values.batch, values.repeats, values.tiny)
        print(
            f"{name:20} {1e3 * result['same_s']:.2f} ms at one position, {1e3 * result['own_s']:.2f} ms at "
            f"{result['positions']}: ratio {result['ratio']:.2f}",
            flush=True,
        )
    results.write(values.json, figures(measured, values.batch), measured, quick=values.tiny)
    return 0


def measure(name: str, batch: int, repeats: int, tiny: bool = False) -> dict[str, Any]:
    """Times a step of one model, with all examples at the last position and with each at its own."""
    import keras
    import tensorflow as tf

    from tfar.sampling import incremental

    keras.utils.set_random_seed(0)
    model = sampling.build(name, tiny)
    (stage,) = model.stages
    last = incremental.num_units(stage, model.event.num_cells) - 1
    own = np.linspace(0, last, batch).astype(np.int32) // stage.period * stage.period
    begun = stage.begin(batch, per_example=True)
    head = model.head

    def choose(params: tf.Tensor, site: Any, aux: Any) -> tuple[tf.Tensor, Any]:
        noise = tf.fill([batch, head.noise_size], 0.5)
        return head.sample(params, noise, tf.ones([batch]))[:, None], aux

    @functools.partial(tf.function, autograph=False)
    def step(carry: Any) -> Any:
        return stage.draw(carry, choose, ())[0]

    carries = {
        "same": begun._replace(position=tf.constant(last)),
        "own": begun._replace(position=tf.constant(own)),
    }
    rounds = sampling.alternate(
        {place: functools.partial(sampling.fetch, step, carry) for place, carry in carries.items()}, repeats
    )
    return {
        "same_s": statistics.median(rounds["same"]),
        "own_s": statistics.median(rounds["own"]),
        "positions": len(set(own.tolist())),
        "ratio": statistics.median(own / same for own, same in zip(rounds["own"], rounds["same"], strict=True)),
    }


def figures(measured: dict[str, dict[str, Any]], batch: int) -> dict[str, results.Figure]:
    """Returns the figures of the models."""
    found = {}
    for name, result in measured.items():
        what = f"next unit of {batch} examples, at {result['positions']} positions against one, `{name}`"
        cell = f"{result['ratio']:.2f} ({1e3 * result['own_s']:.1f} ms, {1e3 * result['same_s']:.1f} ms)"
        found[f"positions/{name}"] = results.figure(what, cell, result, "ratio 1.3")
    return found


if __name__ == "__main__":
    command.run(main, define_flags)
