"""Scores a trained model on every example of a split.

python -m pipelines.evaluate --workdir=runs/digits --split=test [--weights=raw] [--json=FILE]
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence

from absl import flags

from pipelines import command

_WORKDIR = flags.DEFINE_string("workdir", "runs/digits", "Work directory of the run.")
_SPLIT = flags.DEFINE_enum("split", "test", ["train", "valid", "test"], "Split to score.")
_WEIGHTS = flags.DEFINE_enum("weights", "ema", ["ema", "raw"], "Averaged or raw weights, of the best checkpoint.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 256, "Examples scored together.", lower_bound=1)
_JSON = flags.DEFINE_string("json", None, "File to write the score to.")


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns the exit code."""
    del arguments
    from pipelines import workdir as runs
    from tfar import training
    from tfar.training.checkpoint import write_atomically

    run = runs.load_run(_WORKDIR.value, _WEIGHTS.value)
    arrays, info = runs.load_split(run.config, _SPLIT.value)
    began = time.monotonic()
    bar = training.ProgressBar(info.num_examples, "score")
    nats = training.log_probs(run.model, arrays, _BATCH_SIZE.value, lambda done, total: bar.update(done))
    bar.close()
    score = training.score(nats, info, run.weights)
    record = {
        **score.to_json(),
        "model": run.resolved["model"].get("name") or run.resolved["model"]["preset"],
        "parameters": run.model.count_params(),
        "step": run.step,
        "workdir": _WORKDIR.value,
        "seconds": round(time.monotonic() - began, 3),
    }
    print(score)
    if _JSON.value:
        write_atomically(_JSON.value, (json.dumps(record, indent=2) + "\n").encode())
        print(f"written: {_JSON.value}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    command.run(main)
