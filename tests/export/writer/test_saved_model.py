"""Versions on disk, and the command."""

import contextlib
import io
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import prediction_log_pb2

import tfar
from export import __main__ as command
from export.__main__ import main
from export.writer import batching_params, saved_model
from export.writer.errors import ExportError
from export.writer.options import Options
from export.writer.servable import Servable
from tests.commands import run

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def model():
    model = tfar.models.MADE((2, 2, 1), tfar.heads.Bernoulli(), hidden=(4,))
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
    monkeypatch.setattr(saved_model, "check", lambda *arguments: saved_model.Report(8, 0, 0.0))
    for part in (saved_model.warm_up, saved_model.reference):
        monkeypatch.setattr(part, "write", lambda *arguments: None)


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


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    """A work directory after the command, what it printed, and TensorFlow's warnings."""
    workdir, out, warned = tmp_path_factory.mktemp("coins"), io.StringIO(), []
    model.save(workdir / "model.keras")
    facts = {"data": "coins", "bits_per_dim": 0.5, "labels": ["a", "b"]}
    handler = logging.Handler(logging.WARNING)
    handler.emit = warned.append
    tf.get_logger().addHandler(handler)
    with contextlib.redirect_stdout(out), mock.patch.object(command, "_facts", return_value=facts):
        main(str(workdir), None, None, "saved_model", "coins", sessions=False, xla=True, max_examples=3)
    tf.get_logger().removeHandler(handler)
    return workdir, out.getvalue(), warned


def test_command_exports_the_work_directory(exported):
    workdir, out, warned = exported
    assert names(workdir / "export") == ["1"]
    assert f"exported {workdir / 'export' / '1'}" in out
    lines = out.splitlines()
    sample = lines.index("  sample")
    assert lines[sample + 1 : sample + 6] == [
        "    in  prefix       int32 [B, any], by default empty",
        "    in  seed         int64 [B, 2], by default [-1, -1]",
        "    in  temperature  float32 [B], by default 1.0",
        "    out samples  int32 [B, 2, 2, 1]",
        "    out seed     int64 [B, 2]",
    ]
    assert "  serving_default: the same as sample" in lines and max(map(len, lines[1:])) < 120
    assert "checked in a v1 session: 8 samples equal Python's (0 ties of rounding)" in out
    assert not warned


@pytest.mark.parametrize("flags, options", [((), Options()), (("--no-sessions",), Options(sessions=False))])
def test_command_exports_sessions_unless_told_otherwise(model, tmp_path, monkeypatch, flags, options):
    def export(model, out, chosen, *others):
        raise ExportError(repr(chosen))

    model.save(tmp_path / "model.keras")
    monkeypatch.setattr(saved_model, "export", export)
    code, out, err = run("export", f"--workdir={tmp_path}", *flags)
    assert (code, out, err.splitlines()[1:]) == (1, "", [f"error: {options}"])


@pytest.mark.parametrize(
    "flags, message",
    [
        ({"format": "onnx", "workdir": "{0}"}, "--format must be one of saved_model, litert, tflite, got 'onnx'"),
        ({"format": "litert", "workdir": "{0}", "out": "{0}/a"}, "--out must end in .tflite for --format=litert, got"),
        (
            {"format": "tflite", "workdir": "{0}", "quantization": "int4"},
            "--quantization must be one of float32, float16, int8, got 'int4'",
        ),
        (
            {"model": "{0}/made.keras", "out": "{0}/out", "session_slots": 0},
            "--session_slots must be from 1 to 4096, got 0",
        ),
        (
            {"model": "{0}/made.keras", "out": "{0}/out", "session_ttl": -1.0},
            "--session_ttl must be a positive number of seconds, got -1.0",
        ),
        ({"workdir": "{0}/missing"}, "--workdir={0}/missing does not exist"),
        ({"workdir": "{0}", "model": "m.keras"}, "give either --workdir or --model"),
        ({}, "give either --workdir or --model"),
        ({"model": "m.keras"}, "--model needs --out"),
        ({"workdir": "{0}"}, "--workdir={0} holds no model.keras; train one: python -m pipelines.train --workdir={0}"),
        ({"model": "{0}/m.keras", "out": "{0}/out"}, "--model={0}/m.keras does not exist"),
        ({"model": "{0}/broken.keras", "out": "{0}/out"}, "{0}/broken.keras is damaged, or no .keras file"),
        ({"model": "{0}/other.keras", "out": "{0}/out"}, "{0}/other.keras must hold a model of tfar, got Sequential"),
        (
            {"model": "{0}/made.keras", "out": "{0}/out", "max_examples": 0},
            "--max_examples must be at least 1 and below 2^31, got 0",
        ),
        (
            {"model": "{0}/made.keras", "out": "{0}/out", "max_positions": 3},
            "max_positions must be at least 4, the positions of one event, got 3",
        ),
        ({"model": "{0}/made.keras", "out": "{0}/file"}, "{0}/file cannot be created: File exists"),
    ],
)
def test_mistakes_cost_one_line_and_write_nothing(model, tmp_path, flags, message):
    (tmp_path / "file").touch()
    (tmp_path / "broken.keras").write_bytes(b"PK\x03\x04 cut off")
    keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "other.keras")
    model.save(tmp_path / "made.keras")
    before = names(tmp_path)
    failed = any(word in message for word in (".keras is damaged", "Sequential", "cannot be created", "one event"))
    code, _, err = run("export", *(f"--{name}={value}".format(tmp_path) for name, value in flags.items()))
    assert code == (1 if failed else 2)
    lines = [line for line in err.splitlines() if not line.startswith("export: ")]
    assert len(lines) == 1 and lines[0].startswith(f"error: {message.format(tmp_path)}")
    assert names(tmp_path) == before


def test_files_beside_a_version(exported):
    version = exported[0] / "export" / "1"
    assert names(version) == [
        "MODEL_CARD.md", "SIGNATURES.md", "assets", "assets.extra", "batching_params.pbtxt", "fingerprint.pb",
        "saved_model.pb", "variables",
    ]  # fmt: skip
    card, calls = (version / "MODEL_CARD.md").read_text(), (version / "SIGNATURES.md").read_text()
    assert "- data: coins" in card and "Sessions:" not in card
    assert "## sample_xla" in calls and "--xla_cpu_compilation_enabled" in calls and "session_" not in calls
    assert calls.count("Batching: possible.") == 6  # sample and complete, both with XLA too, log_prob, describe
    assert "A request has at most 3 examples;" in calls and "must have at most 3 examples; examples:" in calls
    assert "max_batch_size { value: 3 }" in (version / "batching_params.pbtxt").read_text()
    told = json.loads((version / "assets.extra" / "tfar.json").read_text())
    assert told["event_shape"] == [2, 2, 1] and told["labels"] == ["a", "b"] and told["unit"] == "row"
    assert (told["max_examples"], told["max_positions"]) == (3, 12)
    with Servable(version) as servable:
        for record in tf.data.TFRecordDataset(str(version / "assets.extra" / "tf_serving_warmup_requests")):
            request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
            inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
            servable.run(request.model_spec.signature_name, **inputs)
        plain, compiled = (
            servable.run(name, seed=np.int64([[1, 2], [3, 4]]))["samples"] for name in ("sample", "sample_xla")
        )
    np.testing.assert_array_equal(plain, compiled)


def test_why_a_signature_cannot_be_batched():
    def definition(inputs, outputs):
        made = meta_graph_pb2.SignatureDef()
        for tensors, shapes in ((made.inputs, inputs), (made.outputs, outputs)):
            for index, shape in enumerate(shapes):
                tensors[f"t{index}"].tensor_shape.CopyFrom(tf.TensorShape(shape).as_proto())
        return made

    assert batching_params.why_not(definition([[None, 2]], [[None]])) is None
    assert batching_params.why_not(definition([], [[None]])) == "it has no inputs"
    assert batching_params.why_not(definition([[]], [[None]])) == "input t0 is a scalar"
    assert batching_params.why_not(definition([[None]], [[]])) == "output t0 is a scalar"
    assert batching_params.why_not(definition([[3]], [[None]])) == "the first dimension of input t0 is not the examples"
    assert "padded" in batching_params.why_not(definition([[None]], [[None]]), stateful=True)


def test_python_dash_m(tmp_path):
    program = [sys.executable, "-m", "export", "--format=onnx", f"--workdir={tmp_path}"]
    result = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 2
    assert result.stderr == "error: --format must be one of saved_model, litert, tflite, got 'onnx'\n"
