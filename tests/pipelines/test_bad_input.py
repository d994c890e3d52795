"""Wrong flags and data: one line that names the flag, exit code 2, nothing written.

Other bad input of commands: tests/pipelines/test_run_safety.py (work directories, checkpoints, signals),
tests/export/writer/test_saved_model.py (exports), tests/export/server/test_command.py (servers).
"""

import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

import tfar
from pipelines import workdir as runs
from tests.commands import run
from tests.runs import arrays_command
from tfar.testing import eagerly

ROOT = pathlib.Path(__file__).parents[2]
TINY = f"--config={ROOT}/pipelines/configs/digits_tiny.py"


def png_header(width, height):
    """The first bytes of a PNG file, which say its size: enough for a reader to refuse it."""
    chunks = (b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0), b"IDAT")
    parts = (struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def write_images(folder):
    """Folders of one image each that cannot be taken, and one that is a loop."""
    files = {
        "empty_file": b"",
        "huge": png_header(20_000, 20_000),
        "cut": (folder / "grey/a.png").read_bytes()[:60],
        "text": b"no image",
    }
    for name, content in files.items():
        (folder / name).mkdir()
        (folder / name / "a.png").write_bytes(content)
    (folder / "deep").mkdir()
    Image.fromarray(np.full([4, 4], 5000, np.uint16)).save(folder / "deep/a.png")
    (folder / "none").mkdir()
    (folder / "loop").symlink_to("loop")


def write_arrays():
    """Archives that cannot be taken, by what is wrong with them."""
    x, label = np.zeros([20, 4], np.uint8), np.arange(20) % 2
    wrong = {
        "rank": {"x": np.zeros([20])},
        "shapes": {"x_train": x, "x_test": np.zeros([5, 3], np.uint8)},
        "dtype": {"x": np.full([20, 4], "a")},
        "objects": {"x": np.array([{}, None], object)},
        "nan": {"x": np.full([20, 4], np.nan)},
        "negative": {"x": x - np.int32(1)},
        "label": {"x": x, "label": label - 1},
        "short": {"x": x, "label": label[:7]},
        "nothing": {"y": x},
        "no_rows": {"x": x[:0]},
    }
    for name, arrays in wrong.items():
        np.savez(f"{name}.npz", **arrays)
    np.savez("cut.npz", x=x)
    pathlib.Path("cut.npz").write_bytes(pathlib.Path("cut.npz").read_bytes()[:100])


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


@pytest.fixture
def wrong(folder):
    """The same with files that cannot be taken."""
    write_images(folder)
    write_arrays()
    for name, content in {"empty.txt": b"", "one.txt": b"aaaa", "latin.txt": "Gr\xfc\xdfe".encode("latin-1")}.items():
        pathlib.Path(name).write_bytes(content)
    for name in ("silence", "noise"):
        pathlib.Path(name).mkdir()
    pathlib.Path("noise/a.wav").write_bytes(b"no sound")
    return folder


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
        ("train", "--wrokdir=run", "Unknown command line flag 'wrokdir'"),
        ("sample", "--workdir=pictures --temperature=inf", "--temperature must be a positive number, got inf"),
        ("sample", "--workdir=pictures --seed=-1", "--seed must be at least 0, got -1"),
        ("sample", "--workdir=pictures --length=5", "--length is for runs of text or audio, --workdir=pictures is one"),
        ("sample", "--workdir=letters --length=0", "flag --length=0: "),
        ("sample", "--workdir=pictures --out=/proc/x.png", "--out=/proc/x.png cannot be written: "),
        ("sample", "--workdir=pictures --out=grey", "--out must end in .png, got grey"),
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


@pytest.mark.parametrize(
    ("config", "flags", "pattern"),
    [
        ("digits_tiny", "images:nowhere", "images:FOLDER needs an existing folder, got 'nowhere'"),
        ("digits_tiny", "images:none", "images:FOLDER 'none' must hold images .*, found none"),
        ("digits_tiny", "images:loop", "images:FOLDER needs an existing folder, got 'loop'"),
        ("digits_tiny", "images:empty_file", r"images:FOLDER 'empty_file' has 1 unreadable .*: a.png .not an image"),
        ("digits_tiny", "images:text", r"images:FOLDER 'text' has 1 unreadable .*: a.png .not an image"),
        ("digits_tiny", "images:cut", "images:FOLDER 'cut' has 1 unreadable of 1 files: a.png"),
        ("digits_tiny", "images:deep", "images:FOLDER 'deep' has 1 unreadable .*: a.png .8-bit pixels are accepted"),
        ("digits_tiny", "images:huge", "images:FOLDER 'huge' has 1 unreadable .*: a.png .*400000000 pixels"),
        ("digits_tiny", "npz:rank.npz", "x must be .N, D. vectors, .* got shape .20,"),
        ("digits_tiny", "npz:shapes.npz", "x must have one event shape in all splits"),
        ("digits_tiny", "npz:dtype.npz", "x must hold integers, floats or bools, got dtype <U1"),
        ("digits_tiny", "npz:objects.npz", ".*'x' cannot be read: it holds Python objects"),
        ("digits_tiny", "npz:nan.npz", "x must be finite, got .* values such as nan"),
        ("digits_tiny", "npz:negative.npz", "x must hold values from 0 to .*, got -1"),
        ("digits_tiny", "npz:label.npz --config.condition=label", "label must not be negative, got -1"),
        ("digits_tiny", "npz:short.npz --config.condition=label", "label must be one integer for each of 20"),
        ("digits_tiny", "npz:nothing.npz", ".*must have keys 'x', 'images'.*found 'y'"),
        ("digits_tiny", "npz:no_rows.npz", "split 'train' of .* is empty"),
        ("digits_tiny", "npz:cut.npz", ".*cut.npz' is damaged"),
        ("digits_tiny", "npz:grey", "npz:FILE needs an existing file, got 'grey'"),
        ("digits_tiny", "idx:none", ".*idx:FOLDER"),
        ("digits_tiny", "mnits", "config.data.name must be 'digits'.* got 'mnits' .did you mean 'mnist'"),
        ("digits_tiny", "imagse:grey", "config.data.name must be 'digits'.* got 'imagse:grey'"),
        (
            "digits_tiny",
            "mnist --config.data.data_dir=none",
            "TFDS data set 'mnist' is not prepared in data_dir=.*tfds.load",
        ),
        ("text_char_rnn_tiny", "text:nowhere.txt", "there is no text file nowhere.txt"),
        ("text_char_rnn_tiny", "text:grey", ".*grey.* is a folder"),
        ("text_char_rnn_tiny", "text:empty.txt", ".*empty.txt.* is empty"),
        ("text_char_rnn_tiny", "text:one.txt", ".*at least 2 different characters"),
        ("text_char_rnn_tiny", "text:latin.txt", ".*latin.txt.* is not UTF-8 .*unit='byte'"),
        ("text_char_rnn_tiny", "text:code.py", "text:code.py, split .*: .*too short for 8 contiguous rows"),
        ("audio_wavenet_tiny", "wav:nowhere", "wav:FOLDER needs an existing folder, got 'nowhere'"),
        ("audio_wavenet_tiny", "wav:silence", "wav:FOLDER 'silence' must hold wav files, found none"),
        ("audio_wavenet_tiny", "wav:noise", ".*noise/a.wav.* it is no wav file"),
        ("digits_tiny", "digits --workdir=loop/run", "--workdir=loop/run cannot be written: "),
        ("digits_tiny", "digits --config.model.filters=-1", "config.model.filters must .*, got -1"),
        ("digits_tiny", "digits --config.model.filters=0", "config.model.filters must .*, got 0"),
    ],
)
def test_files(wrong, config, flags, pattern):
    name, *others = flags.split()
    condition = [] if name == "digits" or any("condition" in flag for flag in others) else ["--config.condition=none"]
    flags = [f"--config={config}", "--workdir=run", f"--config.data.name={name}", *condition, *others]
    check(wrong, "pipelines.train", flags, pattern)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read and write everything")
@pytest.mark.parametrize(
    ("mode", "flags", "pattern"),
    [
        (0o000, "--config.data.name=npz:halves.npz", ".*halves.npz"),
        (0o555, "--workdir=grey/run", "--workdir=grey/run cannot be written: "),
    ],
)
def test_forbidden_files(folder, mode, flags, pattern):
    path = folder / ("halves.npz" if "npz" in flags else "grey")
    path.chmod(mode)
    try:
        check(folder, "pipelines.train", [TINY, "--config.condition=none", *flags.split()], pattern)
    finally:
        path.chmod(0o755)


# === A run that is there ===


@pytest.fixture
def arrays_run(runs_bank, tmp_path, monkeypatch):
    """A folder with a trained run on arrays."""
    folder = tmp_path / "here"
    shutil.copytree(runs_bank.arrays(), folder)
    monkeypatch.chdir(folder)
    return folder


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage", [flip, lambda path: path.write_bytes(b""), lambda path: path.write_bytes(b"no file")]
)
def test_damaged_files_are_failures(arrays_run, damage):
    """Exit code 1: flags and data are right."""
    for path in (*arrays_run.glob("run/checkpoints/*.ckpt"), arrays_run / "run/model.keras"):
        damage(path)
    before = listing(arrays_run)
    for module, flags, pattern in (
        ("pipelines.sample", ("--workdir=run", "--out=a.png"), r"error: run/checkpoints/\S+ is "),
        ("pipelines.evaluate", ("--workdir=run", "--json=a.json"), r"error: run/checkpoints/\S+ is "),
        ("export", ("--workdir=run", "--out=out"), "error: run/model.keras is damaged"),
    ):
        code, stdout, stderr = run(module, *flags)
        lines = [line for line in stderr.splitlines() if not line.startswith("export: ")]
        assert (code, stdout, len(lines)) == (1, "", 1) and re.match(pattern, lines[0]), stderr
    assert listing(arrays_run) == before


def test_a_run_without_a_checkpoint_is_named(arrays_run):
    shutil.rmtree("run/checkpoints")
    for module in ("sample", "evaluate"):
        code, stdout, stderr = run(f"pipelines.{module}", "--workdir=run")
        assert (code, stdout) == (2, "") and stderr.startswith("error: no ") and "train first" in stderr
        assert stderr.count("\n") == 1


def test_another_configuration_is_refused(arrays_run):
    before = listing(arrays_run)
    code, stdout, stderr = run(*arrays_command("--config.model.units=5"))
    (line,) = [line for line in stderr.splitlines() if "loading" not in line]
    assert (code, stdout) == (2, "") and "run holds another run: model.units is 4 there and 5 now" in line
    assert listing(arrays_run) == before


def test_a_huge_temperature_draws(arrays_run):
    with eagerly():
        code, _, stderr = run("pipelines.sample", "--workdir=run", "--num=2", "--temperature=1e30", "--out=a.png")
    assert code == 0 and (arrays_run / "a.png").exists(), stderr


def test_a_length_beyond_the_model_is_named(folder, monkeypatch):
    """Of a run whose model has learned positions, here without its training."""
    sizes = {"width": 8, "num_layers": 1, "num_heads": 2, "max_length": 20, "positions": "learned"}
    model = tfar.models.CausalTransformer((None,), tfar.heads.Categorical(5), vocabulary="\n abc", **sizes)
    loaded = runs.Run(model, {}, {}, 1, {}, "averaged")
    monkeypatch.setattr(runs, "load_run", lambda workdir, weights: loaded)
    flags = ["--workdir=letters", "--prompt=abc", "--length=18", "--out=a.txt"]
    check(folder, "pipelines.sample", flags, "--length must be at most 17 for this CausalTransformer, .* got 18")


def test_labels_may_be_left_out(arrays_run):
    """Data with labels, a model without: trained, scored and sampled."""
    flags = ("--workdir=plain", "--config.condition=none", "--config.train.steps=1")
    with eagerly():
        code, _, stderr = run(*arrays_command(*flags))
        assert code == 0, stderr
        code, stdout, stderr = run("pipelines.evaluate", "--workdir=plain", "--split=valid")
        assert code == 0 and "npz:data.npz valid" in stdout, stderr
        code, _, stderr = run("pipelines.sample", "--workdir=plain", "--num=2", "--out=a.png")
        assert code == 0, stderr
    record = json.loads((arrays_run / "plain/config.json").read_text())
    assert record["config"]["condition"] is None and record["resolved"]["condition"] is None
    assert "a column for each label" not in (arrays_run / "plain/report.html").read_text()
    code, _, stderr = run("pipelines.sample", "--workdir=plain", "--label=1")
    assert code == 2 and stderr.startswith("error: --label=1 was given, but the model in plain has no Label condition")


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
