"""Trains a model, scores it on the test split and writes a report.

    python -m pipelines.train                                     digits into runs/digits
    python -m pipelines.train --config=digits_tiny --workdir=runs/tiny --config.train.steps=100

Started again with the same arguments it goes on where it stopped, and a run that is complete is only reported again.
Another run in the same work directory is refused as long as this one lasts. Exit codes: docs/commands.md.
"""

from __future__ import annotations

import dataclasses
import pathlib
import shlex
import sys
from typing import Any

from absl import flags

from pipelines import command, config_files, program, record, settings
from pipelines.run_lock import RunLock


def define_flags() -> None:
    """Defines the command's flags."""
    config_files.define_flag("digits")
    flags.DEFINE_string("workdir", None, "Work directory; runs/<name of the configuration> by default.")


def main() -> int:
    """Runs the command; returns the exit code."""
    config = settings.read(flags.FLAGS.config.to_dict())
    workdir = pathlib.Path(flags.FLAGS.workdir or f"runs/{config['name']}")
    with RunLock(workdir):
        print(f"{config['name']}: loading TensorFlow and {config['data']['name']}", file=sys.stderr, flush=True)
        command.import_quietly()
        return _train(config, workdir)


def _train(config: dict[str, Any], workdir: pathlib.Path) -> int:
    """Calls `train`, and prints how to go on where it ends early; returns the exit code."""
    from tfar import training

    try:
        return train(config, workdir)
    except training.Interrupted as stop:
        print(f"{stop}; to go on, run the same command again:\n  {_again()}", file=sys.stderr)
        return command.STOPPED + stop.signal
    except training.NonFiniteLoss as error:
        steps = training.Checkpoints(workdir / "checkpoints").steps()
        kept = f"the last good checkpoint is that of step {steps[-1]}" if steps else "there is no checkpoint yet"
        print(
            f"error: {error}; {kept}. Lower config.train.learning_rate (={config['train']['learning_rate']}) "
            f"or config.train.clip_norm (={config['train']['clip_norm']})",
            file=sys.stderr,
        )
        return command.NOT_FINITE


# Settings of `config.train` that `TrainStep` takes.
_OF_A_STEP = (
    "batch_size",
    "clip_norm",
    "ema_decay",
    "seed",
    "jit_compile",
    "clip_value",
    "carry_state",
    "part",
)


def train(config: dict[str, Any], workdir: pathlib.Path) -> int:
    """Trains as `config` says, into `workdir`; returns the exit code."""
    import keras

    from pipelines import report
    from pipelines import workdir as runs
    from tfar import training
    from tfar.core.units import Unit

    runs.check_names(config)
    batches, info = runs.load_batches(config)
    valid, valid_info = runs.load_split(config, "valid")
    resolved = runs.resolve_model(config, info)
    described = runs.describe(config, resolved, runs.fingerprints(config, info, valid_info))
    changes = record.compare(workdir, described)
    options = config["train"]
    keras.config.set_dtype_policy(options["precision"])
    keras.utils.set_random_seed(options["seed"])
    strategy = training.strategy(options["strategy"])
    with strategy.scope():
        model = runs.build_model(resolved)
        optimizer = _optimizer(options)
    given = {name: options.get(name) for name in _OF_A_STEP}
    train_step = training.TrainStep(model, optimizer, strategy, **given)
    loop = training.TrainingLoop(
        train_step,
        batches,
        valid,
        training.Settings(**{field.name: options[field.name] for field in dataclasses.fields(training.Settings)}),
        workdir,
        architecture=runs.fingerprint(resolved),
        on_evaluation=report.at_evaluation(workdir, info, config),
        unit=Unit(info.unit),
        data=info.fingerprint,
    )
    if loop.state.step == 0:
        runs.take_parts(model, options.get("parts_from") or ())
    # The checkpoint, if there is one, has accepted the model, the optimizer and the data.
    runs.remove_temporary(workdir)
    runs.write_config(workdir, described)
    _announce(model, info, valid_info, strategy, workdir, changes)
    _say_where(loop)
    outcome = loop.run()
    if outcome.stopped_early:
        print(f"stopped early at step {outcome.step}: no better validation score since step {outcome.best_step}")
    if options["precision"] != "float32":
        # Scores are those of the weights in float32, and so is the model that is saved.
        keras.config.set_dtype_policy("float32")
        model = None
    score = report.finish(workdir, outcome, _again(), model)
    print(score)
    _say_what(workdir)
    return 0


def _say_what(workdir: pathlib.Path) -> None:
    from tfar.training.event_files import EVENTS

    for what, pattern in (("report", "report.html"), ("samples", "samples.*"), ("model", "model.keras")):
        for path in sorted(workdir.glob(pattern)):
            print(f"{what + ':':<8} {path}")
    if (workdir / EVENTS).is_dir():
        print(f"curves:  tensorboard --logdir={shlex.quote(str(workdir / EVENTS))}")


def _optimizer(options: dict[str, Any]) -> Any:
    from tfar import training

    schedule = training.schedule(learning_rate=options["learning_rate"], steps=options["steps"], **options["schedule"])
    arguments = {key: value for key, value in options["optimizer"].items() if value is not None}
    return training.optimizer(arguments.pop("name"), schedule, **arguments)


def _announce(model: Any, info: Any, valid_info: Any, strategy: Any, workdir: pathlib.Path, changes: list[str]) -> None:
    print(info)
    print(valid_info)
    devices = ", ".join(sorted({device for device in strategy.extended.worker_devices}))
    print(f"{type(model).__name__}, {model.head}, {model.count_params():,} parameters, on {devices}, into {workdir}")
    for change in changes:
        print(f"note: the run in {workdir} began with another value of {change}", file=sys.stderr)
    sys.stdout.flush()


def _say_where(loop: Any) -> None:
    if loop.finished:
        print(f"the run is complete at step {loop.state.step}; raise --config.train.steps to train on")
    elif loop.state.step:
        print(f"going on from step {loop.state.step}")


def _again() -> str:
    return program.typed("train", sys.argv[1:])


if __name__ == "__main__":
    command.run(main, define_flags)
