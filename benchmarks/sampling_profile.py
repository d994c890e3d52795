"""Profiles a sampler that XLA has compiled for processors: what its loops consist of, and where their time goes.

    python -m benchmarks.sampling_profile --model=gated_pixel_cnn [--batch=16] [--parts] [--tiny]

Prints, for every loop (of an image: over rows, and inside of it over pixels), the kernels of one pass of its body and
the floating point operations of its products, from XLA's optimized program; and for every kind of kernel its part of
the time, calls and mean time, from a trace. Tracing makes a sampler 1.1 to 2 times as slow, so parts count, not sums.
The batch is drawn by one loop; `--parts` draws it in parts side by side, as `model.sample` does.
"""

from __future__ import annotations

import collections
import math
import os
import pathlib
import re
import tempfile
from collections.abc import Iterator
from typing import Any, NamedTuple

from absl import flags

from pipelines import command

_FREE = ("get-tuple-element", "tuple", "parameter", "constant", "bitcast")
_NESTING = ("while", "conditional", "call")
_KINDS = {"convolution": "convolutions", "copy": "copies", "concatenate": "joins"}
# What a fusion does, by the operations that XLA names it after.
_FUSIONS = (
    ("dynamic-update-slice", "cache writes"),
    ("dynamic-slice", "reads at a position"),
    ("subtract_exponential", "softmax"),
    ("slice_bitcast", "slices"),
    ("bitcast_concatenate", "joins"),
    ("concatenate_bitcast", "joins"),
)
_INSTRUCTION = re.compile(r"\s+(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\(")


class Kernel(NamedTuple):
    """An instruction of a loop.

    Attributes:
        loop: number of loops around it.
        kind: what it does.
        flops: floating point operations of a product, otherwise 0.
        is_nesting: whether it runs others, which are counted for themselves.
    """

    loop: int
    kind: str
    flops: int
    is_nesting: bool


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("model", "gated_pixel_cnn", "A model of benchmarks.sampling, or a preset.")
    flags.DEFINE_integer("batch", 16, "Events drawn together.", lower_bound=1)
    flags.DEFINE_bool("parts", False, "Draw parts of the batch side by side.")
    flags.DEFINE_bool("tiny", False, "The model at a size that says nothing about speed, for tests.")


def main() -> int:
    """Runs the command; returns the exit code."""
    values = flags.FLAGS
    with tempfile.TemporaryDirectory() as folder:
        dump = f"--xla_dump_to={folder}/programs --xla_dump_hlo_as_text"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {dump}"
        command.import_quietly()
        _trace(folder, values)
        dumped = pathlib.Path(folder, "programs").glob("*cpu_after_optimizations.txt")
        programs = [path.read_text(encoding="utf-8") for path in dumped]
        known = kernels(max((text for text in programs if " while(" in text), key=len))
        print("\n".join(report(known, _events(folder))))
    return 0


def _trace(folder: str, values: Any) -> None:
    """Draws a batch to compile the sampler, and once more to trace it."""
    import keras
    import tensorflow as tf

    from benchmarks.sampling import build, draw_events
    from tfar.sampling import side_by_side

    if not values.parts:
        side_by_side.LEAST_WEIGHTS = 2**62  # no network has so many
    keras.utils.set_random_seed(0)
    model = build(values.model, values.tiny)
    draw_events(model, values.batch, True)
    options = tf.profiler.experimental.ProfilerOptions(host_tracer_level=3)
    tf.profiler.experimental.start(folder, options=options)
    draw_events(model, values.batch, True)
    tf.profiler.experimental.stop()


def kernels(program: str) -> dict[str, Kernel]:
    """Returns the kernels of an optimized program that loops run, by name.

    Args:
        program: text of the module, as XLA writes it.
    """
    computations: dict[str, list[str]] = {}
    entry = name = ""
    for line in program.splitlines():
        head = re.match(r"(ENTRY )?%?([\w.\-]+) .*\{$", line)
        if head:
            name = head[2]
            entry = name if head[1] else entry
            computations[name] = []
        elif name and line.startswith("  "):
            computations[name].append(line)
    return dict(_kernels(computations, entry, 0))


def _kernels(computations: dict[str, list[str]], name: str, loop: int) -> Iterator[tuple[str, Kernel]]:
    """Yields the kernels of a computation and of those that it calls."""
    shapes: dict[str, str] = {}
    for line in computations[name]:
        found = _INSTRUCTION.match(line)
        if not found:
            continue
        label, shape, operation = found.groups()
        shapes[label] = shape
        if operation in _NESTING:
            keys = "(?:body|condition|to_apply|true_computation|false_computation|branch_computations)"
            for called in re.findall(keys + r"=(\{[^}]*\}|%?[\w.\-]+)", line):
                for inner in re.findall(r"[\w.\-]+", called):
                    yield from _kernels(computations, inner, loop + (operation == "while"))
        if loop and operation not in _FREE:
            flops = _flops(line, shape, shapes) if operation == "dot" else 0
            yield label, Kernel(loop, _kind(label, operation, line), flops, operation in _NESTING)


def _kind(label: str, operation: str, line: str) -> str:
    if operation == "dot":
        return "attention" if "lhs_batch_dims" in line else "products"
    if operation == "fusion":
        return next((kind for part, kind in _FUSIONS if part in label), "gates and sums")
    return _KINDS.get(operation, operation)


def _flops(line: str, shape: str, shapes: dict[str, str]) -> int:
    left = re.findall(r"%([\w.\-]+)", line.split(" dot(")[1])[0]
    (contracting,) = re.findall(r"lhs_contracting_dims=\{([\d,]*)\}", line)
    sizes = _sizes(shapes[left])
    return 2 * math.prod(_sizes(shape)) * math.prod(sizes[int(axis)] for axis in contracting.split(","))


def _sizes(shape: str) -> list[int]:
    return [int(size) for size in re.findall(r"\[([\d,]*)\]", shape)[0].split(",") if size]


def _events(folder: str) -> list[tuple[str, float]]:
    """Names and milliseconds of all that ran on TensorFlow's threads while it was traced."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    (path,) = pathlib.Path(folder).glob("plugins/profile/*/*.xplane.pb")
    space = xplane_pb2.XSpace.FromString(path.read_bytes())
    lines = [(plane, line) for plane in space.planes for line in plane.lines if line.name != "python"]
    return [
        (plane.event_metadata[event.metadata_id].name, event.duration_ps / 1e9)
        for plane, line in lines
        for event in line.events
    ]


def report(known: dict[str, Kernel], events: list[tuple[str, float]]) -> list[str]:
    """Returns lines for people.

    Args:
        known: kernels of the loops, by name.
        events: name and milliseconds of everything that ran.
    """
    lines = []
    for loop in sorted({kernel.loop for kernel in known.values()}):
        own = [kernel for kernel in known.values() if kernel.loop == loop and not kernel.is_nesting]
        counts = collections.Counter(kernel.kind for kernel in own)
        flops = sum(kernel.flops for kernel in own) / 1e6
        text = ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
        lines.append(f"loop {loop}: {len(own)} kernels ({text}), products of {flops:.1f} MFLOP")
    spent: dict[tuple[int, str], list[float]] = collections.defaultdict(list)
    for name, milliseconds in events:
        kernel = known.get(name)
        if kernel is not None and not kernel.is_nesting:
            spent[kernel.loop, kernel.kind].append(milliseconds)
    total = sum(map(sum, spent.values()))
    for (loop, kind), times in sorted(spent.items(), key=lambda item: -sum(item[1])):
        mean = 1e3 * sum(times) / len(times)
        lines.append(f"  {sum(times) / total:6.1%}  loop {loop}  {kind:22} {len(times):7} calls of {mean:.1f} us")
    return lines


if __name__ == "__main__":
    command.run(main, define_flags)
