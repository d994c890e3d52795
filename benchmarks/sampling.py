"""Measures what sampling costs, in parallel forward passes of the same batch.

    python -m benchmarks.sampling --model=gated_pixel_cnn --batch=16 [--json=FILE] [--repeats=7] [--tiny]

    forward    one parallel pass: the faster one of the plain graph's and XLA's is "a forward". Its share of the speed
               of a [1024, 1024] matrix product, measured beside it, shows that no slow forward flatters the ratio
    first call tracing, compiling and drawing once
    sample     `model.sample`: noise, loop, result
    cost       sample / forward. The limit of an incremental sampler is 1: every activation computed once
    naive      the network run anew for every position, measured on a few positions and scaled to all of them
    speedup    naive / sample, both under XLA or both in the plain graph

Figures are medians of `repeats` rounds. A round times each of them once, one after the other, so that what else the
machine does hits all alike; what takes less than 20 ms is repeated within a round. The floating point operations of a
forward are those that TensorFlow's profiler counts in its graph (products and additions separately).
"""

from __future__ import annotations

import functools
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from absl import flags

from pipelines import command

MODES = ("xla", "plain")
_MATMUL_SIZE = 1024
_LEAST_SECONDS = 0.02
_MOST_CALLS = 100


def define_flags() -> None:
    """The command's flags."""
    flags.DEFINE_string("model", "gated_pixel_cnn", "A model of this benchmark, or a preset.")
    flags.DEFINE_integer("batch", 16, "Events drawn together.", lower_bound=1)
    flags.DEFINE_integer("repeats", 7, "Rounds of which the medians are taken.", lower_bound=1)
    flags.DEFINE_integer("naive_positions", 4, "Positions on which the naive sampler is measured.", lower_bound=1)
    flags.DEFINE_bool("tiny", False, "The model at a size that says nothing about speed, for tests.")
    flags.DEFINE_string("json", None, "File to write the numbers to.")


def main() -> int:
    """Runs the command; returns the exit code."""
    values = flags.FLAGS
    command.import_quietly()
    model = build(values.model, values.tiny)
    result = {"model": values.model, **measure(model, values.batch, values.repeats, values.naive_positions)}
    print(table(result))
    if values.json:
        with open(values.json, "w", encoding="utf-8") as file:
            file.write(json.dumps(result, indent=2) + "\n")
        print(f"written: {values.json}", file=sys.stderr)
    return 0


# Models.


def benchmarked() -> dict[str, tuple[str, dict[str, Any], dict[str, Any]]]:
    """Models with a name of their own: class, arguments, and what `--tiny` changes of them."""
    from tfar import heads

    tiny_convolutions = {"filters": 4, "num_blocks": 1, "first_kernel_size": 3}
    grey = {"event_shape": (28, 28, 1), "head": heads.Bernoulli(), "filters": 64, "num_blocks": 10}
    tiny_grey = {"event_shape": (5, 5, 1), **tiny_convolutions}
    colour = {"event_shape": (32, 32, 3), "head": heads.Categorical(256), "filters": 64, "num_blocks": 10}
    tiny_colour = {"event_shape": (4, 4, 3), "head": heads.Categorical(4), **tiny_convolutions}
    return {
        "gated_pixel_cnn": ("GatedPixelCNN", grey, tiny_grey),
        "gated_pixel_cnn_rgb": ("GatedPixelCNN", colour, tiny_colour),
        "pixel_cnn": ("PixelCNN", grey, tiny_grey),
        "pixel_cnn_rgb": ("PixelCNN", colour, tiny_colour),
        "made": (
            "MADE",
            {"event_shape": (784,), "head": heads.Bernoulli(), "hidden": (500,)},
            {"event_shape": (12,), "hidden": (8,)},
        ),
        "causal_conv_net": (
            "CausalConvNet",
            {"event_shape": (784,), "head": heads.Categorical(256), "filters": 64, "num_layers": 9},
            {"event_shape": (16,), "head": heads.Categorical(4), "filters": 4, "num_layers": 3},
        ),
    }


def build(name: str, tiny: bool = False) -> Any:
    """A model by name.

    Args:
        name: of `benchmarked()`, or a preset; where a preset leaves them open, the event is a binary 28x28 image.
        tiny: shrink it.

    Raises:
        ValueError: unknown name, or the preset needs more than an event shape and a head.
    """
    import tfar

    named = benchmarked()
    if name in named:
        kind, arguments, smaller = named[name]
        return getattr(tfar.models, kind)(**arguments | (smaller if tiny else {}))
    presets = tfar.models.presets()
    if name not in presets:
        raise ValueError(f"--model must be one of {', '.join([*named, *presets])}; got {name!r}")
    given = presets[name].PRESETS[name]
    open_arguments = {"event_shape": (5, 5, 1) if tiny else (28, 28, 1), "head": tfar.heads.Bernoulli()}
    return tfar.models.from_preset(name, **{key: value for key, value in open_arguments.items() if key not in given})


# Measurement.


def measure(model: Any, batch: int, repeats: int = 7, naive_positions: int = 4) -> dict[str, Any]:
    """Times a model.

    Args:
        model: without a condition; events of known shape.
        batch: events drawn together.
        repeats: rounds.
        naive_positions: positions on which the naive sampler is measured, in the middle of the event.

    Returns:
        The figures, as JSON values; times in seconds.

    Raises:
        ValueError: the model has a condition.
    """
    import tensorflow as tf

    if model.condition is not None:
        raise ValueError(f"the benchmark takes models without a condition, got {model.condition!r}")
    load_before = os.getloadavg()[0]
    jit = {"xla": True, "plain": False}
    draw = {mode: functools.partial(_draw, model, batch, jit[mode]) for mode in MODES}
    first_call = {mode: _seconds(draw[mode]) for mode in MODES}

    encoded = model.encode(draw["plain"]())
    forward = {mode: tf.function(model.decode, autograph=False, jit_compile=jit[mode] or None) for mode in MODES}
    naive, num_positions, measured = _naive_slices(model, batch, naive_positions, jit)
    square = tf.random.stateless_uniform([_MATMUL_SIZE, _MATMUL_SIZE], [0, 0])
    multiply = tf.function(lambda: tf.matmul(square, square), autograph=False)
    calls: dict[str, Callable[[], Any]] = {"matmul": lambda: multiply().numpy()}
    for mode in MODES:
        calls[f"forward {mode}"] = functools.partial(_fetch, forward[mode], encoded)
        calls[f"sample {mode}"] = draw[mode]
        calls[f"naive {mode}"] = naive[mode]
    rounds = _alternate(calls, repeats)
    median = {name: statistics.median(seconds) for name, seconds in rounds.items()}

    forward_s = min(median[f"forward {mode}"] for mode in MODES)
    flops = _count_flops(forward["plain"].get_concrete_function(encoded).graph)
    matmul = 2 * _MATMUL_SIZE**3 / median["matmul"]
    result = {
        "class": type(model).__name__,
        "event_shape": list(model.event_shape),
        "head": repr(model.head),
        "num_parameters": model.count_params(),
        "batch": batch,
        "repeats": repeats,
        "device": (tf.config.list_physical_devices("GPU") or tf.config.list_physical_devices("CPU"))[0].device_type,
        "num_cpus": os.cpu_count(),
        "load_average_before": round(load_before, 2),
        "tensorflow": tf.__version__,
        "forward_s": forward_s,
        "forward_plain_s": median["forward plain"],
        "forward_xla_s": median["forward xla"],
        "forward_gflop": flops / 1e9,
        "forward_gflop_per_s": flops / forward_s / 1e9,
        "matmul_gflop_per_s": matmul / 1e9,
        "forward_share_of_matmul": flops / forward_s / matmul,
        "num_positions": num_positions,
        "naive_positions_measured": measured,
        "naive_note": f"naive_s is scaled from {measured} of {num_positions} positions",
    }
    for mode in MODES:
        naive_s = median[f"naive {mode}"] * num_positions / measured
        sample_s = median[f"sample {mode}"]
        result[mode] = {
            "first_call_s": first_call[mode],
            "sample_s": sample_s,
            "cost_in_forwards": sample_s / forward_s,
            "naive_s": naive_s,
            "speedup": naive_s / sample_s,
        }
    return {**result, "rounds_s": rounds}


def _fetch(function: Callable[..., Any], *arguments: Any) -> Any:
    """Runs a compiled function and waits for its result."""
    outputs = function(*arguments)
    return (outputs["canvas"] if isinstance(outputs, dict) else outputs).numpy()


def _finish(function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls a function and waits for its result."""
    return function(*arguments).numpy()


def _draw(model: Any, batch: int, jit_compile: bool) -> Any:
    return model.sample(batch, seed=0, batch_size=batch, jit_compile=jit_compile).numpy()


def _naive_slices(
    model: Any, batch: int, positions: int, jit: dict[str, bool]
) -> tuple[dict[str, Callable[[], Any]], int, int]:
    """The naive sampler on a slice in the middle of the event: by mode; positions in all; positions measured."""
    import tensorflow as tf

    from tfar.core import noise as noises
    from tfar.sampling import Draw, naive

    stage = model.stage
    canvas = model.event.to_grid(tf.zeros([batch, *model.event_shape], model.head.dtype))
    numbers = noises.uniform(noises.seed_rows(0, batch), model.event.num_positions, model.head.noise_size)
    context, numbers = model.prepare_draws(None, numbers)
    carry = naive.start(stage, canvas, context)
    units = naive.num_units(stage, model.event.num_cells)
    measured = min(positions, units)
    begin = (units - measured) // 2

    def advance(carry: Any, numbers: tf.Tensor, context: Any, start: tf.Tensor, stop: tf.Tensor) -> tf.Tensor:
        return naive.advance(stage, carry, Draw(numbers, tf.ones([batch])), context, start, stop)["canvas"]

    span = tf.constant(begin), tf.constant(begin + measured)
    slices: dict[str, Callable[[], Any]] = {}
    for mode in MODES:
        function = tf.function(advance, autograph=False, jit_compile=jit[mode] or None)
        slices[mode] = functools.partial(_fetch, function, carry, numbers, context, *span)
    return slices, units, measured


def _alternate(calls: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Seconds per call, one after the other in every round."""
    counts = {}
    for name, call in calls.items():
        call()  # traces and compiles
        counts[name] = min(_MOST_CALLS, math.ceil(_LEAST_SECONDS / max(_seconds(call), 1e-6)))
    rounds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            rounds[name].append(_seconds(call, counts[name]))
    return rounds


def _seconds(call: Callable[[], Any], count: int = 1) -> float:
    began = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - began) / count


def _count_flops(graph: Any) -> int:
    import tensorflow as tf

    from export.servable import quiet

    profiler = tf.compat.v1.profiler
    options = profiler.ProfileOptionBuilder(profiler.ProfileOptionBuilder.float_operation())
    with quiet():
        return profiler.profile(graph, options=options.with_empty_output().build()).total_float_ops


def table(result: dict[str, Any]) -> str:
    """The figures for people."""
    lines = [
        f"{result['model']}: {result['class']} {tuple(result['event_shape'])}, {result['num_parameters']:,} weights, "
        f"batch {result['batch']}, {result['device']}, {result['num_cpus']} cores, "
        f"load {result['load_average_before']} before, medians of {result['repeats']} rounds",
        f"forward    plain {_time(result['forward_plain_s'])}, XLA {_time(result['forward_xla_s'])}; the faster one: "
        f"{result['forward_gflop_per_s']:.0f} GFLOP/s, {result['forward_share_of_matmul']:.0%} of a matrix product's "
        f"{result['matmul_gflop_per_s']:.0f}",
        f"{'':11}{'first call':>12}{'sample':>12}{'cost':>16}{'naive':>12}{'speedup':>10}",
    ]
    for mode in MODES:
        row = result[mode]
        cost = f"{row['cost_in_forwards']:.2f} forwards"
        lines.append(
            f"{'XLA' if mode == 'xla' else mode:11}{_time(row['first_call_s']):>12}{_time(row['sample_s']):>12}"
            f"{cost:>16}{_time(row['naive_s']):>12}{row['speedup']:>9.0f}x"
        )
    lines.append(result["naive_note"].replace("naive_s", "naive"))
    return "\n".join(lines)


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms" if seconds < 0.1 else f"{seconds:.2f} s"


if __name__ == "__main__":
    command.run(main, define_flags)
