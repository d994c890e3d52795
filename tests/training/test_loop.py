import json
import os
import signal

import numpy as np
import pytest

from tfar import training
from tfar.data import Batches

# What is traced is shared by the tests of two files.
pytestmark = pytest.mark.xdist_group("train_steps")


class Dies(Exception):
    pass


class Stopping:
    """Batches that do something in front of a step."""

    def __init__(self, arrays, at, action):
        self.batches, self.at, self.action = Batches(arrays, 8, seed=1), at, action

    def batch(self, step):
        if step == self.at:
            self.action()
        return self.batches.batch(step)


def die():
    raise Dies


def everything(loop):
    variables = [*loop.train_step.model.weights, *loop.train_step.optimizer.variables, *loop.train_step.averages]
    return [np.asarray(variable).copy() for variable in variables]


def lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def reference(make_loop, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("reference")
    loop = make_loop(workdir)
    outcome = loop.run()
    return workdir, everything(loop), outcome


def assert_same_run(workdir, loop, reference):
    assert (workdir / "metrics.jsonl").read_bytes() == (reference[0] / "metrics.jsonl").read_bytes()
    for got, want in zip(everything(loop), reference[1], strict=True):
        np.testing.assert_array_equal(got, want)


def test_metrics(reference):
    workdir, _, outcome = reference
    records = lines(workdir)
    assert [record["step"] for record in records if "train_bits_per_dim" in record] == [5, 10, 13]
    valid = {record["step"]: record["valid_bits_per_dim"] for record in records if "valid_bits_per_dim" in record}
    assert list(valid) == [6, 12, 13]
    assert outcome.step == 13 and valid[outcome.best_step] == min(valid.values()) == outcome.best_bits_per_dim
    assert not outcome.stopped_early and outcome.seconds > 0
    assert len((workdir / "timings.jsonl").read_text().splitlines()) == 3
    assert any("tfevents" in path.name for path in (workdir / "tensorboard").iterdir())


def test_validation_uses_the_averaged_weights(make_loop, reference, arrays):
    workdir = reference[0]
    loop = make_loop(workdir)  # with the weights and averages of the last checkpoint
    with loop.train_step.averaged_weights() as model:
        expected = float(np.mean(model.bits_per_dim(arrays["x"], arrays["condition"])))
    assert lines(workdir)[-1]["valid_bits_per_dim"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("at", [3, 12])
def test_a_run_that_died_goes_on_as_if_it_had_not(make_loop, arrays, reference, tmp_path, at):
    with pytest.raises(Dies):
        make_loop(tmp_path, Stopping(arrays, at, die)).run()
    loop = make_loop(tmp_path)
    assert loop.state.step == at - at % 2
    loop.run()
    assert_same_run(tmp_path, loop, reference)


def test_sigint_saves_and_goes_on(make_loop, arrays, reference, tmp_path, capsys):
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(training.Interrupted, match="after step 8"):
        make_loop(tmp_path, Stopping(arrays, 7, lambda: os.kill(os.getpid(), signal.SIGINT))).run()
    assert signal.getsignal(signal.SIGINT) is handler
    assert "stopping after this step" in capsys.readouterr().err
    loop = make_loop(tmp_path)
    assert loop.state.step == 8
    loop.run()
    assert_same_run(tmp_path, loop, reference)


def test_a_complete_run_is_not_trained_again(make_loop, reference, tmp_path):
    workdir, _, outcome = reference
    before = (workdir / "metrics.jsonl").read_bytes()
    again = make_loop(workdir)
    assert again.finished and again.run() == outcome
    assert (workdir / "metrics.jsonl").read_bytes() == before


def test_nan_names_the_step_and_keeps_the_last_good_checkpoint(make_loop, make_step, arrays, tmp_path):
    step = make_step()

    def poison():
        for weight in step.model.trainable_variables:
            weight.assign(weight * np.nan)

    loop = make_loop(tmp_path, Stopping(arrays, 8, poison), step)
    with pytest.raises(training.NonFiniteLoss, match="step 9: the loss is nan") as error:
        loop.run()
    assert error.value.step == 9
    newest = loop.checkpoints.load()
    assert newest.state["step"] == 8
    assert all(np.isfinite(array).all() for array in newest.weights)


def test_early_stop_keeps_the_best(make_loop, arrays, tmp_path):
    # It learns the negatives of what it is scored on: after some evaluation there is no better one.
    negatives = Batches({**arrays, "x": 1 - arrays["x"]}, 8, seed=1)
    loop = make_loop(tmp_path, negatives, steps=60, eval_every=1, patience=3)
    outcome = loop.run()
    assert outcome.stopped_early and outcome.step == outcome.best_step + 3 < 60
    assert loop.checkpoints.load_best().state["step"] == outcome.best_step
    again = make_loop(tmp_path, negatives, steps=60, eval_every=1, patience=3)
    assert again.finished and again.run().step == outcome.step


def test_a_checkpoint_of_another_architecture(make_loop, make_step, reference):
    with pytest.raises(training.CheckpointError, match="holds another architecture: weight 0 is") as error:
        make_loop(reference[0], step=make_step(filters=3))
    assert "\n" not in str(error.value)


def test_edited_metrics_are_refused(make_loop, tmp_path):
    loop = make_loop(tmp_path, steps=2, eval_every=2)
    loop.run()
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(ValueError, match="shorter than the newest checkpoint"):
        make_loop(tmp_path, steps=2, eval_every=2)


@pytest.mark.parametrize(
    "name", ["steps", "log_every", "eval_every", "checkpoint_every", "eval_batch_size", "patience"]
)
def test_settings_name_what_is_wrong(name):
    with pytest.raises(ValueError, match=name):
        training.Settings(**{"steps": 5, name: -1})
