"""Wrong flags and data: one line that names the flag, exit code 2, nothing written."""

import json
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.commands import run

ROOT = pathlib.Path(__file__).parents[2]
TINY = f"--config={ROOT}/pipelines/configs/digits_tiny.py"


def write_run(name, event_shape, data, condition=None, **model):
    """A work directory as far as flags are checked by it: its config.json."""
    pathlib.Path(name).mkdir()
    resolved = {"event_shape": event_shape, "condition": condition, "model": model, "head": {"name": "Categorical"}}
    record = {"config": {"data": {"name": data}}, "resolved": resolved}
    pathlib.Path(name, "config.json").write_text(json.dumps(record))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run("pictures", [8, 8, 1], "digits", {"name": "Label", "num_labels": 10})
    write_run("plain", [8, 8, 1], "digits")
    write_run("letters", [None], "text:a.txt", vocabulary="\n abc")
    pathlib.Path("damaged").mkdir()
    pathlib.Path("damaged/config.json").write_text('{"config": {}')
    pathlib.Path("code.py").write_text("def get_config():\n    return nope\n")
    rng = np.random.default_rng(0)
    grey, colour = (4, 4), (4, 4, 3)
    for name, shape in {"mixed/a.png": grey, "mixed/b.png": colour, "grey/a.png": grey, "grey/b.png": grey}.items():
        pathlib.Path(name).parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(name)
    pathlib.Path("grey/notes.txt").touch()
    pathlib.Path("a.npz").write_bytes(pathlib.Path("grey/a.png").read_bytes())
    np.savez("halves.npz", x=rng.random([20, 4]))
    return tmp_path


def listing(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def check(folder, module, flags, pattern):
    before = listing(folder)
    code, stdout, stderr = run(module, *flags)
    lines = [line for line in stderr.splitlines() if ": loading TensorFlow and " not in line]
    assert (code, stdout, len(lines)) == (2, "", 1), stderr
    assert re.match(f"error: {pattern}", lines[0]), lines[0]
    assert listing(folder) == before
    return stderr


@pytest.mark.parametrize(
    ("module", "flags", "pattern"),
    [
        ("sample", "--workdir=pictures --label=12", "--label must lie in 0 to 9, got 12"),
        ("sample", "--workdir=plain --label=1", "--label=1 was given, but the model in plain has no Label condition"),
        ("sample", "--workdir=pictures --out=x.jpeg", "--out must end in .png, got x.jpeg"),
        ("sample", "--workdir=pictures --out=no/x.png", "--out=no/x.png cannot be written: there is no folder no"),
        ("sample", "--workdir=pictures --prompt=KING", "--prompt is for runs of text, --workdir=pictures is .* image"),
        ("sample", "--workdir=letters --prompt=cab!", r"--prompt holds '!', not among the 5 characters .*: '.n abc'"),
        ("sample", "--workdir=letters --columns=3", "--columns is for runs of image"),
        ("sample", "--workdir=letters --num=3 --beam_width=2", "--beam_width must be at least the number of texts, 3"),
        ("sample", "--workdir=letters --top_p=1.5", "--top_p must lie in 0 to 1"),
        ("sample", "--workdir=pictures --num=0", "--num must be at least 1, got 0"),
        ("sample", "--workdir=nowhere", "--workdir=nowhere holds no run"),
        ("sample", "--workdir=damaged", "damaged/config.json is damaged"),
        ("sample", "--workdir=pictures --num=x", "flag --num=x: "),
        ("evaluate", "--workdir=plain --shuffle_conditions", "--shuffle_conditions needs a model with a condition"),
        ("evaluate", "--workdir=plain --compare=nowhere", "--compare=nowhere holds no run"),
        ("evaluate", "--workdir=plain --json=no/a.json", "--json=no/a.json cannot be written: there is no folder no"),
        ("evaluate", "--workdir=plain --json=plain", "--json must be a file, plain is a folder"),
        ("evaluate", "--workdir=plain --split=all", "flag --split=all: "),
        ("evaluate", "--workdir=plain extra", "no arguments are expected besides flags, got 'extra'"),
        ("train", "--config=nope.py", "flag --config=nope.py: no such file, and no installed configuration; .*digits"),
        ("train", "--config=code.py", "--config: name 'nope' is not defined"),
        ("train", "--config.train.stepz=3", "--config: .*stepz"),
        ("train", "--config.train.steps=x", "flag --config.train.steps=x: "),
        ("train", "--config.train.steps=0", "config.train.steps must be an integer of at least 1, got 0"),
        ("train", "--config.train.batch_size=-1", "config.train.batch_size must be an integer of at least 1, got -1"),
        ("train", "--config.train.learning_rate=nan", "config.train.learning_rate must be a positive number, got nan"),
        ("train", "--config.train.ema_decay=1.0", "config.train.ema_decay must lie in 0 to 1"),
        ("train", "--config.train.on_damaged=go", "config.train.on_damaged must be one of previous, stop, got 'go'"),
        ("train", "--config.train.strategy=all", "config.train.strategy must be one of auto, one, mirrored, got 'all'"),
        (
            "train",
            "--config.train.optimizer.name=sgd",
            "config.train.optimizer.name must be one of .* got 'sgd'",
        ),
        ("train", "--config.train.schedule.name=x", "config.train.schedule.name must be one of constant, .*, got 'x'"),
        ("train", "--workdir=code.py", "--workdir=code.py cannot be written: "),
        ("train", "--workdir=/proc/x", "--workdir=/proc/x cannot be written: "),
    ],
)
def test_flags(folder, module, flags, pattern):
    assert "loading" not in check(folder, f"pipelines.{module}", flags.split(), pattern)


@pytest.mark.parametrize(
    ("flags", "pattern"),
    [
        ("--config.data.name=npz:a.npz", "npz file 'a.npz' is not a NumPy archive: it begins with b'.x89PNG"),
        ("--config.data.name=npz:none.npz", "npz:FILE needs an existing file, got 'none.npz'"),
        (
            "--config.data.name=images:grey",
            "config.condition must name an array of 'images:grey': none, got 'label'; "
            "--config.condition=none trains without one",
        ),
        (
            "--config.data.name=images:mixed --config.condition=none",
            r"config.data.mode must be 'grey' or 'rgb' .*1 grey images .such as a.png. and 1 in colour .such as b.png.",
        ),
        (
            "--config.data.name=images:grey --config.data.mode=hsv",
            "config.data.mode must be .*, got 'hsv'",
        ),
        ("--config.data.name=digits --config.data.size=(1,2,3)", "config.data.size=.* does not apply to 'digits'"),
        (
            "--config.data.name=npz:halves.npz --config.condition=none",
            "config.head.name=Categorical needs data with levels, 'npz:halves.npz' is continuous",
        ),
        ("--config.model.filters=x", "flag --config.model.filters=x: "),
        ("--config.model.name=nope", "config.model.name must be one of .*MADE.* or package.module:Class, got 'nope'"),
        ("--config.model.name=nope:Model", "config.model.name=nope:Model is not to be had: No module named 'nope'"),
        ("--config.model.name=tfar.models:Nope", "config.model.name=tfar.models:Nope is not to be had: .*'Nope'"),
        (
            "--config.model.name=tfar.heads:Categorical",
            "config.model.name must be a subclass of tfar.models.density.Density",
        ),
        ("--config.head.name=Head", "config.head.name must be one of Bernoulli, Categorical, .* got 'Head'"),
    ],
)
def test_data_and_models(folder, flags, pattern):
    check(folder, "pipelines.train", [TINY, "--workdir=run", *flags.split()], pattern)


def test_base_classes_are_no_choice(folder):
    flags = [TINY, "--workdir=run", "--config.model.name=AutoregressiveModel"]
    stderr = check(folder, "pipelines.train", flags, "config.model.name must be one of ")
    names = re.search("must be one of (.*) or package", stderr)[1].split(", ")
    assert "AutoregressiveModel" not in names and {"GatedPixelCNN", "WaveNet", "PixelSNAIL"} <= set(names)


def test_mistakes_are_told_without_tensorflow(folder):
    """In a process of its own: in this one it is loaded."""
    program = (
        "import runpy, sys\n"
        "for command in sys.argv[1:]:\n"
        "    sys.argv = command.split()\n"
        "    try:\n"
        "        runpy.run_module(sys.argv[0], run_name='__main__')\n"
        "    except SystemExit as end:\n"
        "        print(end.code, 'tensorflow' in sys.modules)\n"
        "    from absl import flags\n"
        "    for name in list(flags.FLAGS):\n"
        "        if 'absl' not in (flags.FLAGS.find_module_defining_flag(name) or '') or '.' in name:\n"
        "            delattr(flags.FLAGS, name)\n"
    )
    commands = (
        "pipelines.sample --workdir=pictures --label=12",
        "pipelines.evaluate --workdir=plain --shuffle_conditions",
        "pipelines.train --workdir=new --config.train.steps=0",
    )
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", program, *commands]
    process = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert process.stdout.splitlines() == ["2 False"] * 3, process.stderr
    assert process.stderr.count("error: ") == 3


def test_choices_are_those_of_the_library():
    from pipelines import settings
    from tfar.training import optimizers, schedules, strategies
    from tfar.training.settings import ON_DAMAGED

    assert settings._CHOICES["optimizer.name"] == tuple(optimizers._OPTIMIZERS)
    assert settings._CHOICES["strategy"] == strategies.NAMES and settings._CHOICES["on_damaged"] == ON_DAMAGED
    for name in settings._CHOICES["schedule.name"]:
        schedules.schedule(name, 0.1, 100, boundaries=[50])
