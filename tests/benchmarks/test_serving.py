import json
import time

import numpy as np
import pytest

from benchmarks import serving, serving_checks, serving_models, serving_server
from benchmarks.serving_load import Caller, request
from benchmarks.serving_reference import Log, Reference
from export.client import Code, ServingError
from export.client.messages import MESSAGES
from export.server.options import Options as ServerOptions
from export.server.server import Server


@pytest.fixture(scope="module")
def stream(bank):
    """A sequence model, and its export."""
    return bank.model("MADE_binary"), bank.versions("MADE_binary")


@pytest.fixture(scope="module")
def text(stream):
    """What Python draws from it."""
    reference = serving_models.reference_of(stream[0], 8)
    reference.name = "texts"
    return reference


@pytest.fixture(scope="module")
def served(stream, text, tmp_path_factory):
    """The export on a server, and the folder of the references."""
    folder = tmp_path_factory.mktemp("references")
    text.save(folder / "texts.npz")
    options = ServerOptions(port=0, model_name="texts", model_base_path=str(stream[1]), grpc_max_threads=16)
    with Server(options) as server:
        yield f"127.0.0.1:{server.port}", folder


def clients(served, seconds):
    from benchmarks.serving_load import call_for

    return call_for(served[0], served[1], 600.0, seconds, 2, 1)


def test_clients_draw_what_python_draws(served, stream, text):
    log = clients(served, 1.0)
    judged = serving_checks.judge(log, {"texts": stream[0]}, {"texts": text})
    assert judged["failures"] == [] and log.counts["events compared"]["equal"] > 0
    figures = serving.summary(log, 1.0)
    assert figures["answered_per_second"] > 1
    assert json.loads(json.dumps(figures)) == figures


def test_another_stream_is_wrong(served, stream, text, tmp_path):
    other = Reference.load(served[1] / "texts.npz")
    other.samples = np.roll(other.samples, 1, 0)
    other.save(tmp_path / "texts.npz")
    log = clients((served[0], tmp_path), 0.5)
    assert log.counts["events compared"]["different"] > 0
    failures = serving_checks.judge(log, {"texts": stream[0]}, {"texts": other})["failures"]
    assert any("is not Python's" in text and "no tie of rounding" in text for text in failures)


def test_seeds_that_come_twice_are_found(stream, text):
    log = Log()
    log.fresh += [("texts", [1, 2], None), ("texts", [3, 4], None), ("texts", [1, 2], None)]
    failures = serving_checks.judge(log, {"texts": stream[0]}, {"texts": text})["failures"]
    assert failures == ["1 of 3 unseeded events had a seed that another had"]


def test_unseeded_events_are_drawn_again(stream, text):
    log = Log()
    log.fresh += [("texts", [1, row], text.samples[row]) for row in range(4)]  # their seeds were others
    failures = serving_checks.judge(log, {"texts": stream[0]}, {"texts": text})["failures"]
    assert len(failures) == 1 and "not what Python draws from their seeds" in failures[0]


@pytest.mark.parametrize(
    ("signature", "error", "outcome", "failed"),
    [
        ("sample", ServingError(Code.DEADLINE_EXCEEDED, ""), "deadline", False),
        ("session_step", "session_id is unknown or expired; values:", "expired", False),
        ("session_step", "session_id was stepped by another call at the same time; values:", "overtaken", False),
        ("session_begin", "all session slots are in use; slots, wanted:", "full", False),
        ("session_step", "state must not be torn", "INVALID_ARGUMENT", True),
        ("sample", "session_id is unknown or expired", "INVALID_ARGUMENT", True),
        ("sample", ServingError(Code.CANCELLED, ""), "CANCELLED", True),
        ("sample", ServingError(Code.INTERNAL, "oops"), "INTERNAL", True),
    ],
)
def test_only_expected_errors_pass(text, signature, error, outcome, failed):
    if isinstance(error, str):
        error = ServingError(Code.INVALID_ARGUMENT, f"assertion failed: [{error}] [7]")
    log = Log()
    caller = Caller("localhost:1", [text], 1.0, time.monotonic(), 0, log)
    assert caller._judge(text, signature, error) == outcome
    assert bool(log.failures) == failed


def test_logs_of_processes_are_merged(tmp_path):
    one, other = Log(), Log()
    one.count("sample", "ok", 0.5)
    one.wrong.append(("texts", 3, np.arange(4)))
    one.fresh.append(("texts", [1, 2], None))
    one.fail("something")
    one.save(tmp_path / "one.json")
    other.count("sample", "ok")
    other.merge(tmp_path / "one.json")
    assert other.counts["sample"]["ok"] == 2 and other.seconds["sample"] == [0.5]
    assert other.failures == ["something"] and other.fresh == one.fresh
    assert other.wrong[0][:2] == ("texts", 3) and other.wrong[0][2].tolist() == [0, 1, 2, 3]


def test_requests_are_predict_requests(text):
    message = MESSAGES["PredictRequest"].FromString(request("texts", "sample", text.prefixed(1, 3)))
    assert message.model_spec.signature_name == "sample"
    assert set(message.inputs) == {"seed", "prefix"}
    assert [dim.size for dim in message.inputs["prefix"].tensor_shape.dim] == [1, 3]


def test_configurations_are_read_by_the_server(tmp_path):
    from export.server import configuration

    models = {"a": tmp_path / "a", "b": tmp_path / "b"}
    (tmp_path / "models.config").write_text(
        serving_server.configuration(models, {"a": [1, 2]}, {"a": {"stable": 1, "canary": 2}})
    )
    first, second = configuration.read_models(str(tmp_path / "models.config")).model_config_list.config
    assert list(first.model_version_policy.specific.versions) == [1, 2]
    assert dict(first.version_labels) == {"stable": 1, "canary": 2}
    assert second.base_path == str(tmp_path / "b") and not second.HasField("model_version_policy")


def refused():
    raise ServingError(Code.INTERNAL, "no\nanswer")


def test_failures_are_counted_and_printed():
    figures = {"clients": 2, "cpus": 1, "load_average": 0.5, "replicas": {"compared": 8, "failures": ["x", "x", "y"]}}
    figures["overhead"] = {"rows": {"1": {"in_process_s": 0.01, "grpc_s": 0.011, "ratio": 1.1}}, "failures": ["z"]}
    figures["versions"] = serving._tried(refused)
    assert serving.failures(figures) == [
        "overhead: z",
        "replicas: x (2 times)",
        "replicas: y",
        "versions: ServingError: INTERNAL: no answer",
    ]
    lines = serving.table(figures).splitlines()
    assert lines[-1] == "4 failures" and "10.0 ms" in lines[4] and lines[4].endswith("1.10")


@pytest.mark.large
def test_everything_is_measured(tmp_path):
    scene = serving_models.Scene.build(tmp_path, None, 2, 8, tiny=True)
    figures = serving.run(scene, 2, 2.0, 1)
    assert serving.failures(figures) == []
    assert set(serving.SECTIONS) <= set(figures)
    assert "no failures" in serving.table(figures)
    assert json.loads(json.dumps(figures))["load"]["answered"] > 0
