"""A model of tfar through the server."""

import json
import os
import statistics
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import tfar
from export import saved_model
from export.serving import warmup
from export.serving.demo import CARD
from export.serving.loaded_model import LoadedModel
from export.serving.options import Options
from export.serving.server import Server


@pytest.fixture(scope="module")
def served(made, serve):
    model, folder = made
    with serve(model_name="made", model_base_path=str(folder), rest_api_port=0, demo=True) as (server, client):
        yield model, server, client


def test_same_seeds_same_samples(served):
    model, _, client = served
    seeds = np.array([[1, 2], [3, 4], [5, 6]], np.int64)
    outputs = client.values("made", inputs={"seed": seeds})
    np.testing.assert_array_equal(outputs["samples"], model.sample(3, seed=seeds))
    np.testing.assert_array_equal(outputs["seed"], seeds)


def test_without_a_seed_no_two_calls_are_alike(served):
    _, _, client = served
    seeds = [tuple(client.values("made", "sample")["seed"].ravel()) for _ in range(8)]
    assert len(set(seeds)) == 8


def test_log_prob(served):
    model, _, client = served
    x = np.array([[0, 1, 1, 0, 0, 1], [1, 0, 0, 0, 1, 1]], np.int32)
    np.testing.assert_allclose(client.values("made", "log_prob", {"x": x})["log_prob"], model.log_prob(x), rtol=1e-5)


def test_refusals_are_told(served):
    _, _, client = served
    code, message = client.refusal("made", inputs={"temperature": np.array([-1.0], np.float32)})
    assert code == "INVALID_ARGUMENT" and message.startswith("assertion failed: [temperature must ")


def test_demo_knows_the_model(served):
    _, server, _ = served
    value = server._rest.demo.describe()
    assert value["signatures"]["sample"]["inputs"]["seed"]["default"] == [[-1, -1]]
    card = next(Path(server.options.model_base_path).glob("1")) / CARD
    assert value["tfar"] == (json.loads(card.read_text()) if card.exists() else None)


def test_demo_draws_the_same_samples(served):
    model, server, _ = served
    outputs = server._rest.demo.call("sample", {"inputs": {"seed": [[1, 2], [3, 4]]}})["outputs"]
    assert outputs["samples"] == model.sample(2, seed=np.array([[1, 2], [3, 4]])).numpy().tolist()


def test_its_warm_up_passes(served, made):
    _, server, _ = served
    if not (made[1] / "1" / warmup.FILE).exists():
        pytest.skip("the export brings no warm-up requests")
    assert 'model_warmup_latency_count{model_path="' in server.metrics.text()


@pytest.mark.large
def test_overhead_of_a_call(tmp_path, connect):
    """Plain-graph sampling over gRPC costs at most 1.2 times the same call in process."""
    model = tfar.models.GatedPixelCNN((8, 8, 1), tfar.heads.Categorical(4), filters=8, num_blocks=2)
    version, _ = saved_model.export(model, tmp_path / "model")
    seeds = np.arange(32, dtype=np.int64).reshape(16, 2)
    loaded = LoadedModel(version)
    signature = loaded.signatures["sample"]
    feeds = [
        (info.name, seeds if name == "seed" else tf.make_ndarray(signature.defaults[name]))
        for name, info in signature.inputs.items()
    ]
    fetches = [info.name for info in signature.outputs.values()]
    with Server(Options(port=0, model_name="m", model_base_path=str(tmp_path / "model"))) as server:
        with connect(f"127.0.0.1:{server.port}") as client:
            local, remote = [], []
            for _ in range(int(os.environ.get("TFAR_OVERHEAD_CALLS", 20))):
                started = time.perf_counter()
                loaded.run(feeds, fetches)
                local.append(time.perf_counter() - started)
                started = time.perf_counter()
                client.values("m", inputs={"seed": seeds})
                remote.append(time.perf_counter() - started)
    loaded.close()
    local_ms, remote_ms = (1000 * statistics.median(times[3:]) for times in (local, remote))
    print(f"\nin process {local_ms:.2f} ms, over gRPC {remote_ms:.2f} ms, {remote_ms / local_ms:.2f} times")
    assert remote_ms < 1.2 * local_ms + 1
