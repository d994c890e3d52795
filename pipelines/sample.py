"""Draws samples of a trained model into a PNG picture.

python -m pipelines.sample --workdir=runs/digits --num=16 --out=samples.png [--label=3] [--temperature=0.9] [--seed=1]
"""

from __future__ import annotations

import math
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags

from pipelines import command

_WORKDIR = flags.DEFINE_string("workdir", "runs/digits", "Work directory of the run.")
_NUM = flags.DEFINE_integer("num", 16, "Number of samples.")
_OUT = flags.DEFINE_string("out", "samples.png", "Picture to write.")
_LABEL = flags.DEFINE_integer("label", None, "Label to condition on; without it the labels take turns.")
_TEMPERATURE = flags.DEFINE_float("temperature", 1.0, "Positive; below 1 the samples are more probable ones.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed: the same seed gives the same samples.")
_WEIGHTS = flags.DEFINE_enum("weights", "ema", ["ema", "raw"], "Averaged or raw weights, of the best checkpoint.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Samples drawn together.", lower_bound=1)
_COLUMNS = flags.DEFINE_integer("columns", None, "Samples in a row of the picture.", lower_bound=1)

# Compiling with XLA takes 10 seconds and more, so that it pays for many values only.
_XLA_FROM = 64 * 784


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns the exit code."""
    del arguments
    _check_flags()
    from pipelines import pictures
    from pipelines import workdir as runs
    from tfar import training

    num = _NUM.value
    record = runs.read_config(pathlib.Path(_WORKDIR.value))
    conditions = _conditions(record, num)
    run = runs.load_run(_WORKDIR.value, _WEIGHTS.value)
    bar = training.ProgressBar(1, "sample")

    def progress(done: int, total: int) -> None:
        bar.total = total
        bar.update(done)

    x = run.model.sample(
        num,
        condition=conditions,
        seed=_SEED.value,
        temperature=_TEMPERATURE.value,
        batch_size=min(num, _BATCH_SIZE.value),
        jit_compile=num * math.prod(run.model.event_shape) >= _XLA_FROM,
        progress=progress,
    )
    bar.close()
    images = pictures.to_images(x, run.model.head.levels)
    pictures.save_png(pictures.grid(images, _COLUMNS.value), _OUT.value)
    print(f"{num} samples: {_OUT.value}")
    return 0


def _check_flags() -> None:
    """Everything that can be told before TensorFlow is imported."""
    if _NUM.value < 1:
        raise ValueError(f"--num must be at least 1, got {_NUM.value}")
    if not (_TEMPERATURE.value > 0 and math.isfinite(_TEMPERATURE.value)):
        raise ValueError(f"--temperature must be a positive number, got {_TEMPERATURE.value}")
    if _SEED.value < 0:
        raise ValueError(f"--seed must be at least 0, got {_SEED.value}")
    out = pathlib.Path(_OUT.value)
    if out.suffix.lower() != ".png":
        raise ValueError(f"--out must end in .png, got {_OUT.value}")


def _conditions(record: dict[str, Any], num: int) -> Any:
    """Conditions [num, ...] of the samples, or None."""
    condition = record["resolved"]["condition"]
    is_label = condition is not None and condition["name"] == "Label"
    if _LABEL.value is not None and not is_label:
        raise ValueError(f"--label={_LABEL.value} was given, but the model in {_WORKDIR.value} has no Label condition")
    if condition is None:
        return None
    if is_label:
        num_labels = condition["num_labels"]
        if _LABEL.value is None:
            return np.arange(num, dtype=np.int32) % num_labels
        if not 0 <= _LABEL.value < num_labels:
            raise ValueError(f"--label must lie in 0 to {num_labels - 1}, got {_LABEL.value}")
        return np.full([num], _LABEL.value, np.int32)
    from pipelines import workdir as runs

    arrays, _ = runs.load_split(record["config"], "test")
    print("the conditions are those of the first test examples, in order", file=sys.stderr)
    return arrays["condition"][np.arange(num) % len(arrays["condition"])]


if __name__ == "__main__":
    command.run(main)
