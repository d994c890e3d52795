"""Scores a trained model on every example of a split.

python -m pipelines.evaluate --workdir=runs/digits --split=test [--weights=raw] [--json=FILE]
                             [--shuffle_conditions]

With `--shuffle_conditions` every example is given the condition of another one: what the model makes of its condition
is the difference.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from absl import flags

from pipelines import command


def define_flags() -> None:
    """The command's flags."""
    flags.DEFINE_string("workdir", "runs/digits", "Work directory of the run.")
    flags.DEFINE_enum("split", "test", ["train", "valid", "test"], "Split to score.")
    flags.DEFINE_enum("weights", "ema", ["ema", "raw"], "Averaged or raw weights, of the best checkpoint.")
    flags.DEFINE_bool("shuffle_conditions", False, "Give every example the condition of another one.")
    flags.DEFINE_integer("batch_size", None, "Examples scored together; as in the run by default.", lower_bound=1)
    flags.DEFINE_string("json", None, "File to write the score to.")


def main() -> int:
    """Runs the command; returns the exit code."""
    command.check_workdir(flags.FLAGS.workdir)  # before TensorFlow, which takes seconds
    command.import_quietly()
    from tfar.training.checkpoint import write_atomically

    values = flags.FLAGS
    record, line = evaluate(values.workdir, values.split, values.weights, values.batch_size, values.shuffle_conditions)
    print(line)
    if values.json:
        write_atomically(values.json, (json.dumps(record, indent=2) + "\n").encode())
        print(f"written: {values.json}", file=sys.stderr)
    return 0


def evaluate(
    workdir: str,
    split: str,
    weights: str = "ema",
    batch_size: int | None = None,
    shuffle_conditions: bool = False,
) -> tuple[dict[str, Any], str]:
    """Scores all examples of a split; of a text all characters, in one pass that carries its state.

    Args:
        workdir: of the run.
        split: "train", "valid" or "test".
        weights: "ema" or "raw".
        batch_size: examples scored together; as in the run by default.
        shuffle_conditions: give every example the condition of another one.

    Returns:
        The score with all that it needs to be read, as JSON values, and as a line.
    """
    from pipelines import scoring
    from pipelines import workdir as runs

    run = runs.load_run(workdir, weights)
    began = time.monotonic()
    score, _, _ = scoring.score_run(run, split, batch_size, shuffle_conditions)
    record = {
        **score.to_json(),
        "model": run.resolved["model"].get("name") or run.resolved["model"]["preset"],
        "parameters": run.model.count_params(),
        "step": run.step,
        "workdir": str(workdir),
        "seconds": round(time.monotonic() - began, 3),
    }
    if not shuffle_conditions:
        return record, str(score)
    return {**record, "conditions": "shuffled"}, f"{score}, conditions shuffled"


if __name__ == "__main__":
    command.run(main, define_flags)
