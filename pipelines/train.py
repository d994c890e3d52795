"""Trains a model, scores it on the test split and writes a report.

    python -m pipelines.train                                     digits into runs/digits
    python -m pipelines.train --config=digits_tiny --workdir=runs/tiny --config.train.steps=100

Started again with the same arguments it goes on where it stopped, and a run that is complete is only reported again.
Exit code: 0, or 1 for an error, 3 where the loss became NaN, 130 after Ctrl-C.
"""

from __future__ import annotations

import dataclasses
import pathlib
import shlex
import sys
from typing import Any

from absl import flags

from pipelines import command, config_files


def define_flags() -> None:
    """The command's flags."""
    config_files.define_flag("digits")
    flags.DEFINE_string("workdir", None, "Work directory; runs/<name of the configuration> by default.")


def main() -> int:
    """Runs the command; returns the exit code."""
    config = flags.FLAGS.config.to_dict()
    workdir = pathlib.Path(flags.FLAGS.workdir or f"runs/{config['name']}")
    print(f"{config['name']}: loading TensorFlow and {config['data']['name']}", file=sys.stderr, flush=True)
    command.import_quietly()
    from tfar import training

    try:
        return train(config, workdir)
    except training.Interrupted as stop:
        print(f"{stop}; to go on, run the same command again:\n  {_again()}", file=sys.stderr)
        return 130
    except training.NonFiniteLoss as error:
        steps = training.Checkpoints(workdir / "checkpoints").steps()
        kept = f"the last good checkpoint is that of step {steps[-1]}" if steps else "there is no checkpoint yet"
        print(
            f"error: {error}; {kept}. Lower config.train.learning_rate (={config['train']['learning_rate']}) "
            f"or config.train.clip_norm (={config['train']['clip_norm']})",
            file=sys.stderr,
        )
        return 3


def train(config: dict[str, Any], workdir: pathlib.Path) -> int:
    """Trains as `config` says, into `workdir`; returns the exit code."""
    import keras

    from pipelines import report
    from pipelines import workdir as runs
    from tfar import training
    from tfar.core.units import Unit

    batches, info = runs.load_batches(config)
    valid, valid_info = runs.load_split(config, "valid")
    resolved = runs.resolve_model(config, info)
    settings = config["train"]
    keras.config.set_dtype_policy(settings["precision"])
    keras.utils.set_random_seed(settings["seed"])
    strategy = training.strategy(settings["strategy"])
    with strategy.scope():
        model = runs.build_model(resolved)
        optimizer = _optimizer(settings)
    changes = runs.write_config(workdir, config, resolved)
    _announce(model, info, valid_info, strategy, workdir, changes)
    train_step = training.TrainStep(
        model,
        optimizer,
        strategy,
        settings["batch_size"],
        settings["clip_norm"],
        settings["ema_decay"],
        settings["seed"],
        settings["jit_compile"],
        settings["clip_value"],
        settings["carry_state"],
    )
    loop = training.TrainingLoop(
        train_step,
        batches,
        valid,
        training.Settings(**{field.name: settings[field.name] for field in dataclasses.fields(training.Settings)}),
        workdir,
        architecture=runs.fingerprint(resolved),
        on_evaluation=None if info.is_sequence else lambda step, model: report.sample_picture(model, info, config),
        unit=Unit(info.unit),
    )
    if loop.finished:
        print(f"the run is complete at step {loop.state.step}; raise --config.train.steps to train on")
    elif loop.state.step:
        print(f"going on from step {loop.state.step}")
    outcome = loop.run()
    if outcome.stopped_early:
        print(f"stopped early at step {outcome.step}: no better validation score since step {outcome.best_step}")
    if settings["precision"] != "float32":
        # Scores are those of the weights in float32, and so is the model that is saved.
        keras.config.set_dtype_policy("float32")
        model = None
    score = report.finish(workdir, outcome, _again(), model)
    print(score)
    for what, pattern in (("report", "report.html"), ("samples", "samples.*"), ("model", "model.keras")):
        for path in sorted(workdir.glob(pattern)):
            print(f"{what + ':':<8} {path}")
    return 0


def _optimizer(settings: dict[str, Any]) -> Any:
    from tfar import training

    schedule = training.schedule(
        learning_rate=settings["learning_rate"], steps=settings["steps"], **settings["schedule"]
    )
    arguments = {key: value for key, value in settings["optimizer"].items() if value is not None}
    return training.optimizer(arguments.pop("name"), schedule, **arguments)


def _announce(model: Any, info: Any, valid_info: Any, strategy: Any, workdir: pathlib.Path, changes: list[str]) -> None:
    print(info)
    print(valid_info)
    devices = ", ".join(sorted({device for device in strategy.extended.worker_devices}))
    print(f"{type(model).__name__}, {model.head}, {model.count_params():,} parameters, on {devices}, into {workdir}")
    for change in changes:
        print(f"note: the run in {workdir} began with another value of {change}", file=sys.stderr)
    sys.stdout.flush()


def _again() -> str:
    return shlex.join(["python", "-m", "pipelines.train", *sys.argv[1:]])


if __name__ == "__main__":
    command.run(main, define_flags)
