"""Measures what sampling costs, in parallel forward passes of the same batch.

    python -m benchmarks.sampling --model=gated_pixel_cnn [--batch=16] [--json=FILE] [--repeats=7] [--tiny]

    forward    one parallel pass: the faster one of the plain graph's and XLA's is "a forward". Its share of the speed
               of a [1024, 1024] matrix product, measured beside it, shows that no slow forward flatters the ratio
    first call tracing, compiling and drawing once
    sample     `model.sample`: noise, loop, result
    cost       sample / forward. The limit of an incremental sampler is 1: every activation computed once
    naive      the network run anew for every position, measured on a few positions and scaled to all of them
    speedup    naive / sample, both under XLA or both in the plain graph

    bytes/s    of sequences: what a step must read (every weight, keys and values of attention) times the steps, per
               second of sampling, beside the speed at which the machine copies memory (bytes read)
    dilations  of WaveNet: the same network with all dilations 2, whose steps should take as long (dilation 1 keeps
               no ring of past inputs and would be another computation)
    real time  of audio: seconds of sound per second of sampling

The plain graph draws the first 200 steps of a second of audio, scaled to all of them: whole, it takes half a minute.

Figures are medians of `repeats` rounds. A round times each of them once, one after the other, so that what else the
machine does hits all alike; what takes less than 20 ms is repeated within a round. The floating point operations of a
forward are those that TensorFlow's profiler counts in its graph (products and additions separately).
"""

from __future__ import annotations

import functools
import math
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from absl import flags

from benchmarks import results
from benchmarks.sampling_figures import MODES, figures, table
from benchmarks.sampling_models import SAMPLE_RATE, Benchmarked, benchmarked, build
from pipelines import command

_MATMUL_SIZE = 1024
_LEAST_SECONDS = 0.02
_MOST_CALLS = 100
_COPIED_BYTES = 2**28
_PLAIN_STEPS_OF_AUDIO = 200


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("model", "gated_pixel_cnn", "A model of this benchmark, or a preset.")
    flags.DEFINE_integer("batch", None, "Events drawn together; 16, for audio 1.", lower_bound=1)
    flags.DEFINE_integer("repeats", 7, "Rounds of which the medians are taken.", lower_bound=1)
    flags.DEFINE_integer("naive_positions", 4, "Positions on which the naive sampler is measured.", lower_bound=1)
    flags.DEFINE_bool("tiny", False, "The model at a size that says nothing about speed, for tests.")
    flags.DEFINE_string("json", None, "File to write the numbers to.")


def main() -> int:
    """Runs the command; returns the exit code."""
    values = flags.FLAGS
    command.import_quietly()
    model = build(values.model, values.tiny)
    known = benchmarked().get(values.model, Benchmarked("", {}, {}))
    batch = values.batch or (1 if known.audio else 16)
    audio: dict[str, Any] = {}
    if known.audio:
        audio = {"near": build(values.model, values.tiny, dilation=2), "plain_units": _PLAIN_STEPS_OF_AUDIO}
    measured = measure(model, batch, values.repeats, values.naive_positions, **audio)
    if known.audio:
        for mode in MODES:
            measured[mode]["real_time"] = measured["num_positions"] / SAMPLE_RATE / measured[mode]["sample_s"]
    result = {"model": values.model, **measured}
    print(table(result))
    results.write(values.json, figures(result, values.tiny), result, quick=values.tiny)
    return 0


def measure(
    model: Any,
    batch: int,
    repeats: int = 7,
    naive_positions: int = 4,
    near: Any = None,
    plain_units: int | None = None,
) -> dict[str, Any]:
    """Times a model.

    Args:
        model: without a condition; events of known shape.
        batch: events drawn together.
        repeats: rounds.
        naive_positions: positions on which the naive sampler is measured, in the middle of the event.
        near: the same model with all dilations 2, whose sampling is timed in the same rounds.
        plain_units: rows or steps that the plain graph draws, scaled to all of them; None: a whole sample.

    Returns:
        The figures, as JSON values; times in seconds.

    Raises:
        ValueError: the model has a condition.
    """
    from tfar.sampling import naive

    if model.condition is not None:
        raise ValueError(f"the benchmark takes models without a condition, got {model.condition!r}")
    load_before = os.getloadavg()[0]
    draw, units, drawn = _draws(model, batch, plain_units)
    draw_near = {} if near is None else _draws(near, batch, plain_units)[0]
    scale = {"xla": 1.0, "plain": units / drawn}
    note = "" if plain_units is None else f"; the plain graph's sample_s from {drawn} of {units}"
    first_call = {mode: _seconds(draw[mode]) for mode in MODES}

    naive_slice, num_positions, measured = slices_of(
        naive, model, batch, naive_positions, {"xla": True, "plain": False}
    )
    read_bytes = _bytes_of_a_step(model, batch)
    calls, flops = _calls(model, batch, draw, draw_near, naive_slice, read_bytes > 0)
    rounds = alternate(calls, repeats)
    median = {name: statistics.median(seconds) for name, seconds in rounds.items()}

    forward_s = min(median[f"forward {mode}"] for mode in MODES)
    if type(model).__name__ in ("CharRNN", "PixelRNN"):
        # The profiler counts the body of a loop once; every weight of the matrices is used once per position.
        flops = 2 * _weights_of_matrices(model.network) * batch * num_positions
    matmul = 2 * _MATMUL_SIZE**3 / median["matmul"]
    result = {
        **_facts(model),
        "batch": batch,
        "repeats": repeats,
        "load_average_before": round(load_before, 2),
        "forward_s": forward_s,
        "forward_plain_s": median["forward plain"],
        "forward_xla_s": median["forward xla"],
        "forward_gflop": flops / 1e9,
        "forward_gflop_per_s": flops / forward_s / 1e9,
        "matmul_gflop_per_s": matmul / 1e9,
        "forward_share_of_matmul": flops / forward_s / matmul,
        "num_positions": num_positions,
        "naive_positions_measured": measured,
        "naive_note": f"naive_s is scaled from {measured} of {num_positions} positions{note}",
    }
    modes = {
        mode: {"first_call_s": first_call[mode]}
        | _of_mode(median, mode, forward_s, num_positions, measured, scale[mode], read_bytes)
        for mode in MODES
    }
    if read_bytes:
        result["copy_gb_per_s"] = _COPIED_BYTES / median["copy"] / 1e9
    return {**result, **modes, "rounds_s": rounds}


def _facts(model: Any) -> dict[str, Any]:
    """Returns the facts about the model and the machine."""
    import tensorflow as tf

    return {
        "class": type(model).__name__,
        "event_shape": list(model.event_shape),
        "head": repr(model.head),
        "num_parameters": model.count_params(),
        "device": (tf.config.list_physical_devices("GPU") or tf.config.list_physical_devices("CPU"))[0].device_type,
        "num_cpus": os.cpu_count(),
        "tensorflow": tf.__version__,
    }


def _draws(model: Any, batch: int, plain_units: int | None) -> tuple[dict[str, Callable[[], Any]], int, int]:
    """Returns sampling calls by mode, the units of an event, and how many of them the plain graph draws."""
    from tfar.sampling import incremental

    draw: dict[str, Callable[[], Any]] = {
        mode: functools.partial(draw_events, model, batch, mode == "xla") for mode in MODES
    }
    if plain_units is None:
        return draw, 1, 1
    slices, units, drawn = slices_of(incremental, model, batch, plain_units, {"plain": False}, begin=0)
    return draw | slices, units, drawn


def _calls(
    model: Any,
    batch: int,
    draw: dict[str, Callable[[], Any]],
    draw_near: dict[str, Callable[[], Any]],
    naive_slice: dict[str, Callable[[], Any]],
    copies: bool,
) -> tuple[dict[str, Callable[[], Any]], int]:
    """Returns the calls that a round times, by name, and the floating point operations of a forward pass."""
    import tensorflow as tf

    encoded = model.encode(draw_events(model, batch, True))
    forward = {mode: tf.function(model.decode, autograph=False, jit_compile=mode == "xla" or None) for mode in MODES}
    square = tf.random.stateless_uniform([_MATMUL_SIZE, _MATMUL_SIZE], [0, 0])
    multiply = tf.function(lambda: tf.matmul(square, square), autograph=False)
    calls: dict[str, Callable[[], Any]] = {"matmul": lambda: multiply().numpy()}
    for mode in MODES:
        calls[f"forward {mode}"] = functools.partial(fetch, forward[mode], encoded)
        calls[f"sample {mode}"] = draw[mode]
        calls[f"naive {mode}"] = naive_slice[mode]
        if draw_near:
            calls[f"near {mode}"] = draw_near[mode]
    if copies:
        source, target = np.ones(_COPIED_BYTES, np.uint8), np.ones(_COPIED_BYTES, np.uint8)
        calls["copy"] = functools.partial(np.copyto, target, source)
    return calls, count_flops(forward["plain"].get_concrete_function(encoded).graph)


def _of_mode(
    median: dict[str, float],
    mode: str,
    forward_s: float,
    num_positions: int,
    measured: int,
    scale: float,
    read_bytes: int,
) -> dict[str, float]:
    """Returns the figures of sampling under XLA or in the plain graph; `scale` converts to a whole sample."""
    naive_s = median[f"naive {mode}"] * num_positions / measured
    sample_s = median[f"sample {mode}"] * scale
    found = {
        "sample_s": sample_s,
        "cost_in_forwards": sample_s / forward_s,
        "naive_s": naive_s,
        "speedup": naive_s / sample_s,
    }
    if f"near {mode}" in median:
        found["sample_to_dilations_of_2"] = median[f"sample {mode}"] / median[f"near {mode}"]
    if read_bytes:
        found["read_gb_per_s"] = read_bytes * num_positions / sample_s / 1e9
    return found


def fetch(function: Callable[..., Any], *arguments: Any) -> Any:
    """Runs a compiled function and waits for its result."""
    outputs = function(*arguments)
    return (outputs["canvas"] if isinstance(outputs, dict) else outputs).numpy()


def _finish(function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls a function and waits for its result."""
    return function(*arguments).numpy()


def draw_events(model: Any, batch: int, jit_compile: bool) -> np.ndarray:
    """Draws `batch` events together."""
    return model.sample(batch, seed=0, batch_size=batch, jit_compile=jit_compile).numpy()


def slices_of(
    sampler: Any, model: Any, batch: int, most: int, jit: dict[str, bool], begin: int | None = None
) -> tuple[dict[str, Callable[[], Any]], int, int]:
    """Returns calls that sample a slice of the event, by mode; the units of the event; the units of the slice."""
    import tensorflow as tf

    from tfar.sampling import SampleInputs, incremental

    (stage,) = model.stages
    context, inputs = drawing_inputs(model, batch)
    state = sampler.start(stage, inputs, context)
    units = sampler.num_units(stage, model.event.num_cells)
    measured = min(most, units)
    begin = (units - measured) // 2 if begin is None else begin
    if sampler is incremental:
        state = state._replace(carry=state.carry._replace(position=tf.constant(begin)))

    def advance(state: Any, noise: tf.Tensor, context: Any, start: tf.Tensor, stop: tf.Tensor) -> tf.Tensor:
        state = sampler.advance(stage, state, SampleInputs(noise, inputs.temperature), context, start, stop)
        return sampler.values(stage, state, context)

    span = tf.constant(begin), tf.constant(begin + measured)
    slices: dict[str, Callable[[], Any]] = {}
    for mode, jit_compile in jit.items():
        function = tf.function(advance, autograph=False, jit_compile=jit_compile or None)
        slices[mode] = functools.partial(fetch, function, state, inputs.noise, context, *span)
    return slices, units, measured


def drawing_inputs(model: Any, batch: int) -> tuple[Any, Any]:
    """Returns the context of `batch` events, and their inputs: noise of seed 0, temperature 1, a canvas of zeros."""
    import tensorflow as tf

    from tfar.core import noise as noises
    from tfar.core.request import NOTHING
    from tfar.sampling import SampleInputs

    numbers = noises.uniform(noises.seed_rows(0, batch), model.event.num_positions, model.head.noise_size)
    context, numbers = model.begin_draws(NOTHING, numbers)
    canvas = model.event.to_grid(tf.zeros([batch, *model.event_shape], model.head.dtype))
    return context, SampleInputs(numbers, tf.ones([batch]), canvas)


def alternate(calls: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Times each call once in every round, one after the other; returns seconds per call."""
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


def _bytes_of_a_step(model: Any, batch: int) -> int:
    """Counts the bytes that a step of a sequence must read: weights, keys and values of attention; 0 for others."""
    if type(model).__name__ not in ("CharRNN", "CausalTransformer", "ImageTransformer", "WaveNet"):
        return 0
    (stage,) = model.stages
    cached = sum(
        math.prod(size or batch for size in spec.shape) * spec.dtype.size
        for name, spec in stage.spec().state.items()
        if name.endswith(("/keys", "/values"))
    )
    return cached + 4 * sum(math.prod(weight.shape) for weight in model.network.weights)


def _weights_of_matrices(network: Any) -> int:
    from tfar.core import compat

    total = 0
    for layer in compat.all_layers(network):
        mask = getattr(layer, "mask", None)
        for weight in compat.own_weights(layer):
            if weight.trainable and len(weight.shape) > 1:
                # Entries that the mask sets to zero are not computed.
                total += int(np.sum(mask)) if mask is not None and weight is layer.kernel else math.prod(weight.shape)
    return total


def count_flops(graph: Any) -> int:
    """Floating point operations of a graph, as TensorFlow's profiler counts them."""
    import tensorflow as tf

    from pipelines.start import errors_only

    profiler = tf.compat.v1.profiler
    options = profiler.ProfileOptionBuilder(profiler.ProfileOptionBuilder.float_operation())
    with errors_only():
        return profiler.profile(graph, options=options.with_empty_output().build()).total_float_ops


if __name__ == "__main__":
    command.run(main, define_flags)
