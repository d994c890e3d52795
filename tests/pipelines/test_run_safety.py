"""A run cannot mix up data, runs or checkpoints; what is refused changes nothing."""

import json
import os
import re
import shutil
import signal
import threading
import time

import pytest

from pipelines import workdir as runs
from pipelines.run_lock import RunLock
from tests.commands import run
from tests.runs import arrays_command, write_arrays


@pytest.fixture
def folder(runs_bank, tmp_path, monkeypatch):
    """The current folder: data.npz, and `run`, three steps of training on it."""
    folder = tmp_path / "here"
    shutil.copytree(runs_bank.arrays(), folder)
    monkeypatch.chdir(folder)
    return folder


def listing(folder):
    """Every file with its content."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def errors(stderr):
    """Lines of errors and warnings."""
    return [line for line in stderr.splitlines() if line.startswith(("error", "warning", "Traceback"))]


def refused(folder, code, pattern, *flags):
    before = listing(folder)
    got, stdout, stderr = run(*arrays_command(*flags))
    assert got == code and not stdout, stderr
    (line,) = errors(stderr)
    assert re.search(pattern, line), line
    assert listing(folder) == before
    return line


def test_config_json_holds_the_fingerprints(folder):
    data = json.loads((folder / "run" / "config.json").read_text())["data"]
    assert set(data) == {"train", "valid", "test"} and len(set(data.values())) == 3
    assert json.loads((folder / "run" / "test.json").read_text())["fingerprint"] == data["test"]
    assert runs.training.Checkpoints(folder / "run" / "checkpoints").load().data == data["train"]


def test_other_data_of_the_same_name_are_refused(folder):
    old = json.loads((folder / "run" / "config.json").read_text())["data"]["train"]
    write_arrays(folder, seed=1)
    line = refused(
        folder, 2, "run holds a run on other data: the train split of 'npz:data.npz'", "--config.train.steps=9"
    )
    (new,) = set(re.findall(r"\b[0-9a-f]{16}\b", line)) - {old}
    assert f"had the fingerprint {old} when it began, and has {new} now" in line and "another --workdir" in line
    # Nor are they without config.json: the checkpoint knows, too.
    (folder / "run" / "config.json").unlink()
    refused(folder, 2, f"step-00000003.ckpt was trained on other data: their fingerprint is {old} there and {new} now")


def test_a_score_of_other_data_is_refused(folder):
    write_arrays(folder, seed=1)
    before = listing(folder)
    code, stdout, stderr = run("pipelines.evaluate", "--workdir=run", "--json=score.json")
    assert code == 2 and not stdout and len(errors(stderr)) == 1
    assert re.search(
        "the test split of 'npz:data.npz' had the fingerprint [0-9a-f]{16} .* and has [0-9a-f]{16}", stderr
    )
    assert listing(folder) == before


def test_a_second_run_in_the_directory_is_refused(folder):
    with RunLock("run"):
        line = refused(folder, 1, "--workdir=run is in use by process", "--config.train.steps=9")
    assert str(os.getpid()) in line


def test_a_refused_optimizer_does_not_stay_in_the_configuration(folder):
    pattern = "step-00000003.ckpt was written with another optimizer"
    refused(folder, 2, pattern, "--config.train.optimizer.name=adagrad")


def test_a_damaged_checkpoint_and_what_a_killed_process_left(folder):
    checkpoints = folder / "run" / "checkpoints"
    newest = checkpoints / "step-00000003.ckpt"
    whole = newest.read_bytes()
    newest.write_bytes(whole[:500])
    pattern = "step-00000003.ckpt is truncated or damaged.*and the run goes on from .*step-00000002.ckpt"
    refused(folder, 1, pattern, "--config.train.on_damaged=stop")

    metrics = (folder / "run" / "metrics.jsonl").read_bytes()
    left = [checkpoints / ".step-00000003.ckpt.4711.tmp"]
    left += [folder / "run" / name for name in (".config.json.1.tmp", ".report.html.99.tmp", ".model.tmp.keras")]
    mine = folder / "run" / ".notes.tmp"
    for path in (*left, mine):
        path.write_bytes(b"half")
    code, stdout, stderr = run(*arrays_command())
    assert code == 0, stderr
    (line,) = errors(stderr)
    assert line.startswith("warning: ") and re.search(
        "step-00000003.ckpt is .*; going on from .*step-00000002.ckpt", line
    )
    assert "going on from step 2" in stdout
    assert (folder / "run" / "metrics.jsonl").read_bytes() == metrics
    assert runs.training.Checkpoints(checkpoints).load().state["step"] == 3
    assert not any(path.exists() for path in left) and mine.exists() and not (folder / "run" / ".lock").exists()


def test_sigterm_saves_and_is_143(folder):
    checkpoints = folder / "other" / "checkpoints"

    def stop():
        while not any(checkpoints.glob("*.ckpt")):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop, daemon=True)
    thread.start()
    flags = ("--workdir=other", "--config.train.steps=100000", "--config.train.eval_every=100000")
    code, stdout, stderr = run(*arrays_command(*flags))
    thread.join()
    assert code == 143 and "stopped after step" in stderr and "run the same command again" in stderr
    step = int(re.search(r"stopped after step (\d+)", stderr)[1])
    assert runs.training.Checkpoints(checkpoints).load().state["step"] == step
    assert not (folder / "other" / ".lock").exists()


def test_a_loss_that_is_not_finite_is_3(folder):
    code, _, stderr = run(
        *arrays_command("--workdir=other", "--config.train.steps=50", "--config.train.learning_rate=1e38")
    )
    (line,) = errors(stderr)
    assert code == 3 and re.search(r"error: step \d+: .*config.train.learning_rate", line)


def test_a_work_directory_that_cannot_be_is_named(folder):
    refused(folder, 2, "--workdir=data.npz cannot be written", "--workdir=data.npz")
    refused(folder, 2, "--workdir=/proc/x cannot be written", "--workdir=/proc/x")
