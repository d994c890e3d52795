"""Every block of docs/guides runs as it stands, in the order of the page; the commands get tiny sizes besides.

Blocks of Python whose first line names a file, `# my_model.py`, are saved as it says. Most is computed op by op: one
step of training is not worth tracing. Reports draw nothing: tests/pipelines looks at them.
"""

import contextlib
import http.client
import importlib.util
import json
import re
import shlex
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines import report
from tests.commands import run
from tfar.testing import eagerly

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "guides"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SAVED = re.compile(r"# (\w+\.py)\n")

# What Keras says of models and data that run op by op.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Even though the .tf.config.experimental_run_functions_eagerly:UserWarning"
)

STEPS = ("--config.train.steps=1", "--config.train.batch_size=4")
DRAWN = ("--config.report.num_samples=2", "--config.report.num_images=2", "--config.report.sample_batch_size=2")
GATED = ("--config.model.filters=2", "--config.model.num_blocks=0", "--config.model.first_kernel_size=3")
WAVENET = tuple(
    f"--config.model.{name}={value}"
    for name, value in {
        **dict.fromkeys(("residual_channels", "dilation_channels", "skip_channels", "embedding_dim"), 2),
        **dict.fromkeys(("num_stacks", "layers_per_stack"), 1),
    }.items()
)
# By the name of the configuration.
SIZES = {
    "digits": GATED,
    "cifar10_small:gated_pixel_cnn": ("--config.data.size=4", *GATED[:2]),
    "text_char_rnn": ("--config.model.units=4", "--config.model.num_layers=1", "--config.data.window=8"),
    "audio_wavenet": (*WAVENET, "--config.data.window=32"),
    "audio_wavenet_speaker": (*WAVENET, "--config.data.window=32"),
    "my_config.py": ("--config.model.units=4",),
    "vectors.py": ("--config.model.hidden=(4,)",),
}


def instead(flags, *others):
    """Flags, of which others replace those of the same name."""
    names = {other.partition("=")[0] for other in others}
    return [*(flag for flag in flags if flag.partition("=")[0] not in names), *others]


@pytest.fixture(scope="module")
def empty_reports():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "at_evaluation", lambda *arguments: None)
        for name in ("_of_images", "_of_sequences", "_curves"):
            patch.setattr(report, name, lambda *arguments: "")
        yield


@pytest.fixture(scope="module")
def folder(empty_reports, tmp_path_factory):
    """Where a user works: pictures, a book and recordings lie there."""
    folder = tmp_path_factory.mktemp("a user")
    rng = np.random.default_rng(0)
    for name in ("pictures", "recordings"):
        (folder / name).mkdir()
    for index in range(10):
        Image.fromarray(rng.integers(0, 256, (9, 8, 3), np.uint8)).save(folder / "pictures" / f"{index}.png")
        file = folder / "recordings" / f"hello_{('ann', 'bob')[index % 2]}_{index}.wav"
        with wave.open(str(file), "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(8000)
            sound.writeframes(rng.integers(-2000, 2000, 40, np.int16).tobytes())
    (folder / "book.txt").write_text("The quick brown fox jumps over the lazy dog. " * 20)
    return folder


class Reader:
    """Does what a page says, as a reader in a shell and in Python would."""

    def __init__(self, folder):
        self.folder, self.names, self.commands = folder, {"__name__": "example"}, []

    def read(self, page):
        blocks = BLOCK.findall((FOLDER / page).read_text(encoding="utf-8"))
        with contextlib.chdir(self.folder):
            for kind, text in blocks:
                if kind == "python":
                    self.python(text, page)
                elif kind == "bash":
                    for line in text.replace("\\\n", " ").splitlines():
                        self.command(shlex.split(line))
                else:
                    assert kind == "text"  # a listing, nothing to run
        return self

    def python(self, text, page):
        saved = SAVED.match(text)
        if saved:
            Path(saved[1]).write_text(text)
        else:
            exec(compile(text, page, "exec"), self.names)

    def command(self, words):
        if words[0] == "tensorboard":
            return self.tensorboard(words)
        assert words[:2] == ["python", "-m"]
        _, _, module, *flags = words
        given = dict(flag.removeprefix("--").split("=", 1) for flag in flags)
        if module == "pipelines.train":
            flags = instead(flags, *STEPS, *DRAWN, *SIZES[given["config"]])
        elif module == "pipelines.sample":
            flags = instead(flags, "--num=2", *(["--length=8"] if "length" in given else []))
        images = module == "pipelines.sample" and "length" not in given  # their positions are worth a graph
        with contextlib.nullcontext() if images else eagerly():
            code, out, err = run(module, *flags)
        assert code == 0, err
        if "out" in given:
            assert Path(given["out"]).stat().st_size > 40
        self.commands.append((module, given, out))

    def tensorboard(self, words):
        """In this process, with a port of its own."""
        from tensorboard import program

        board = program.TensorBoard()
        board.configure(argv=[*words, "--port=0", "--load_fast=false"])
        url = board.launch()
        port = int(re.search(r":(\d+)", url)[1])
        connection = http.client.HTTPConnection("localhost", port, timeout=30)
        connection.request("GET", "/data/logdir")
        assert json.loads(connection.getresponse().read()) == {"logdir": "runs"}
        connection.close()
        self.commands.append(("tensorboard", {}, ""))


@pytest.fixture
def reader(folder, monkeypatch):
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)
    yield Reader(folder)
    for name in set(sys.modules) - before:
        if getattr(importlib.util.find_spec(name.partition(".")[0]), "origin", None) == str(folder / f"{name}.py"):
            del sys.modules[name]


@pytest.fixture(scope="module")
def first(folder):
    """What the first page leaves: other pages go on from it."""
    return Reader(folder).read("first_model.md")


def test_every_guide_has_a_test_and_is_named():
    pages = sorted(path.name for path in FOLDER.iterdir())
    source, readme = Path(__file__).read_text(encoding="utf-8"), (FOLDER.parents[1] / "README.md").read_text()
    assert pages == ["first_model.md", "gpu.md", "own_data.md", "own_layer.md", "own_model.md", "tensorboard.md"]
    for page in pages:
        assert f'read("{page}")' in source and f"docs/guides/{page}" in readme


def test_first_model(first):
    assert [module for module, _, _ in first.commands] == ["pipelines.train", "pipelines.sample", "pipelines.evaluate"]
    assert "bits/dim" in first.commands[-1][2]
    x, completed = first.names["x"].numpy(), first.names["completed"].numpy()
    assert x.shape == completed.shape == (4, 8, 8, 1) and first.names["costs"].shape == x.shape
    np.testing.assert_array_equal(completed[:, :4], x[:, :4])


def test_own_data(reader):
    reader.read("own_data.md")
    trained = [given["config.data.name"] for _, given, _ in reader.commands if "config.data.name" in given]
    assert trained == ["images:pictures", "text:book.txt", "wav:recordings", "wav:recordings", "npz:data.npz"]
    for name in ("pictures", "book", "recordings", "speakers", "arrays", "vectors"):
        assert (reader.folder / "runs" / name / "report.html").exists()


def test_own_model(reader):
    reader.read("own_model.md")
    assert (reader.folder / "runs" / "my_model" / "model.keras").exists()


def test_own_layer(reader, capsys):
    """In graphs and under XLA, too."""
    (example,) = (text for kind, text in BLOCK.findall((FOLDER / "own_layer.md").read_text()) if kind == "python")
    assert len(re.findall(r"^tfar\.testing\.assert_", example, re.MULTILINE)) == 4
    reader.read("own_layer.md")
    assert (reader.folder / "decay.keras").exists() and capsys.readouterr().out.startswith("tf.Tensor(")


def test_tensorboard(first, reader, capsys):
    reader.read("tensorboard.md")
    assert reader.commands and re.fullmatch(r"best validation: \d\.\d{3} bits/dim\n", capsys.readouterr().out)
    assert list((reader.folder / "runs" / "fit").rglob("events.out.*"))


def test_gpu(reader, capsys):
    reader.read("gpu.md")
    assert capsys.readouterr().out.startswith("[") and " on " in reader.commands[0][2]
