"""Calls whose client has gone, and calls without a deadline."""

import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from export.client import Code, ServingError
from export.server import cancellation
from export.server.loaded_model import LoadedModel


def request_of(model, signature, **inputs):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = model, signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request


def running(server, name):
    return server.manager._versions[name][1].calls


def begun(client, server, request, num, until):
    """Calls without a deadline, all of them running."""
    before = running(server, request.model_spec.name)
    calls = [client.prediction.Predict.future(request) for _ in range(num)]
    assert until(lambda: running(server, request.model_spec.name) == before + num)
    time.sleep(0.2)  # until they are inside of TensorFlow
    return calls


ENDLESS = request_of("toys", "loop", steps=np.int64(10**12))
QUICK = {"value": np.zeros(1, np.float32)}


@pytest.fixture(scope="module")
def toys(models, serve):
    with serve(grpc_max_threads=4, model_name="toys", model_base_path=str(models / "toys")) as (server, client):
        yield server, client


def test_cancelled_calls_use_no_more_processor_time(toys, wait_until):
    server, client = toys
    for _ in range(3):  # their places can be used again
        calls = begun(client, server, ENDLESS, 4, wait_until)
        for call in calls:
            call.cancel()
        assert wait_until(lambda: not running(server, "toys"), 5)
    time.sleep(0.1)
    before = time.process_time()
    time.sleep(1.0)
    assert time.process_time() - before < 0.3  # four loops would take a second of every processor
    assert client.values("toys", "float32", QUICK)["value"] == 0
    assert server.manager._versions["toys"][1].model._watch._free.qsize() == 4


def test_drawing_stops_where_its_client_has_gone(served, connect, wait_until):
    """64 events of 4096 values take minutes; a call that comes at the same time is answered all the same."""
    request = request_of("texts", "sample", length=np.int32([4096]), seed=np.zeros([64, 2], np.int64))
    small = {"length": np.int32([8]), "seed": np.int64([[1, 2]])}
    with connect(served.target) as client:
        expected = client.values("texts", "sample", small)["samples"]
        before = time.process_time()
        calls = begun(client, served.server, request, 2, wait_until)
        used = time.process_time() - before
        for call in calls:
            call.cancel()
        before = time.process_time()
        assert wait_until(lambda: not running(served.server, "texts"), 5)
        time.sleep(1.0)
        after = time.process_time() - before
        np.testing.assert_array_equal(client.values("texts", "sample", small)["samples"], expected)
    assert after < 0.8, (used, after)


def test_a_connection_that_breaks_cancels_its_calls(toys, connect, wait_until):
    server, client = toys
    with connect(client.target) as other:
        begun(other, server, ENDLESS, 2, wait_until)
    assert wait_until(lambda: not running(server, "toys"), 5)


def test_a_call_without_a_deadline_has_the_server_s(models, serve):
    options = {"model_name": "toys", "model_base_path": str(models / "toys"), "max_call_seconds": 0.5}
    with serve(**options) as (_, client):
        for timeout in (None, 60):
            started = time.monotonic()
            with pytest.raises(grpc.RpcError) as caught:
                client.prediction.Predict(ENDLESS, timeout=timeout)
            assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
            assert caught.value.details() == "the call took longer than --max_call_seconds=0.5"
            assert 0.4 < time.monotonic() - started < 5
        assert client.values("toys", "float32", QUICK)["value"] == 0


@pytest.fixture(scope="module")
def loaded(models):
    model = LoadedModel(models / "toys" / "1", watched=2)
    yield model
    model.close()


def loop(model, steps, **options):
    signature = model.signatures["loop"]
    fetches = [info.name for info in signature.outputs.values()]
    return model.run([(signature.inputs["steps"].name, np.int64(steps))], fetches, **options)


def test_cancelled_before_it_began(loaded):
    with cancellation.cancelled_by(lambda cancel: False):
        with pytest.raises(ServingError) as caught:
            loop(loaded, 3)
    assert caught.value.code == Code.CANCELLED
    assert loop(loaded, 3) == [3] and loaded._watch._free.qsize() == 2


def test_cancelled_when_it_has_ended(loaded):
    found = []
    with cancellation.cancelled_by(lambda cancel: found.append(cancel) or True):
        assert loop(loaded, 3) == [3]
        found[0]()
    assert loop(loaded, 4) == [4]


def test_a_deadline_leaves_nothing_behind(loaded):
    for _ in range(3):
        with pytest.raises(ServingError) as caught:
            loop(loaded, 10**12, timeout_ms=50)
        assert caught.value.code == Code.DEADLINE_EXCEEDED
    assert loop(loaded, 5) == [5]


def test_what_is_drawn_together_is_not_stopped_for_one():
    graph = tf.compat.v1.GraphDef()
    node = graph.library.function.add().node_def.add(op="BatchFunction")
    node.attr["shared_name"].s = b"sessions/alone"
    assert not cancellation.draws_together(graph)
    node.attr["shared_name"].s = b"batched/sample"
    assert cancellation.draws_together(graph)
