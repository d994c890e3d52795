"""Measures what guesses ahead are worth: a draft model for decoding, and learned forecasts for fixed-point sampling.

    python -m benchmarks.drafts [--parts=draft,forecast] [--steps=2,4,8] [--folder=runs/fixed_point] [--json=FILE]

draft       texts of 256 characters from a transformer, alone and with a char-rnn as draft (both trained for a minute or
            two, `benchmarks.trained_models`): time under XLA and in a plain graph, share of accepted proposals, passes;
            texts are compared
forecast    digits by fixed-point iteration, with a forecaster that is distilled in --distill_steps and without: passes

Figures are medians of alternating rounds.
"""

from __future__ import annotations

import functools
import pathlib
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
from absl import flags

from benchmarks import fixed_point, results, sampling, trained_models
from pipelines import command

_LENGTH = 256


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_list("parts", ["draft", "forecast"], "Of draft and forecast.")
    flags.DEFINE_list("steps", ["2", "4", "8"], "Symbols that the model checks in one pass.")
    flags.DEFINE_list("modes", ["xla", "plain"], "Of xla and plain.")
    flags.DEFINE_list("batches", ["1", "8"], "Texts decoded together.")
    flags.DEFINE_integer("repeats", 3, "Rounds of which the medians are taken.", lower_bound=1)
    flags.DEFINE_integer("distill_steps", 400, "Training steps of the forecaster.", lower_bound=1)
    flags.DEFINE_string("folder", "runs/fixed_point", "Folder of the trained models.")
    flags.DEFINE_bool("tiny", False, "Models at a size that says nothing about speed, for tests.")
    flags.DEFINE_string("json", None, "File to write the numbers to.")


def main() -> int:
    """Runs the command; returns the exit code."""
    values = flags.FLAGS
    command.import_quietly()
    load = functools.partial(trained_models.trained, folder=pathlib.Path(values.folder), tiny=values.tiny)
    measured: dict[str, Any] = {}
    if "draft" in values.parts:
        model, draft = load("text"), load("text_draft")
        steps, batches = ([int(each) for each in given] for given in (values.steps, values.batches))
        length = 12 if values.tiny else _LENGTH
        measured["draft"] = [
            measure_draft(model, draft, batch, steps, mode, values.repeats, length)
            for batch in batches
            for mode in values.modes
        ]
    if "forecast" in values.parts:
        measured["forecast"] = measure_forecast(load("digits"), 2 if values.tiny else values.distill_steps)
    found = figures(measured)
    for item in found.values():
        print(f"{item['what']}: {item['measured']}", flush=True)
    results.write(values.json, found, measured, quick=values.tiny)
    return 0


def measure_draft(
    model: Any, draft: Any, batch: int, steps: list[int], mode: str, repeats: int, length: int
) -> dict[str, Any]:
    """Times decoding alone and with a draft, for several numbers of symbols in a pass."""
    from tfar.sampling import decode

    common: dict[str, Any] = {"num": batch, "length": length, "seed": 0, "jit_compile": mode == "xla"}
    calls: dict[str, Callable[[], Any]] = {"alone": functools.partial(decode, model, **common)}
    for k in steps:
        calls[str(k)] = functools.partial(decode, model, draft=draft, draft_steps=k, **common)
    first = {name: call() for name, call in calls.items()}
    rounds = sampling.alternate(calls, repeats)
    return {
        "batch": batch,
        "mode": mode,
        "length": length,
        "seconds": {name: statistics.median(seconds) for name, seconds in rounds.items()},
        "passes": {name: found.speculation.passes for name, found in first.items() if found.speculation},
        "acceptance": {name: found.speculation.acceptance for name, found in first.items() if found.speculation},
        "symbols_that_differ": {name: int((found.x != first["alone"].x).sum()) for name, found in first.items()},
    }


def measure_forecast(model: Any, steps: int, num: int = 64) -> dict[str, Any]:
    """Counts passes of digits with a forecaster and without, row by row and over the whole image."""
    import keras

    from tfar.models.forecaster import Forecaster

    keras.utils.set_random_seed(0)
    height, width, _ = model.event_shape
    forecaster = Forecaster.of(model, reach=width)
    nats = forecaster.distill(model, trained_models.examples("digits"), steps=steps)
    common: dict[str, Any] = {"seed": 0, "batch_size": num, "method": "fixed_point", "return_passes": True}
    found: dict[str, Any] = {"steps": steps, "nats": nats, "events": num, "num_parameters": forecaster.count_params()}
    for name, block in (("row by row", 1), ("whole image", height)):
        x, without = model.sample(num, block=block, **common)
        same, with_forecasts = model.sample(num, block=block, forecaster=forecaster, **common)
        alone = [fixed_point.passes_alone(each.settled, block * width) for each in (without, with_forecasts)]
        found[name] = {
            "passes_mean": [float(each.mean()) for each in alone],
            "passes_of_the_batch": [int(each.total[0]) for each in (without, with_forecasts)],
            "first_guesses_right": [float((each.settled == 0).mean()) for each in (without, with_forecasts)],
            "values_that_differ": int((np.asarray(x) != np.asarray(same)).sum()),
        }
    return found


def figures(measured: dict[str, Any]) -> dict[str, results.Figure]:
    """Returns the figures of both parts."""
    found = {}
    for of in measured.get("draft", []):
        mode = "XLA" if of["mode"] == "xla" else "plain graph"
        what = f"{of['batch']} text{'s' if of['batch'] > 1 else ''} of {of['length']} characters, transformer with a "
        what += f"char-rnn as draft, {mode}"
        base = of["seconds"]["alone"]
        parts = [
            f"k = {k}: {of['seconds'][k]:.2f} s ({base / of['seconds'][k]:.2f}x), {of['passes'][k]} passes, "
            f"{of['acceptance'][k]:.0%} accepted"
            for k in of["passes"]
        ]
        cell = f"alone {base:.2f} s; {'; '.join(parts)}; {sum(of['symbols_that_differ'].values())} symbols differ"
        found[f"fixed_point/draft_{of['batch']}_{of['mode']}"] = results.figure(what, cell, of)
    if "forecast" in measured:
        of = measured["forecast"]
        parts = []
        for name in ("row by row", "whole image"):
            (without, learned), guesses = of[name]["passes_mean"], of[name]["first_guesses_right"]
            parts.append(
                f"{name} {without:.1f} to {learned:.1f} passes, right guesses {guesses[0]:.0%} to {guesses[1]:.0%}"
            )
        what = f"digits with learned forecasts ({of['num_parameters']:,} weights, {of['steps']} steps), mean of "
        found["fixed_point/forecast"] = results.figure(f"{what}{of['events']}", "; ".join(parts), of)
    return found


if __name__ == "__main__":
    command.run(main, define_flags)
