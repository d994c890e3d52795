"""LiteRT models beside Python: the same noise gives the same samples."""

import os

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfar
from export.litert import converter, metadata
from export.litert.model import LiteRTModel
from export.litert.signatures import LiteRTSignatures
from export.writer.errors import ExportError
from export.writer.ties import count_ties
from tests.bank import model as build
from tfar.core import compiled
from tfar.core.slicing import put
from tfar.testing.registry import MODELS

# An image; `test_text_of_any_length` has a sequence. Others take more than a few seconds to trace and convert.
CASES = ["image", *(pytest.param(case.name, marks=pytest.mark.large) for case in MODELS if case.runtimes)]


def wide():
    """A model with kernels that are worth quantizing."""
    condition = tfar.conditions.Label(3)
    model = tfar.models.MADE((4, 4, 1), tfar.heads.Categorical(5), hidden=(128,), condition=condition)
    tfar.testing.randomize_weights(model)
    return model


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """A model and its file, three rows at a time."""
    model = wide()
    path, report = converter.export(model, tmp_path_factory.mktemp("litert") / "model.tflite", batch_size=3)
    return model, path, report


def assert_is_python_s(path, report):
    # The check of the export compares `sample`, `step` and `log_prob` with Python; any other difference is an error.
    assert report.num_samples == 6 and report.num_ties <= 2  # of one draw, which `sample` and `step` have in common
    assert report.num_equal == report.num_samples - report.num_ties
    assert report.log_prob_difference < 2e-5
    assert metadata.operators(path.read_bytes()) == (list(report.operators), [])
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("name", CASES)
def test_same_noise_gives_the_samples_of_python(name, tmp_path):
    length = {"length": 6} if None in build(name).event_shape else {}
    path, report = converter.export(build(name), tmp_path / "model.tflite", batch_size=3, **length)
    assert_is_python_s(path, report)


def test_loops_and_writes_are_operators_of_their_own(labelled):
    _, _, report = labelled
    assert "WHILE" in report.operators and "DYNAMIC_UPDATE_SLICE" in report.operators
    assert "SCATTER_ND" not in report.operators


def test_metadata_suffices_to_draw(labelled):
    model, path, _ = labelled
    content = path.read_bytes()
    facts, runtime = metadata.read(content), LiteRTModel(content)
    assert (
        facts["levels"] == 5 and facts["event_shape"] == [4, 4, 1] and facts["values"]["brightness_per_level"] == 63.75
    )
    assert facts["condition"] == [
        {
            "input": "condition",
            "kind": "Label",
            "shape": [3],
            "dtype": "int32",
            "meaning": "class label",
            "num_labels": 3,
        }
    ]
    noise = np.random.default_rng(0).uniform(0.001, 0.999, facts["noise"]["shape"]).astype(np.float32)
    temperature = np.array([1.0, 0.5, 2.0], np.float32)
    labels = np.array([2, 0, 1], np.int32)
    expected = model.sample(3, labels, temperature=temperature, noise=noise, jit_compile=False).numpy()
    served = runtime.run("sample", noise=noise, temperature=temperature, condition=labels)["samples"]
    assert served.dtype == expected.dtype == facts["dtype"]
    np.testing.assert_array_equal(served, expected)

    # The state that start returns is what the metadata says: zeros, and what depends on the condition.
    step, begun = facts["step"], runtime.run("start", condition=labels)
    assert set(begun) == set(step["state"]) | set(step["told"])
    carry = {name: np.zeros(item["shape"], item["dtype"]) for name, item in step["state"].items()}
    assert all(np.array_equal(value, begun[name]) for name, value in carry.items())
    carry |= {name: begun[name] for name in step["told"]}
    rows = []
    for part in np.split(noise, step["num_units"], 1):
        assert list(part.shape) == step["noise_shape"]
        outputs = runtime.run("step", noise=part, temperature=temperature, **carry)
        rows.append(outputs.pop("chunk"))
        assert set(outputs) == set(step["state"])
        carry.update(outputs)
    np.testing.assert_array_equal(np.stack(rows, 1), expected)


def test_scores_are_those_of_python(labelled):
    model, path, _ = labelled
    x, labels = np.random.default_rng(1).integers(0, 5, [3, 4, 4, 1], np.int32), np.array([0, 1, 2], np.int32)
    scored = LiteRTModel(path.read_bytes()).run("log_prob", x=x, condition=labels)
    np.testing.assert_allclose(scored["log_prob"], model.log_prob(x, labels), rtol=1e-5)
    np.testing.assert_allclose(scored["score"], model.score(x, labels), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("quantization", "difference"), [("float16", 1e-2), ("int8", 0.1)])
def test_quantized_files_are_smaller_and_close(labelled, tmp_path, quantization, difference):
    model, whole, exact = labelled
    path, report = converter.export(model, tmp_path / "small.tflite", quantization, batch_size=3)
    assert path.stat().st_size < 0.8 * whole.stat().st_size
    assert report.num_ties is None and exact.log_prob_difference < report.log_prob_difference < difference
    assert metadata.read(path.read_bytes())["quantization"] == quantization
    assert f"{report.num_equal} of 6 samples equal Python's" in converter.describe(path, report)


def test_text_of_any_length(tmp_path):
    head, characters = tfar.heads.Categorical(4), "ehlo"
    model = tfar.models.CharRNN((None,), head, units=3, vocabulary=characters)
    with pytest.raises(ExportError, match="length must be given: this CharRNN models events of any length"):
        converter.export(model, tmp_path / "text.tflite")
    path, report = converter.export(model, tmp_path / "text.tflite", length=5)
    facts = metadata.read(path.read_bytes())
    assert facts["event_shape"] == [5] and facts["step"]["unit"] == "value"
    assert facts["values"] == {"kind": "text", "characters": characters, "encoding": None}
    assert_is_python_s(path, report)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"out_path": "m.bin"}, "the file of a LiteRT model ends in .tflite, got m.bin"),
        ({"quantization": "int4"}, "quantization must be one of float32, float16, int8, got 'int4'"),
        ({"batch_size": 0}, "batch_size must be a positive integer, got 0"),
        ({"length": 7}, r"length is for models of any length; events are \(6,\), got 7"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ExportError, match=message):
        converter.export(build("MADE_binary"), **{"out_path": "m.tflite", **arguments})


def test_a_model_without_built_in_operators_is_refused(tmp_path, capfd):
    # The quantile of a Cauchy distribution is a tangent.
    model = tfar.models.MADE((2,), tfar.heads.Mixture("Cauchy", 2), hidden=(3,))
    with pytest.raises(
        ExportError, match="MADE cannot be written with LiteRT's built-in operators: TF Select ops: Tan$"
    ):
        converter.export(model, tmp_path / "m.tflite")
    assert not list(tmp_path.iterdir()) and "Tan" not in capfd.readouterr().err


def test_lower_precision_is_refused(tmp_path):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = tfar.models.MADE((2,), tfar.heads.Bernoulli(), hidden=(3,))
    finally:
        keras.config.set_dtype_policy(policy)
    with pytest.raises(ExportError, match="computes in float32, this one in bfloat16"):
        converter.export(model, tmp_path / "m.tflite")


def test_other_operators_are_refused():
    function = tf.function(lambda x: tf.tan(x), input_signature=[tf.TensorSpec([2])])
    tf_converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
    tf_converter.allow_custom_ops = True
    with pytest.raises(ExportError, match="operators that are not built in: Tan"):
        converter.check(tf_converter.convert(), LiteRTSignatures(build("MADE_binary")))


def test_failed_check_leaves_the_old_file(labelled, tmp_path, monkeypatch):
    def fail(*arguments):
        raise ExportError("disagrees")

    monkeypatch.setattr(converter, "check", fail)
    monkeypatch.setattr(converter, "convert", lambda *arguments: labelled[1].read_bytes())
    (tmp_path / "m.tflite").write_bytes(b"old")
    with pytest.raises(ExportError, match="disagrees"):
        converter.export(labelled[0], tmp_path / "m.tflite")
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.tflite"]
    assert (tmp_path / "m.tflite").read_bytes() == b"old"


def test_unwritable_path_is_named(labelled, tmp_path, monkeypatch):
    monkeypatch.setattr(converter, "check", lambda *arguments: labelled[2])
    monkeypatch.setattr(converter, "convert", lambda *arguments: labelled[1].read_bytes())
    (tmp_path / "file").touch()
    with pytest.raises(ExportError, match=f"{tmp_path / 'file' / 'm.tflite'} cannot be written"):
        converter.export(labelled[0], tmp_path / "file" / "m.tflite")
    path, _ = converter.export(labelled[0], tmp_path / "new" / "m.tflite")
    assert os.listdir(tmp_path / "new") == ["m.tflite"] and path.stat().st_size > 1000


def test_wrong_samples_are_no_ties():
    model = build("MADE_binary")
    noise = np.random.default_rng(0).uniform(0.1, 0.9, [2, 6, 1]).astype(np.float32)
    ones = np.ones([2], np.float32)
    expected = model.sample(2, noise=noise, jit_compile=False).numpy()
    assert count_ties(model, expected, expected, noise, ones) == 0
    wrong = expected.copy()
    wrong[1, 3] = 1 - wrong[1, 3]
    with pytest.raises(ExportError, match=r"in example 1: first at \(3,\), .* which is no tie of rounding"):
        count_ties(model, expected, wrong, noise, ones)
    # A draw whose noise is the boundary itself.
    probability = tf.sigmoid(model(expected)[1, 3, 0])
    noise[1, 3] = 1 - probability
    assert count_ties(model, expected, wrong, noise, ones) == 1


def test_slices_are_updated_by_one_operation_while_tracing_for_litert():
    function = lambda x: put(x, tf.constant(1), tf.ones([2]))  # noqa: E731
    with compiled.tracing_for_litert():
        assert compiled.updates_slices() and not compiled.for_xla()
        graph = tf.function(function).get_concrete_function(tf.zeros([3, 2])).graph
    assert "XlaDynamicUpdateSlice" in {operation.type for operation in graph.get_operations()}
    assert not compiled.updates_slices()
