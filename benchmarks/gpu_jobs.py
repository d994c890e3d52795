"""The jobs of `benchmarks.gpu_check`: one process each, prepared side by side, measured one after the other.

    python -m benchmarks.gpu_jobs '{"kind": "train", "model": "gated_pixel_cnn", ...}'

A job reads its description from the argument, traces and compiles, writes the line "ready", waits for a line on its
standard input, measures, and writes its figures as one line of JSON.
"""

from __future__ import annotations

import functools
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

Measure = Callable[[], dict[str, Any]]

_STEPS = 5  # training steps whose losses are compared
_NUM = 4  # events compared
_BLOCK_SECONDS = 0.5
_BLOCKS = 5


# === Numerics ===


def numerics(spec: dict[str, Any]) -> Measure:
    """Scores, losses and samples of a tiny model with random weights, the same on every device.

    `spec`: model; device; file, which gets scores, losses, samples by sampler, and how far the noise of every draw lies
    from a boundary between two values.
    """
    import keras
    import tensorflow as tf

    from benchmarks.sampling_models import build
    from tfar import testing, training
    from tfar.core import noise as noises

    tf.config.experimental.enable_tensor_float_32_execution(False)
    keras.utils.set_random_seed(0)
    strategy = tf.distribute.OneDeviceStrategy(spec["device"])
    with strategy.scope():
        model = build(spec["model"], tiny=True)
        optimizer = training.optimizer("adam", 1e-3)
    testing.randomize_weights(model)
    x = testing.random_events(model, _NUM)
    found: dict[str, Any] = {}
    with tf.device(spec["device"]):
        found["scores"] = model.score(x).numpy()
        noise = noises.uniform(noises.seed_rows(0, _NUM), model.event.num_positions, model.head.noise_size)
        draws: dict[str, dict[str, Any]] = {"plain": {"jit_compile": False}, "xla": {"jit_compile": True}}
        draws["naive"] = {"method": "naive", "jit_compile": False}
        for name, options in draws.items():
            found[f"samples_{name}"] = model.sample(_NUM, noise=noise, **options).numpy()
        params = model(found["samples_naive"], training=False)
        by_position = tf.reshape(noise, [_NUM, *model.event.positions, -1])
        found["distances"] = np.asarray(model.head.boundary_distance(params, by_position, 1.0))
    step = training.TrainStep(model, optimizer, strategy, _NUM)
    found["losses"] = np.array([float(step({"x": x}, index)[0]) for index in range(_STEPS)])
    np.savez(spec["file"], **found)
    return lambda: {}


# === Training ===


def train(spec: dict[str, Any]) -> Measure:
    """Times training steps on one batch.

    `spec`: model; batch; length, of sequences; precision, "float32", "tf32" or "bfloat16"; xla; tiny.
    """
    import keras
    import tensorflow as tf

    from benchmarks.sampling_models import build
    from tfar import testing, training

    tf.config.experimental.enable_tensor_float_32_execution(spec["precision"] == "tf32")
    if spec["precision"] == "bfloat16":
        keras.config.set_dtype_policy("mixed_bfloat16")
    keras.utils.set_random_seed(0)
    strategy = training.strategy("one")
    with strategy.scope():
        model = build(spec["model"], spec["tiny"])
        optimizer = training.optimizer("adam", 1e-4)
    step = training.TrainStep(model, optimizer, strategy, spec["batch"], jit_compile=spec["xla"])
    batch = {"x": testing.random_events(model, spec["batch"], length=spec["length"] or 8)}
    began = time.monotonic()
    float(step(batch, 0)[0])
    first = time.monotonic() - began
    flops = 3 * _forward_flops(model, batch["x"])

    def steps(start: int, count: int) -> float:
        began = time.monotonic()
        for index in range(start, start + count):
            loss, _ = step(batch, index)
        loss.numpy()
        return (time.monotonic() - began) / count

    def measure() -> dict[str, Any]:
        steps(1, 2)
        count = max(1, min(200, int(_BLOCK_SECONDS / steps(3, 2))))
        seconds = statistics.median(steps(5 + block * count, count) for block in range(_BLOCKS))
        return {
            "first_call_s": first,
            "step_s": seconds,
            "examples_per_s": spec["batch"] / seconds,
            "step_tflop": flops / 1e12,
            "tflop_per_s": flops / seconds / 1e12,
            "num_parameters": model.count_params(),
            **_memory(),
        }

    return measure


def _forward_flops(model: Any, x: np.ndarray) -> float:
    """Of one parallel pass, as TensorFlow's profiler counts them; a training step takes three times as many."""
    import tensorflow as tf

    from benchmarks.sampling import count_flops

    encoded = model.encode(tf.convert_to_tensor(x))
    return count_flops(tf.function(model.decode, autograph=False).get_concrete_function(encoded).graph)


def _memory() -> dict[str, Any]:
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):
        return {}
    return {"peak_gib": tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**30}


# === Sampling ===


def sample(spec: dict[str, Any]) -> Measure:
    """Times a whole sample under XLA beside a forward pass.

    `spec`: model; batch; tiny; repeats.
    """
    import tensorflow as tf

    from benchmarks import sampling

    tf.config.experimental.enable_tensor_float_32_execution(False)
    model = _random_model(spec)
    draw = functools.partial(sampling.draw_events, model, spec["batch"], True)
    began = time.monotonic()
    events = draw()
    first = time.monotonic() - began
    forward = _forwards(model, events)

    def measure() -> dict[str, Any]:
        seconds = _medians({**forward, "sample": draw}, spec["repeats"])
        least = min(seconds[name] for name in forward)
        return {
            "first_call_s": first,
            "sample_s": seconds["sample"],
            "cost_in_forwards": seconds["sample"] / least,
            **{f"{name}_s": seconds[name] for name in forward},
            **_memory(),
        }

    return measure


def other_samplers(spec: dict[str, Any]) -> Measure:
    """Times the plain graph and the naive sampler on a few units, scaled to all.

    `spec`: model; batch; tiny; repeats; units, of the plain graph; positions, of the naive sampler.
    """
    import tensorflow as tf

    from benchmarks import sampling
    from tfar.sampling import incremental, naive

    tf.config.experimental.enable_tensor_float_32_execution(False)
    model = _random_model(spec)
    plain, units, drawn = sampling.slices_of(incremental, model, spec["batch"], spec["units"], {"plain": False})
    slow, positions, measured = sampling.slices_of(
        naive, model, spec["batch"], spec["positions"], {"xla": True, "plain": False}
    )
    naive_calls = {f"naive_{mode}": call for mode, call in slow.items()}
    for call in (plain["plain"], *naive_calls.values()):
        call()
    forward = _forwards(model, np.zeros([spec["batch"], *model.event_shape], np.int32))

    def measure() -> dict[str, Any]:
        scales = {"plain": units / drawn, **dict.fromkeys(naive_calls, positions / measured)}
        calls = {"plain": plain["plain"], **naive_calls}
        found = _medians({**forward, **calls}, spec["repeats"])
        seconds = {name: scale * found[name] for name, scale in scales.items()}
        least = min(found[name] for name in forward)
        return {
            **{f"{name}_s": value for name, value in seconds.items()},
            **{f"{name}_in_forwards": value / least for name, value in seconds.items()},
            "num_positions": int(positions),
        }

    return measure


def fixed_point(spec: dict[str, Any]) -> Measure:
    """Times fixed-point iteration under XLA beside a forward pass, and counts its passes.

    `spec`: model; batch; tiny; repeats; block, rows of a block, or None for the default.
    """
    import tensorflow as tf

    from tfar.core import noise as noises

    tf.config.experimental.enable_tensor_float_32_execution(False)
    model = _random_model(spec)
    options = {"method": "fixed_point", "block": spec["block"], "return_passes": True}
    noise = noises.uniform(noises.seed_rows(0, spec["batch"]), *model.noise_shape())

    def draw() -> Any:
        return model.sample(spec["batch"], noise=noise, batch_size=spec["batch"], **options)

    began = time.monotonic()
    events, passes = draw()
    first = time.monotonic() - began
    forward = _forwards(model, events)
    # A sample of the incremental sampler is the one that its own conditionals draw from this noise.
    by_position = tf.reshape(noise, [spec["batch"], *model.event.positions, -1])
    own = tf.reshape(model.head.sample(model.decode(model.encode(events)), by_position), events.shape)

    def measure() -> dict[str, Any]:
        seconds = _medians({**forward, "sample": lambda: draw()[0].numpy()}, spec["repeats"])
        least = min(seconds[name] for name in forward)
        return {
            "first_call_s": first,
            "sample_s": seconds["sample"],
            "cost_in_forwards": seconds["sample"] / least,
            **{f"{name}_s": seconds[name] for name in forward},
            "passes": int(passes.total.max()),
            "blocks": int(passes.per_block.shape[1]),
            "num_positions": int(model.event.num_positions),
            "values_that_differ": int(tf.reduce_sum(tf.cast(own != events, tf.int32))),
            "values": int(np.prod(events.shape)),
            **_memory(),
        }

    return measure


def _random_model(spec: dict[str, Any]) -> Any:
    import keras

    from benchmarks.sampling_models import build

    keras.utils.set_random_seed(0)
    return build(spec["model"], spec["tiny"])


def _forwards(model: Any, events: Any) -> dict[str, Callable[[], Any]]:
    import tensorflow as tf

    from benchmarks import sampling

    encoded = model.encode(tf.convert_to_tensor(events))
    calls: dict[str, Callable[[], Any]] = {}
    for name, jit in (("plain", None), ("xla", True)):
        function = tf.function(model.decode, autograph=False, jit_compile=jit)
        calls[f"forward_{name}"] = functools.partial(sampling.fetch, function, encoded)
        calls[f"forward_{name}"]()
    return calls


def _medians(calls: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Seconds of a call of each, in alternating rounds."""
    from benchmarks import sampling

    return {name: statistics.median(seconds) for name, seconds in sampling.alternate(calls, repeats).items()}


KINDS = {job.__name__: job for job in (numerics, train, sample, other_samplers, fixed_point)}


def main() -> None:
    """Runs the job that the argument describes."""
    spec = json.loads(sys.argv[1])
    # TensorFlow's messages go to standard error: standard output is the channel to the check.
    channel, sys.stdout = sys.stdout, sys.stderr
    measure = KINDS[spec["kind"]](spec)
    print("ready", file=channel, flush=True)
    if sys.stdin.readline():
        print(json.dumps(measure()), file=channel, flush=True)


if __name__ == "__main__":
    main()
