"""Scores a trained model on every example of a split.

python -m pipelines.evaluate --workdir=runs/digits --split=test [--weights=raw] [--json=FILE]
                             [--shuffle_conditions] [--compare=WORKDIR]

With `--shuffle_conditions` every example gets the condition of another one; the difference measures how much the model
uses its condition. `--compare` scores the same examples under another run too, with their own conditions, and says the
mean difference with an interval of differences, which is far narrower than those of the two scores. Both together, with
`--compare` the run itself, show what the right conditions are worth.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from absl import flags

from pipelines import command
from pipelines.record import read_config


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("workdir", "runs/digits", "Work directory of the run.")
    flags.DEFINE_enum("split", "test", ["train", "valid", "test"], "Split to score.")
    flags.DEFINE_enum("weights", "ema", ["ema", "raw"], "Averaged or raw weights, of the best checkpoint.")
    flags.DEFINE_bool("shuffle_conditions", False, "Give every example the condition of another one.")
    flags.DEFINE_string("compare", None, "Work directory of another run, to be compared on the same examples.")
    flags.DEFINE_integer("batch_size", None, "Examples scored together; as in the run by default.", lower_bound=1)
    flags.DEFINE_string("json", None, "File to write the score to.")


def main() -> int:
    """Runs the command; returns the exit code."""
    values = flags.FLAGS
    # Before TensorFlow, which takes seconds.
    run = read_config(values.workdir)
    if values.compare is not None:
        read_config(values.compare, "compare")
    if values.shuffle_conditions and run["resolved"]["condition"] is None:
        raise ValueError(f"--shuffle_conditions needs a model with a condition, the run in {values.workdir} has none")
    command.check_out("json", values.json)
    command.import_quietly()
    from tfar.core.files import write_atomically

    record, line = evaluate(
        values.workdir, values.split, values.weights, values.batch_size, values.shuffle_conditions, values.compare
    )
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
    compare: str | None = None,
) -> tuple[dict[str, Any], str]:
    """Scores all examples of a split; of a text all characters, in one pass that carries its state.

    Args:
        workdir: of the run.
        split: "train", "valid" or "test".
        weights: "ema" or "raw".
        batch_size: examples scored together; as in the run by default.
        shuffle_conditions: give every example the condition of another one.
        compare: work directory of another run, which gets the right conditions.

    Returns:
        The score with all that it needs to be read, as JSON values, and in words.

    Raises:
        ValueError: the runs do not score the same examples.
    """
    import numpy as np

    from pipelines import scoring
    from pipelines import workdir as runs
    from tfar import training

    run = runs.load_run(workdir, weights)
    began = time.monotonic()
    nats, arrays, info = scoring.nats_of_split(run, split, batch_size, shuffle_conditions)
    score = scoring.score_of(run, nats, info)
    record = {
        **score.to_json(),
        "model": run.resolved["model"].get("name") or run.resolved["model"]["preset"],
        "parameters": run.model.count_params(),
        "step": run.step,
        "workdir": str(workdir),
        "seconds": round(time.monotonic() - began, 3),
    }
    line = str(score)
    if shuffle_conditions:
        record["conditions"] = "shuffled"
        line += ", conditions shuffled"
    if compare is not None:
        other = runs.load_run(compare, weights)
        other_nats, other_arrays, other_info = scoring.nats_of_split(other, split, batch_size)
        if not np.array_equal(arrays["x"], other_arrays["x"]):
            raise ValueError(
                f"both runs must score the same examples, got {info.name} {info.split} {list(info.transforms)} and "
                f"{other_info.name} {other_info.split} {list(other_info.transforms)} (--compare={compare})"
            )
        difference = training.paired_difference(scoring.whole(run, nats), scoring.whole(other, other_nats), info)
        record |= {"compared_with": str(compare), "difference": difference.to_json()}
        line += f"\n{compare}: {scoring.score_of(other, other_nats, other_info)}\ndifference: {difference}"
    return record, line


if __name__ == "__main__":
    command.run(main, define_flags)
