"""One short run of the command; most tests of this folder look at what it left."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from tests.commands import run

ROOT = pathlib.Path(__file__).parents[2]
# Intervals that do not divide each other, and more than one epoch.
FLAGS = ("--config.train.steps=90", "--config.train.checkpoint_every=7", "--config.train.eval_every=45")


def train_command(workdir, *more):
    return (
        "pipelines.train",
        f"--config={ROOT}/pipelines/configs/digits_tiny.py",
        f"--workdir={workdir}",
        *FLAGS,
        *more,
    )


class Trained:
    """A complete run in this process, and beside it one in a process of its own that was killed."""

    def __init__(self, folder):
        self.workdir, self.killed = folder / "whole run", folder / "killed"
        arguments = [sys.executable, "-m", *train_command(self.killed)]
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
        victim = subprocess.Popen(
            arguments, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.killed_at = self._kill(victim)
        self.returncode, self.stdout, self.stderr = run(*train_command(self.workdir))

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
