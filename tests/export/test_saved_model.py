"""Versions on disk, and the command."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest
import tensorflow as tf

import tfar
from export import saved_model
from export.__main__ import main
from export.errors import ExportError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def model():
    model = tfar.models.MADE((3,), tfar.heads.Bernoulli(), hidden=(4,))
    tfar.testing.randomize_weights(model)
    return model


@pytest.fixture
def written(monkeypatch):
    """Stands in for the slow part: a version that is written and passes its check."""

    def save(holder, folder, signatures):
        os.makedirs(folder)
        Path(folder, "saved_model.pb").write_bytes(b"")

    class Nothing:
        def __init__(self, folder): ...
        def __enter__(self): ...
        def __exit__(self, *error): ...

    monkeypatch.setattr(tf.saved_model, "save", save)
    monkeypatch.setattr(saved_model, "Servable", Nothing)
    monkeypatch.setattr(saved_model, "check", lambda servable, model: saved_model.Report(8, 0, 0.0))


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_versions_count_on_from_the_highest(model, tmp_path, written):
    out = tmp_path / "a folder" / "export"
    assert saved_model.export(model, out)[0] == out / "1"
    assert saved_model.export(model, out)[0] == out / "2"
    (out / "0007").mkdir()  # the server reads it as 7
    (out / "12.old").mkdir()
    (out / "notes").touch()
    assert saved_model.export(model, out)[0] == out / "8"
    assert names(out) == ["0007", "1", "12.old", "2", "8", "notes"]


def test_version_taken_meanwhile_is_passed_over(model, tmp_path, written, monkeypatch):
    rename = Path.rename

    def late(self, target):
        if target.name == "1":
            target.mkdir()
            (target / "other").touch()
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", late)
    assert saved_model.export(model, tmp_path)[0] == tmp_path / "2"
    assert names(tmp_path) == ["1", "2"]


@pytest.mark.parametrize("step", ["save", "check"])
def test_failure_leaves_nothing_behind(model, tmp_path, written, monkeypatch, step):
    def fail(*arguments, **kwargs):
        raise ExportError("disagrees")

    (tmp_path / "old").mkdir()
    saved_model.export(model, tmp_path / "old")
    if step == "check":
        monkeypatch.setattr(saved_model, "check", fail)
    else:
        monkeypatch.setattr(tf.saved_model, "save", fail)
    for out in (tmp_path / "new" / "export", tmp_path / "old"):
        with pytest.raises(ExportError, match="disagrees"):
            saved_model.export(model, out)
    assert names(tmp_path) == ["old"]
    assert names(tmp_path / "old") == ["1"]


def test_readers_other_than_the_writer_may_enter(model, tmp_path, written):
    version, _ = saved_model.export(model, tmp_path)
    umask = os.umask(0)
    os.umask(umask)
    assert version.stat().st_mode & 0o777 == 0o777 & ~umask


def test_command_exports_the_work_directory(model, tmp_path, capfd):
    model.save(tmp_path / "model.keras")
    assert main(str(tmp_path), None, None, "saved_model") == 0
    out, err = capfd.readouterr()
    assert names(tmp_path / "export") == ["1"]
    assert f"exported {tmp_path / 'export' / '1'}" in out
    lines = out.splitlines()
    sample = lines.index("  sample")
    assert lines[sample + 1 : sample + 5] == [
        "    in  seed         int64 [B, 2], by default [-1, -1]",
        "    in  temperature  float32 [B], by default 1.0",
        "    out samples  int32 [B, 3]",
        "    out seed     int64 [B, 2]",
    ]
    assert "  serving_default: the same as sample" in lines and max(map(len, lines[1:])) < 120
    assert "checked in a v1 session: 8 samples equal Python's (0 ties of rounding)" in out
    assert "WARNING:tensorflow" not in err


@pytest.mark.parametrize(
    "flags, message",
    [
        ({"format": "onnx", "workdir": "{0}"}, "--format must be one of saved_model, got 'onnx'"),
        ({"format": "litert", "workdir": "{0}"}, "--format=litert comes with a later version of tfar"),
        ({"format": "tflite", "workdir": "{0}"}, "--format=tflite comes with a later version of tfar"),
        ({"workdir": "{0}/missing"}, "--workdir={0}/missing does not exist"),
        ({"workdir": "{0}", "model": "m.keras"}, "give either --workdir or --model"),
        ({}, "give either --workdir or --model"),
        ({"model": "m.keras"}, "--model needs --out"),
        ({"workdir": "{0}"}, "{0} holds no model.keras; train one: python -m pipelines.train --workdir={0}"),
        ({"model": "{0}/m.keras", "out": "{0}/out"}, "--model={0}/m.keras does not exist"),
        ({"model": "{0}/broken.keras", "out": "{0}/out"}, "{0}/broken.keras cannot be loaded as a model: "),
        ({"model": "{0}/other.keras", "out": "{0}/out"}, "{0}/other.keras must hold a model of tfar, got Sequential"),
        ({"model": "{0}/made.keras", "out": "{0}/file"}, "{0}/file cannot be created: File exists"),
    ],
)
def test_mistakes_cost_one_line_and_write_nothing(model, tmp_path, capsys, flags, message):
    (tmp_path / "file").touch()
    (tmp_path / "broken.keras").write_bytes(b"PK\x03\x04 cut off")
    keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "other.keras")
    model.save(tmp_path / "made.keras")
    before = names(tmp_path)
    given = {"workdir": None, "model": None, "out": None, "format": "saved_model"}
    assert main(**given | {name: value.format(tmp_path) for name, value in flags.items()}) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"error: {message.format(tmp_path)}")
    assert err.count("\n") == 1
    assert names(tmp_path) == before


def test_python_dash_m(tmp_path):
    command = [sys.executable, "-m", "export", "--format=onnx", f"--workdir={tmp_path}"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert result.stderr == "error: --format must be one of saved_model, got 'onnx'\n"
