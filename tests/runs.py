"""One bank of tiny training runs for a session: the first test that asks for one trains it, in whichever process.

    digits         images with labels, by the command: the work directory, and what the command wrote
    killed         the same run in a process of its own, killed by SIGKILL after its first checkpoint
    arrays         a model of examples/own_model.py of images in a file: the folder of the file and of the run, `run`
    char_rnn       a text, windows that carry the state of a recurrent model
    transformer    the same text, independent windows of a transformer

Tests leave the folders as they are; those that go on with a run copy it first.
"""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np

from pipelines import train
from pipelines.configs import text_char_rnn_tiny, text_transformer_tiny
from tests.commands import run
from tests.once import Once

ROOT = pathlib.Path(__file__).parents[1]
# Intervals that do not divide each other, and more than one epoch; all pictures are drawn in batches of one size.
FLAGS = (
    "--config.train.steps=90",
    "--config.train.checkpoint_every=7",
    "--config.train.eval_every=45",
    "--config.model.num_blocks=0",
    "--config.report.sample_batch_size=10",
)
TEXT = "the quick brown fox jumps over the lazy dog\n" * 60


def digits_command(workdir):
    """Module and arguments of the command that trains on digits."""
    return "pipelines.train", f"--config={ROOT}/pipelines/configs/digits_tiny.py", f"--workdir={workdir}", *FLAGS


def arrays_command(*flags):
    """Module and arguments of the command that trains on `data.npz` of the current folder, into `run`."""
    return (
        "pipelines.train",
        f"--config={ROOT}/examples/own_model_config.py",
        "--workdir=run",
        "--config.data.name=npz:data.npz",
        "--config.model.units=4",
        "--config.train.steps=3",
        "--config.train.eval_every=3",
        "--config.train.checkpoint_every=1",
        "--config.report.num_samples=2",
        "--config.report.num_images=2",
        "--config.report.sample_batch_size=2",
        *flags,
    )


def write_arrays(folder, seed=0):
    """`data.npz`: 60 images 3x3 of 2 levels, with labels 0 and 1; the seed decides their values alone."""
    x = np.random.default_rng(seed).integers(0, 2, [60, 3, 3, 1], np.uint8)
    np.savez(folder / "data.npz", x=x, label=np.arange(60) % 2)


def char_rnn(file, **changes):
    """The configuration of a recurrent model of a text."""
    config = text_char_rnn_tiny.get_config()
    config.data.name = f"text:{file}"
    config.train.update({"steps": 30, "eval_every": 15, "checkpoint_every": 15, "eval_rows": 2, **changes})
    config.model.dropout = 0.0
    return config.to_dict()


def transformer(file):
    """The configuration of a transformer of a text."""
    config = text_transformer_tiny.get_config()
    config.data.name = f"text:{file}"
    config.data.valid_fraction = 0.1
    config.model.num_layers = 1
    config.train.steps = 10
    config.report.num_samples = 2
    return config.to_dict()


class Runs(Once):
    """Runs, each trained once."""

    @property
    def file(self):
        """The text."""
        with self.once("fox.txt") as (path, new):
            if new:
                path.write_text(TEXT)
        return path

    def digits(self):
        """{"workdir", "code", "stdout", "stderr"} of the complete run on digits."""
        with self.once("digits") as (folder, new):
            workdir = folder / "whole run"
            if new:
                code, stdout, stderr = run(*digits_command(workdir))
                (folder / "output.json").write_text(json.dumps({"code": code, "stdout": stdout, "stderr": stderr}))
            return {"workdir": workdir, **json.loads((folder / "output.json").read_text())}

    def arrays(self):
        """The folder of the run on arrays."""
        with self.once("arrays") as (folder, new):
            if new:
                folder.mkdir(exist_ok=True)
                write_arrays(folder)
                with contextlib.chdir(folder):
                    code, _, stderr = run(*arrays_command())
                assert code == 0, stderr
        return folder

    def killed(self):
        """{"workdir", "code", "newest"} of the killed one: its exit code and its newest checkpoint."""
        with self.once("killed") as (folder, new):
            workdir = folder / "killed"
            if new:
                code, newest = _kill(workdir)
                (folder / "output.json").write_text(json.dumps({"code": code, "newest": newest}))
            return {"workdir": workdir, **json.loads((folder / "output.json").read_text())}

    def char_rnn(self):
        """The work directory of the recurrent model."""
        return self._train("char_rnn", char_rnn)

    def transformer(self):
        """The work directory of the transformer."""
        return self._train("transformer", transformer)

    def _train(self, name, config):
        file = self.file
        with self.once(name) as (workdir, new):
            if new:
                assert train.train(config(file), workdir) == 0
        return workdir


def _kill(workdir):
    """SIGKILL at a moment of chance after the first checkpoint; the exit code, and the newest checkpoint then."""
    arguments = [sys.executable, "-m", *digits_command(workdir)]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    victim = subprocess.Popen(arguments, cwd=ROOT, env=environment, **pipes)
    checkpoints = workdir / "checkpoints"
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
    return victim.returncode, max(path.name for path in checkpoints.glob("step-*.ckpt"))
