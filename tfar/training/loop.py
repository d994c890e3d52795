"""The loop of a training run, which may be killed at any moment and then resumes exactly.

What a step does depends on (weights, optimizer, averages, carried state, step) alone: the batch and all randomness are
functions of the step. A checkpoint holds these, the running sums of the log interval and the length of metrics.jsonl,
which is cut back to it; so the file of a run that was killed and continued is byte-equal to that of one that was not.

    metrics.jsonl     deterministic: losses, learning rate, norm of the gradient, validation score
    timings.jsonl     wall-clock times
    tensorboard/      the same as events, with images of samples
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import pathlib
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfar.core import compat
from tfar.core.units import DIM, Unit, bits_per_dim
from tfar.training.checkpoint import Checkpoint, CheckpointError, Checkpoints, restore_weights
from tfar.training.event_files import EVENTS, EventFiles
from tfar.training.metrics import log_probs
from tfar.training.progress import ProgressBar
from tfar.training.sequences import sequence_log_probs
from tfar.training.settings import Settings
from tfar.training.signals import StopRequest
from tfar.training.step import NonFiniteLoss, TrainStep


class Interrupted(Exception):
    """SIGINT or SIGTERM arrived; a checkpoint of `step` has been written.

    Attributes:
        step: number of steps done.
        signal: number of the signal.
    """

    def __init__(self, step: int, number: int = signal.SIGINT):
        super().__init__(f"stopped after step {step}")
        self.step, self.signal = step, int(number)


@dataclasses.dataclass
class Outcome:
    """How a run ended.

    Attributes:
        step: steps done.
        best_step: step of the best validation score.
        best_bits_per_dim: that score.
        stopped_early: whether patience ended it.
        seconds: time spent in training and validation, over all processes that took part.
    """

    step: int
    best_step: int
    best_bits_per_dim: float
    stopped_early: bool
    seconds: float


@dataclasses.dataclass
class _State:
    """The loop's state besides tensors; part of every checkpoint."""

    step: int = 0
    best_step: int | None = None
    best_bits_per_dim: float | None = None
    evaluations_since_best: int = 0
    stopped_early: bool = False
    loss_sum: float = 0.0
    norm_sum: float = 0.0
    count: int = 0
    metrics_bytes: int = 0
    seconds: float = 0.0


class TrainingLoop:
    """A run in a work directory.

    Args:
        train_step: model, optimizer and averages.
        batches: `tfar.data.Batches`; its `batch(step)` is a function of the step.
        valid: arrays of the validation set, {"x", "condition"}; of sequences also "length".
        settings: lengths and intervals.
        workdir: folder of checkpoints and metrics; a run that it holds is continued.
        architecture: fingerprint that goes into the checkpoints.
        on_evaluation: called with (step, model with averaged weights), for instance to draw samples; what it returns is
            written to TensorBoard as image [1, H, W, C], unless it is None.
        name: in front of the progress bar.
        unit: the element per which scores are given; it names the numbers of metrics.jsonl.
        data: fingerprint of the training data, which goes into the checkpoints and is compared with theirs.

    Raises:
        CheckpointError: the newest checkpoint belongs to another architecture, to other data or to another optimizer,
            all are damaged, or, where `settings.on_damaged` is "stop", the newest is.
    """

    def __init__(
        self,
        train_step: TrainStep,
        batches: Any,
        valid: Mapping[str, np.ndarray],
        settings: Settings,
        workdir: str | os.PathLike,
        architecture: str = "",
        on_evaluation: Callable[[int, Any], np.ndarray | None] | None = None,
        name: str = "train",
        unit: Unit = DIM,
        data: str = "",
    ):
        self.train_step, self.batches, self.valid, self.settings = train_step, batches, valid, settings
        self.workdir, self.architecture, self.data = pathlib.Path(workdir), architecture, data
        self.on_evaluation, self.name, self.unit = on_evaluation, name, unit
        self.checkpoints = Checkpoints(self.workdir / "checkpoints")
        self.state = _State()
        self._pending: list[tuple[int, tf.Tensor, tf.Tensor]] = []
        self._last_loss = math.nan
        if self.checkpoints.steps():
            self._restore(self._newest())
        self.workdir.mkdir(parents=True, exist_ok=True)
        self.checkpoints.remove_temporary()
        self._cut_metrics()

    @property
    def metrics_path(self) -> pathlib.Path:
        """metrics.jsonl."""
        return self.workdir / "metrics.jsonl"

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.state.stopped_early or (self.state.step >= self.settings.steps and self.state.best_step is not None)

    # The run.

    def run(self) -> Outcome:
        """Trains until the last step, an early stop, a signal or a loss that is not finite.

        Raises:
            Interrupted: SIGINT or SIGTERM; a checkpoint of the last step is on the disk.
            NonFiniteLoss: the loss or its gradient is NaN or infinite; the last checkpoint is the last good one.
        """
        if self.finished:
            return self._outcome()
        settings, state = self.settings, self.state
        bar = ProgressBar(settings.steps, self.name, start=state.step)
        self._began = time.monotonic() - state.seconds
        self._logged = (time.monotonic(), state.step)
        self._writer = EventFiles(self.workdir / EVENTS)
        try:
            with (
                StopRequest() as stop,
                open(self.metrics_path, "ab") as self._metrics,
                open(self.workdir / "timings.jsonl", "a") as self._timings,
            ):
                if state.step == 0:
                    self.train_step.initialize(self.batches.batch(0))
                while not self.finished:
                    self._advance()
                    if bar.due:
                        self._drain()
                    bar.update(state.step, self._note(), force=self.finished)
                    if stop.signal is not None and not self.finished:
                        self._drain()
                        self._save()
                        raise Interrupted(state.step, stop.signal)
        finally:
            bar.close()
            self._writer.close()
        return self._outcome()

    def _advance(self) -> None:
        """One step, and what is due after it: log, evaluate, save, in this order."""
        settings, state = self.settings, self.state
        if state.step < settings.steps:  # not so where a run that was complete goes on without a score
            loss, norm = self.train_step(self.batches.batch(state.step), state.step)
            state.step += 1
            self._pending.append((state.step, loss, norm))
        last = state.step >= settings.steps
        if state.step % settings.log_every == 0 or last:
            self._log()
        evaluate = state.step % settings.eval_every == 0 or last
        if evaluate:
            self._evaluate()
        if evaluate or state.step % settings.checkpoint_every == 0:
            self._save()

    def _note(self) -> str:
        """Returns the last loss and the best validation score; sequences in nats too, in which they are compared."""
        numbers = [f"{self._last_loss:.3f} {self.unit.bits}"]
        best = self.state.best_bits_per_dim
        if best is not None:
            numbers.append(f"valid {best:.3f}")
            if self.unit.is_sequence:
                numbers.append(f"{best * math.log(2):.3f} {self.unit.nats}")
        return ", ".join(numbers)

    def _drain(self) -> None:
        """Fetches the losses of the steps since the last time, in order, and refuses those that are not finite."""
        for step, loss, norm in self._pending:
            loss, norm = float(loss), float(norm)
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise NonFiniteLoss(step, loss, norm)
            self.state.loss_sum += loss
            self.state.norm_sum += norm
            self.state.count += 1
            self._last_loss = loss
        self._pending.clear()

    def _log(self) -> None:
        self._drain()
        state, now = self.state, time.monotonic()
        if state.count:
            # The rate of the step that was just done: the optimizer counts from 0.
            record = {
                "step": state.step,
                **self._measures("train", state.loss_sum / state.count),
                "gradient_norm": state.norm_sum / state.count,
                "learning_rate": compat.learning_rate(self.train_step.optimizer, state.step - 1),
            }
            self._write(record)
            began, first = self._logged
            speed = (state.step - first) / max(now - began, 1e-9)
            timing = {"step": state.step, "seconds": round(self._seconds(), 3), "steps_per_second": round(speed, 3)}
            self._timings.write(json.dumps(timing) + "\n")
            self._timings.flush()
        state.loss_sum = state.norm_sum = 0.0
        state.count = 0
        self._logged = (now, state.step)

    def _evaluate(self) -> None:
        self._drain()
        state = self.state
        with self.train_step.averaged_weights() as model:
            score = self._score(model)
            if not math.isfinite(score):
                raise NonFiniteLoss(state.step, score, math.nan)
            image = None if self.on_evaluation is None else self.on_evaluation(state.step, model)
        better = state.best_bits_per_dim is None or score < state.best_bits_per_dim
        if better:
            state.best_step, state.best_bits_per_dim, state.evaluations_since_best = state.step, score, 0
        else:
            state.evaluations_since_best += 1
        state.stopped_early = 0 < self.settings.patience <= state.evaluations_since_best
        self._write({"step": state.step, **self._measures("valid", score), "best": better})
        if image is not None:
            self._writer.write_image(state.step, "samples", image)

    def _score(self, model: Any) -> float:
        """Bits per unit of the validation set."""
        settings = self.settings
        if self.unit.is_sequence:
            rows = settings.eval_rows if len(self.valid["x"]) == 1 else 1
            nats = np.concatenate(sequence_log_probs(model, self.valid, settings.eval_batch_size, rows=rows))
            return bits_per_dim(float(np.mean(nats)), 1)
        nats = log_probs(model, self.valid, settings.eval_batch_size)
        return bits_per_dim(float(np.mean(nats)), int(np.prod(self.valid["x"].shape[1:])))

    def _measures(self, prefix: str, bits: float) -> dict[str, float]:
        """Numbers of metrics.jsonl; sequences in nats too."""
        numbers = {self.unit.key(prefix): bits}
        if self.unit.is_sequence:
            numbers[self.unit.key(prefix, "nats")] = bits * math.log(2)
        return numbers

    def _write(self, record: dict[str, Any]) -> None:
        """Appends a line to metrics.jsonl, and the numbers to TensorBoard."""
        self._metrics.write((json.dumps(record) + "\n").encode())
        self._metrics.flush()
        self._writer.write(record["step"], record)

    def _seconds(self) -> float:
        return time.monotonic() - self._began

    def _outcome(self) -> Outcome:
        state = self.state
        return Outcome(
            state.step, state.best_step or 0, state.best_bits_per_dim or math.nan, state.stopped_early, state.seconds
        )

    # Checkpoints.

    def _save(self) -> None:
        self._drain()
        os.fsync(self._metrics.fileno())  # before the checkpoint that counts its bytes
        self.state.metrics_bytes = self._metrics.tell()
        self.state.seconds = self._seconds()
        step = self.train_step
        for weight in step.model.weights:
            if not np.isfinite(np.asarray(weight)).all():
                raise NonFiniteLoss(self.state.step, self._last_loss, math.nan)
        self.checkpoints.save(
            Checkpoint(
                names=[weight.path for weight in step.model.weights],
                weights=[np.asarray(weight) for weight in step.model.weights],
                averages=[average.numpy() for average in step.averages],
                optimizer=[np.asarray(variable) for variable in step.optimizer.variables],
                state=dataclasses.asdict(self.state),
                architecture=self.architecture,
                carried=step.carried_arrays(),
                data=self.data,
            )
        )

    def _newest(self) -> Checkpoint:
        """The checkpoint to go on from."""
        if self.settings.on_damaged == "stop":
            return self.checkpoints.load()
        checkpoint, warnings = self.checkpoints.load_usable()
        for warning in warnings:
            print(f"warning: {warning}", file=sys.stderr, flush=True)
        return checkpoint

    def _restore(self, checkpoint: Checkpoint) -> None:
        step, path = self.train_step, self.checkpoints.path(checkpoint.state["step"])
        if checkpoint.data and self.data and checkpoint.data != self.data:
            raise CheckpointError(
                f"{path} was trained on other data: their fingerprint is {checkpoint.data} there and {self.data} now; "
                "use the old data, or another --workdir"
            )
        restore_weights(step.model, checkpoint, path)
        optimizer = step.optimizer.variables
        if [variable.shape for variable in optimizer] != [array.shape for array in checkpoint.optimizer]:
            raise CheckpointError(
                f"{path} was written with another optimizer; use the one in config.json, or another --workdir"
            )
        for variable, array in zip(optimizer, checkpoint.optimizer, strict=True):
            variable.assign(array)
        for average, array in zip(step.averages, checkpoint.averages, strict=True):
            average.assign(array)
        step.restore_carried(checkpoint.carried)
        self.state = _State(**checkpoint.state)
        # More steps may be wanted than when the run stopped, or more patience.
        patience = self.settings.patience
        self.state.stopped_early = 0 < patience <= self.state.evaluations_since_best

    def _cut_metrics(self) -> None:
        """Drops the lines that were written after the checkpoint."""
        for path, size in ((self.metrics_path, self.state.metrics_bytes), (self.workdir / "timings.jsonl", None)):
            if path.exists():
                if size is None:
                    size = _bytes_until(path, self.state.step)
                if path.stat().st_size < size:
                    raise ValueError(
                        f"{path} is shorter than the newest checkpoint says; was it edited? Use another --workdir"
                    )
                os.truncate(path, size)


def _bytes_until(path: pathlib.Path, step: int) -> int:
    """Length of the lines of a file of JSON lines up to a step; a half-written line ends them."""
    size = 0
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            if json.loads(line)["step"] > step:
                break
        except ValueError:
            break
        size += len(line)
    return size
