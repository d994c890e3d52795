"""Draws samples of a trained model into a PNG picture.

python -m pipelines.sample --workdir=runs/digits --num=16 --out=samples.png [--label=3] [--temperature=0.9] [--seed=1]
"""

from __future__ import annotations

import math
import pathlib
import sys
from typing import Any

import numpy as np
from absl import flags

from pipelines import command

# Compiling with XLA takes 10 seconds and more, so that it pays for many values only.
_XLA_FROM = 64 * 784


def define_flags() -> None:
    """The command's flags."""
    flags.DEFINE_string("workdir", "runs/digits", "Work directory of the run.")
    flags.DEFINE_integer("num", 16, "Number of samples.")
    flags.DEFINE_string("out", "samples.png", "Picture to write.")
    flags.DEFINE_integer("label", None, "Label to condition on; without it the labels take turns.")
    flags.DEFINE_float("temperature", 1.0, "Positive; below 1 the samples are more probable ones.")
    flags.DEFINE_integer("seed", 0, "Seed: the same seed gives the same samples.")
    flags.DEFINE_enum("weights", "ema", ["ema", "raw"], "Averaged or raw weights, of the best checkpoint.")
    flags.DEFINE_integer("batch_size", 64, "Samples drawn together.", lower_bound=1)
    flags.DEFINE_integer("columns", None, "Samples in a row of the picture.", lower_bound=1)


def main() -> int:
    """Runs the command; returns the exit code."""
    values = flags.FLAGS
    check(values.num, values.temperature, values.seed, values.out)  # before TensorFlow, which takes seconds
    command.check_workdir(values.workdir)
    command.import_quietly()
    sample(
        values.workdir,
        values.num,
        values.out,
        label=values.label,
        temperature=values.temperature,
        seed=values.seed,
        weights=values.weights,
        batch_size=values.batch_size,
        columns=values.columns,
    )
    print(f"{values.num} samples: {values.out}")
    return 0


def sample(
    workdir: str,
    num: int,
    out: str,
    label: int | None = None,
    temperature: float = 1.0,
    seed: int = 0,
    weights: str = "ema",
    batch_size: int = 64,
    columns: int | None = None,
) -> np.ndarray:
    """Draws samples and writes the picture.

    Args:
        workdir: of the run.
        num: number of samples.
        out: PNG file to write.
        label: to condition on; None lets the labels take turns.
        temperature: positive.
        seed: int >= 0.
        weights: "ema" or "raw".
        batch_size: samples drawn together.
        columns: samples in a row of the picture; about as many as rows by default.

    Returns:
        The samples [num, *event_shape].

    Raises:
        ValueError: an argument is out of range, or a label is given to a model without a Label condition.
    """
    check(num, temperature, seed, out)
    from pipelines import pictures
    from pipelines import workdir as runs
    from tfar import training

    record = runs.read_config(pathlib.Path(workdir))
    conditions = _conditions(workdir, record, label, num)
    model = runs.load_run(workdir, weights).model
    bar = training.ProgressBar(1, "sample")

    def progress(done: int, total: int) -> None:
        bar.total = total
        bar.update(done)

    x = model.sample(
        num,
        condition=conditions,
        seed=seed,
        temperature=temperature,
        batch_size=min(num, batch_size),
        jit_compile=num * math.prod(model.event_shape) >= _XLA_FROM,
        progress=progress,
    ).numpy()
    bar.close()
    pictures.save_png(pictures.grid(pictures.to_images(x, model.head.levels), columns), out)
    return x


def check(num: int, temperature: float, seed: int, out: str) -> None:
    """Raises ValueError for what can be told from the arguments alone."""
    if num < 1:
        raise ValueError(f"--num must be at least 1, got {num}")
    if not (temperature > 0 and math.isfinite(temperature)):
        raise ValueError(f"--temperature must be a positive number, got {temperature}")
    if seed < 0:
        raise ValueError(f"--seed must be at least 0, got {seed}")
    if pathlib.Path(out).suffix.lower() != ".png":
        raise ValueError(f"--out must end in .png, got {out}")


def _conditions(workdir: str, record: dict[str, Any], label: int | None, num: int) -> Any:
    """Conditions [num, ...] of the samples, or None."""
    condition = record["resolved"]["condition"]
    is_label = condition is not None and condition["name"] == "Label"
    if label is not None and not is_label:
        raise ValueError(f"--label={label} was given, but the model in {workdir} has no Label condition; leave it out")
    if condition is None:
        return None
    if is_label:
        num_labels = condition["num_labels"]
        if label is None:
            return np.arange(num, dtype=np.int32) % num_labels
        if not 0 <= label < num_labels:
            raise ValueError(f"--label must lie in 0 to {num_labels - 1}, got {label}")
        return np.full([num], label, np.int32)
    from pipelines import workdir as runs

    arrays, _ = runs.load_split(record["config"], "test")
    print("the conditions are those of the first test examples, in order", file=sys.stderr)
    return arrays["condition"][np.arange(num) % len(arrays["condition"])]


if __name__ == "__main__":
    command.run(main, define_flags)
