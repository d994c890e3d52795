"""Formats the measurements of `benchmarks.sampling`: a table for people, a figure for docs/results.json."""

from __future__ import annotations

from typing import Any

from benchmarks import results

MODES = ("xla", "plain")
# The events and the model, without the number of events; the aim, in forward passes under XLA / in a plain graph.
MODELS = {
    "gated_pixel_cnn": ("images 28x28 from a Gated PixelCNN of 64 filters and 10 blocks", "2 / 8"),
    "made": ("vectors of 784 from a MADE of 500 units", "5"),
    "pixel_cnn_pp": ("images 28x28 from a PixelCNN++ of 32 filters and 2 blocks", "3 / 12"),
    "pixel_snail": ("images 28x28 from a PixelSNAIL of 64 filters, 3 blocks of 4", "4 / 16"),
    "pixel_rnn_row": ("images 28x28 from a PixelRNN, 7 Row LSTM layers of 16 maps", "4 / 16"),
    "pixel_rnn_diagonal": ("images 28x28 from a PixelRNN, 7 Diagonal BiLSTM layers of 16 maps", "4 / 16"),
    "image_transformer": ("images 28x28 from an Image Transformer, blocks of 256, 4 layers of width 128", "12 / 48"),
    "char_rnn": ("texts of 256 characters from a CharRNN, 2 LSTM layers of 128", "4"),
    "causal_transformer": ("texts of 256 characters from a transformer of 4 layers, width 128", "7"),
    "wavenet": ("second of 8 kHz sound from a WaveNet of 30 layers (32 / 64 channels)", "12"),
}
_NOTES = {
    "read_gb_per_s": "reads {0:.1f} GB/s (weights, keys, values); a memory copy {copy_gb_per_s:.1f} GB/s",
    "sample_to_dilations_of_2": "{0:.2f} times the time of the same network with all dilations 2",
    "real_time": "{0:.2f} seconds of sound per second",
}


def table(result: dict[str, Any]) -> str:
    """Returns the figures for people."""
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
        for name, text in _NOTES.items():
            if name in row:
                lines.append(f"{'':13}" + text.format(row[name], **result))
    lines.append(result["naive_note"].replace("_s is", " is").replace("_s from", " from"))
    return "\n".join(lines)


def figures(result: dict[str, Any], tiny: bool = False) -> dict[str, results.Figure]:
    """Returns the figure of a model for docs/results.json; a tiny one is described by its shape."""
    xla, plain = result["xla"], result["plain"]
    shape = " x ".join(str(size) for size in result["event_shape"])
    events, aim = MODELS.get(result["model"], ("", ""))
    if tiny or not events:
        events = f"events {shape} from `{result['model']}`"
    measured = (
        f"{_time(xla['sample_s'])} = {xla['cost_in_forwards']:.1f} forward passes under XLA, "
        f"{plain['cost_in_forwards']:.1f} in a plain graph; {xla['speedup']:,.0f} times faster than naive"
    )
    values = {
        "sample_s": xla["sample_s"],
        "forwards": xla["cost_in_forwards"],
        "forwards_plain": plain["cost_in_forwards"],
        "speedup": xla["speedup"],
        "first_call_s": xla["first_call_s"],
        "forward_share_of_matmul": result["forward_share_of_matmul"],
    }
    if "real_time" in xla:
        values["real_time"] = xla["real_time"]
        measured += f"; {xla['real_time']:.1f} seconds of sound per second"
    if "sample_to_dilations_of_2" in xla:
        values["sample_to_dilations_of_2"] = xla["sample_to_dilations_of_2"]
        measured += f"; {xla['sample_to_dilations_of_2']:.2f} times the time of dilations of 2"
    measured += f"; first call {_time(xla['first_call_s'])}"
    return {f"sampling/{result['model']}": results.figure(f"{result['batch']} {events}", measured, values, aim)}


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms" if seconds < 0.1 else f"{seconds:.2f} s"
