"""One short run of the real command; most tests of this folder look at what it left."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).parents[2]
# Intervals that do not divide each other, and more than one epoch.
FLAGS = ("--config.train.steps=90", "--config.train.checkpoint_every=7", "--config.train.eval_every=45")


def command(module, *arguments):
    return [sys.executable, "-m", module, *arguments]


def start(module, *arguments, **kwargs):
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command(module, *arguments), cwd=ROOT, env=environment, **pipes, **kwargs)


def train_command(workdir, *more):
    return (
        "pipelines.train",
        f"--config={ROOT}/pipelines/configs/digits_tiny.py",
        f"--workdir={workdir}",
        *FLAGS,
        *more,
    )


class Trained:
    """A complete run, and beside it one that was killed; both start at once to save time."""

    def __init__(self, folder):
        self.workdir, self.killed = folder / "whole run", folder / "killed"
        whole, victim = start(*train_command(self.workdir)), start(*train_command(self.killed))
        self.killed_at = self._kill(victim)
        self.stdout, self.stderr = whole.communicate(timeout=300)
        self.returncode = whole.returncode

    def _kill(self, victim):
        """SIGKILL at a moment of chance after the first checkpoint; the name of the newest checkpoint then."""
        checkpoints = self.killed / "checkpoints"
        delay = int.from_bytes(os.urandom(1)) / 256
        deadline = time.monotonic() + 240
        while not (checkpoints.is_dir() and any(checkpoints.glob("step-*.ckpt"))):
            if victim.poll() is not None or time.monotonic() > deadline:
                victim.kill()
                raise RuntimeError(f"no checkpoint was written: {victim.communicate()[1]}")
            time.sleep(0.005)
        time.sleep(delay)
        victim.send_signal(signal.SIGKILL)
        victim.communicate()
        self.kill_returncode = victim.returncode
        return max(path.name for path in checkpoints.glob("step-*.ckpt"))


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    return Trained(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="session")
def run_command():
    def run(module, *arguments):
        process = start(module, *arguments)
        stdout, stderr = process.communicate(timeout=300)
        return process.returncode, stdout, stderr

    return run
