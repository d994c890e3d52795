"""Exported signatures in a v1 session, as TensorFlow Serving runs them, beside Python."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from export.server import compat
from export.writer import saved_model, ties
from export.writer.errors import ExportError
from export.writer.signatures import Signatures
from tests.bank import OPTIONS
from tests.export.tiny import NUM, SEED, TEMPERATURE, Export, seeds
from tfar.core import noise as noises

CASES = [
    "image",
    "text",
    *(pytest.param(name, marks=pytest.mark.large) for name in ("GatedPixelCNN_rgb", "GatedPixelCNN_logistic")),
    pytest.param("CausalConvNet_gated", marks=pytest.mark.large),
]


@pytest.fixture(scope="module", params=CASES)
def exported(request, bank):
    if request.param in OPTIONS:
        return request.getfixturevalue(request.param)
    return Export(bank, request.param)


@pytest.mark.parametrize("num", [1, NUM])
def test_same_seeds_give_the_samples_of_python(exported, num):
    draw = {"seed": seeds(num), "temperature": TEMPERATURE[:num], **exported.given(num)}
    served = exported.servable.run("sample", **draw)
    np.testing.assert_allclose(served["samples"], exported.samples[:num], rtol=1e-4)
    assert served["samples"].shape == (num, *exported.model.event_shape)
    assert served["samples"].dtype == exported.model.head.dtype
    np.testing.assert_array_equal(served["seed"], seeds(num))


def test_check_of_the_export_finds_no_ties(exported):
    options = OPTIONS.get(exported.version.parent.name)
    signatures = Signatures(exported.model, options)
    report = saved_model.check(exported.servable, exported.model, signatures)
    # Whole, completed, by states and in sessions, of which there may be fewer.
    expected = 4 * (3 if len(exported.model.event_shape) == 1 else 2) + min(4, signatures.options.slots)
    assert report.num_samples == expected and report.num_ties == 0
    assert report.log_prob_difference < 1e-5


def test_log_prob_is_that_of_python(exported):
    model, x, condition = exported.model, exported.samples, exported.condition
    served = exported.servable.run("log_prob", x=x, **exported.given(NUM))
    np.testing.assert_allclose(served["log_prob"], model.log_prob(x, condition), rtol=1e-5)
    np.testing.assert_allclose(served["bits_per_dim"], model.bits_per_dim(x, condition), rtol=1e-5)
    np.testing.assert_allclose(served["score"], model.score(x, condition), rtol=1e-4, atol=1e-6)


def test_draws_without_a_seed_differ_and_can_be_repeated(exported):
    given = exported.given(1)
    first, second = (exported.servable.run("sample", **given) for _ in range(2))
    assert first["seed"].shape == (1, 2) and (first["seed"] >= 0).all() and (first["seed"] < 2**31).all()
    assert (first["seed"] != second["seed"]).any()
    again = exported.servable.run("sample", seed=first["seed"], **given)
    np.testing.assert_array_equal(again["samples"], first["samples"])


def test_rows_without_a_seed_get_one_each(exported):
    seed = np.array([[SEED, 0], *[[-1, -1]] * (NUM - 1)], np.int64)
    served = exported.servable.run("sample", seed=seed, **exported.given(NUM))["seed"]
    assert served[0].tolist() == [SEED, 0]
    assert (served[1:] >= 0).all() and (served[1] != served[2]).any()


def test_completion_keeps_what_is_observed(exported):
    x, size = exported.samples, exported.model.event.num_dimensions
    changed = np.where(x == 0, 1, 0).astype(x.dtype)
    draw = {"seed": seeds(NUM), "temperature": TEMPERATURE, **exported.given(NUM)}
    length = np.array([0, size // 2, size - 1, size], np.int32)
    served = exported.servable.run("complete", x=changed, observed_length=length, **draw)["samples"]
    known = (np.arange(size) < length[:, None]).reshape(x.shape)
    np.testing.assert_array_equal(served[known], changed[known])
    np.testing.assert_array_equal(served[0], x[0])


def test_completion_is_that_of_python(image):
    model, length = image.model, np.array([0, 5, 7, 12], np.int32)
    draw = {"seed": seeds(NUM), "temperature": TEMPERATURE, **image.given(NUM)}
    x = np.zeros_like(image.samples)
    served = image.servable.run("complete", x=x, observed_length=length, **draw)["samples"]
    observed = (np.arange(12) < length[:, None]).reshape(x.shape)
    expected = model.complete(x, observed, image.condition, SEED, TEMPERATURE, jit_compile=False)
    np.testing.assert_array_equal(served, expected)


def test_signatures_say_what_may_be_left_out(exported):
    definitions = exported.servable.signatures
    sessions = {"session_begin", "session_step", "session_end", "session_stats"}
    steps = {"start", "step"} if len(exported.model.event_shape) == 1 else set()
    assert set(definitions) == {"sample", "serving_default", "complete", "log_prob", "describe"} | sessions | steps
    for name in {"sample", "serving_default", "complete", "session_begin"} | (steps - {"step"}):
        defaults = {key: tf.make_ndarray(value).tolist() for key, value in definitions[name].defaults.items()}
        prefix = {} if name == "complete" else {"prefix": [[]]}
        assert defaults == {"seed": [[-1, -1]], "temperature": [1.0], **prefix}
    has_condition = exported.model.condition is not None
    assert ("condition" in definitions["sample"].inputs) == has_condition
    assert set(definitions["log_prob"].outputs) == {"log_prob", "bits_per_dim", "score"}


def test_types_are_those_that_clients_write_compactly(exported):
    types = {
        tf.as_dtype(info.dtype)
        for definition in exported.servable.signatures.values()
        for info in [*definition.inputs.values(), *definition.outputs.values()]
    }
    assert types <= {tf.float32, tf.int32, tf.int64, tf.string}


def test_graph_needs_neither_xla_nor_python(image):
    saved = saved_model_pb2.SavedModel.FromString((image.version / "saved_model.pb").read_bytes())
    library = saved.meta_graphs[0].graph_def.library.function
    assert library
    assert not any(function.attr["_XlaMustCompile"].b for function in library)
    assert not [node.op for function in library for node in function.node_def if "PyFunc" in node.op]


def test_ensemble_samples_and_scores_without_factors(ensemble):
    assert "complete" not in ensemble.servable.signatures
    assert set(ensemble.servable.signatures["log_prob"].outputs) == {"log_prob", "bits_per_dim"}
    served = ensemble.servable.run("sample", seed=seeds(NUM), temperature=TEMPERATURE)["samples"]
    np.testing.assert_array_equal(served, ensemble.samples)
    nats = ensemble.servable.run("log_prob", x=served)["log_prob"]
    np.testing.assert_allclose(nats, ensemble.model.log_prob(served), rtol=1e-5)


def test_one_row_stands_for_all(image):
    draw = {"seed": seeds(NUM), "temperature": np.float32([0.7])}
    served = image.servable.run("sample", condition=np.int32([1]), **draw)["samples"]
    given = np.full([NUM], 1, np.int32), SEED, np.full([NUM], 0.7, np.float32)
    expected = image.model.sample(NUM, *given, jit_compile=False)
    np.testing.assert_array_equal(served, expected)


X = np.zeros([2, 4, 3, 1], np.int32)
LABEL = np.zeros([2], np.int32)


@pytest.mark.parametrize(
    "signature, inputs, message",
    [
        ("sample", {"temperature": np.float32([1, 0])}, "temperature must be positive and finite; values:] [0]"),
        ("sample", {"temperature": np.float32([np.nan])}, "temperature must be positive and finite; values:] [nan"),
        (
            "sample",
            {"temperature": np.float32([1, 1, 1])},
            "condition must have an entry for every example, or one for all; entries, examples:] [2] [3]",
        ),
        ("sample", {"condition": np.int32([0, 3])}, "condition must hold labels from 0 to 2; values:] [3]"),
        (
            "sample",
            {"seed": np.int64([[4, 0]])},
            "seed must have an entry for every example, or be [[-1, -1]]; entries, examples:] [1] [2]",
        ),
        ("log_prob", {"x": X - 1}, "x must hold whole numbers from 0 to 2; values:] [-1 -1 -1"),
        (
            "complete",
            {"x": X, "observed_length": np.int32([0, 13])},
            "observed_length must lie between 0 and 12; values:] [13]",
        ),
        (
            "complete",
            {"x": X + 3, "observed_length": np.int32([0, 1])},
            "x must hold whole numbers from 0 to 2; values:] [3]",
        ),
    ],
)
def test_wrong_values_fail_with_a_stable_text(image, signature, inputs, message):
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        image.servable.run(signature, **{"condition": LABEL, **inputs})
    assert f"assertion failed: [{message}" in str(error.value)


def test_values_that_are_not_observed_may_be_anything(image):
    given = {"condition": LABEL, "seed": seeds(2), "observed_length": np.int32([0, 1])}
    a, b = X.copy(), X.copy()
    a[:, 1], b[:, 1] = 99, -7
    first, second = (image.servable.run("complete", x=x, **given)["samples"] for x in (a, b))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    "signature, name, value, message",
    [
        (
            "sample",
            "seed",
            np.zeros([2, 3], np.int64),
            "seed must have shape [examples, 2], at least one example; shape:] [2 3]",
        ),
        (
            "sample",
            "seed",
            np.zeros([2], np.int64),
            "seed must have shape [examples, 2], at least one example; shape:] [2]",
        ),
        (
            "sample",
            "seed",
            np.zeros([0, 2], np.int64),
            "seed must have shape [examples, 2], at least one example; shape:] [0 2]",
        ),
        (
            "sample",
            "temperature",
            np.float32(1),
            "temperature must have shape [examples], at least one example; shape:] []",
        ),
        (
            "sample",
            "condition",
            np.zeros([2, 1], np.int32),
            "condition must have shape [examples], at least one example; shape:] [2 1]",
        ),
        (
            "log_prob",
            "x",
            np.zeros([2, 12], np.int32),
            "x must have shape [examples, 4, 3, 1], at least one example; shape:] [2 12]",
        ),
        (
            "log_prob",
            "x",
            np.zeros([2, 4, 3, 2], np.int32),
            "x must have shape [examples, 4, 3, 1], at least one example; shape:] [2 4 3 2]",
        ),
    ],
)
def test_wrong_shapes_fail_although_the_server_compares_none(image, signature, name, value, message):
    session, definition = image.servable.session, image.servable.signatures[signature]
    inputs = {key: tf.make_ndarray(default) for key, default in definition.defaults.items()}
    inputs |= {"condition": LABEL, name: value}

    def handle(info):
        operation, index = info.name.split(":")
        return compat.tensor_handle(session.graph, operation, int(index))

    # `Session.run` would compare the shapes; the server calls what lies below.
    feeds = {handle(definition.inputs[key]): value for key, value in inputs.items()}
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        compat.run_session(session, feeds, [handle(info) for info in definition.outputs.values()])
    assert f"assertion failed: [{message}" in str(error.value)


def test_run_casts_nothing(image):
    with pytest.raises(ValueError, match="condition must be int32, got int64"):
        image.servable.run("sample", condition=np.zeros([2], np.int64))
    with pytest.raises(ValueError, match=r"log_prob takes \['condition', 'x'\], got \['condition'\]"):
        image.servable.run("log_prob", condition=LABEL)


def test_a_difference_that_is_no_tie_is_found(image, monkeypatch):
    model, expected = image.model, image.samples
    noise = noises.uniform(tf.constant(seeds(NUM)), 12, model.head.noise_size).numpy()
    given = (noise, TEMPERATURE, image.condition)
    served = expected.copy()
    served[1, 1, 0, 0] = (served[1, 1, 0, 0] + 1) % 3
    with pytest.raises(ExportError, match=r"in example 1: first at \(1, 0, 0\), \d instead of \d"):
        ties.count_ties(model, expected, served, *given)
    monkeypatch.setattr(ties, "TIE", 1.0)
    assert ties.count_ties(model, expected, served, *given) == 1
