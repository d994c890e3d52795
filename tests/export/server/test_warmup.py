"""Requests that a version brings along run before it is available."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from export.client import Code, ServingError
from export.server import warmup
from export.server.loaded_model import LoadedModel
from export.server.metrics import Metrics


def predict_log(signature, **inputs):
    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.name, request.model_spec.signature_name = "any", signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return log.SerializeToString()


def write(version, records):
    path = version / warmup.FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)


@pytest.fixture(scope="module")
def model(models, tmp_path_factory):
    loaded = LoadedModel(models / "counter" / "1")
    loaded.path = tmp_path_factory.mktemp("version")
    yield loaded
    loaded.close()


def count(model):
    (value,) = model.run([], [model.signatures["get_counter"].outputs["output"].name])
    return float(value)


def test_records_run_as_often_as_asked(model):
    before = count(model)
    write(model.path, [predict_log("incr_counter"), predict_log("incr_counter_by", delta=np.float32(5))])
    metrics = Metrics()
    assert warmup.warm_up(model, 1, metrics, iterations=2) == 2
    assert count(model) == before + 12
    assert f'model_warmup_latency_count{{model_path="{model.path}",status="OK"}} 1' in metrics.text()


def test_progress_is_told(model, monkeypatch, caplog):
    write(model.path, [predict_log("incr_counter")] * 3)
    monkeypatch.setattr(warmup, "_PROGRESS_SECONDS", 0.0)
    with caplog.at_level("INFO", "tfar.serving"):
        warmup.warm_up(model, 7, Metrics())
    assert [line.rpartition(",")[0] for line in caplog.messages] == [
        f"warming version 7 up: {done} of 3 requests" for done in range(3)
    ]


def log(**fields):
    return prediction_log_pb2.PredictionLog(**fields).SerializeToString()


@pytest.mark.parametrize(
    "records, code, message",
    [
        ([predict_log("nope")], Code.FAILED_PRECONDITION, 'Serving signature key "nope" not found.'),
        ([predict_log("incr_counter_by")], Code.INVALID_ARGUMENT, "input size does not match signature"),
        ([b"\xff\xff"], Code.INVALID_ARGUMENT, "Failed to parse warmup record: "),
        ([b""], Code.UNIMPLEMENTED, "Unsupported log_type for warmup: 0"),
        ([log(session_run_log={})], Code.UNIMPLEMENTED, "Unsupported log_type for warmup"),
        ([log(predict_streamed_log={})], Code.UNIMPLEMENTED, "Unsupported log_type for warmup"),
        ([log(classify_log={})], Code.UNIMPLEMENTED, "Unsupported log_type for warmup"),
        ([predict_log("get_counter")] * 1001, Code.INVALID_ARGUMENT, "Number of warmup records exceeds the maximum"),
    ],
    ids=["signature", "inputs", "no log", "empty", "session run", "streamed", "classify", "too many"],
)
def test_record_that_fails_fails_the_load(model, records, code, message):
    write(model.path, records)
    with pytest.raises(ServingError) as caught:
        warmup.warm_up(model, 1, Metrics())
    assert caught.value.code == code and caught.value.message.startswith(message)


def test_file_of_another_format(model):
    (model.path / warmup.FILE).write_bytes(b"no records at all, but text")
    with pytest.raises(ServingError, match="Please verify your warmup data is in TFRecord format.") as caught:
        warmup.warm_up(model, 1, Metrics())
    assert caught.value.code == Code.DATA_LOSS


def test_version_with_a_bad_record_is_not_available(serve, toy, tmp_path, wait_until):
    for number in (1, 2):
        toy(tmp_path / f"{number}")
        write(tmp_path / f"{number}", [predict_log("", x=np.array([1.0], np.float32 if number == 1 else np.float64))])
    options = {"model_name": "half", "model_base_path": str(tmp_path)}
    with pytest.raises(ServingError, match="Expects arg.0. to be float but double is provided"):
        with serve(**options):
            pass
    with serve(enable_model_warmup=False, **options) as (_, client):
        assert client.status("half") == {2: "AVAILABLE"}
    (tmp_path / "2" / warmup.FILE).unlink()
    with serve(**options) as (server, client):
        assert client.status("half") == {2: "AVAILABLE"}
        assert "warmup_latency_count" not in server.metrics.text()
