"""A model of tfar through the server."""

import json
import os
import statistics
import time

import numpy as np
import pytest
import tensorflow as tf

import tfar
from export.server import warmup
from export.server.demo import CARD
from export.server.loaded_model import LoadedModel
from export.server.options import Options
from export.server.server import Server
from export.writer import saved_model

SEEDS = np.array([[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]], np.int64)
LABELS = np.array([0, 1, 2, 1, 0], np.int32)


@pytest.fixture(scope="module")
def made(served, connect):
    """A MADE of pictures, the server and a client."""
    with connect(served.target) as client:
        yield served.models["pictures"], served.server, client


@pytest.fixture(scope="module")
def samples(made):
    """What Python draws."""
    return made[0].sample(len(SEEDS), LABELS, seed=SEEDS, jit_compile=False).numpy()


def test_same_seeds_same_samples(made, samples):
    outputs = made[2].values("pictures", inputs={"seed": SEEDS, "condition": LABELS})
    np.testing.assert_array_equal(outputs["samples"], samples)
    np.testing.assert_array_equal(outputs["seed"], SEEDS)


def test_without_a_seed_no_two_calls_are_alike(made):
    _, _, client = made
    inputs = {"condition": LABELS[:1]}
    seeds = [tuple(client.values("pictures", "sample", inputs)["seed"].ravel()) for _ in range(8)]
    assert len(set(seeds)) == 8


def test_log_prob(made, samples):
    model, _, client = made
    nats = client.values("pictures", "log_prob", {"x": samples, "condition": LABELS})["log_prob"]
    np.testing.assert_allclose(nats, model.log_prob(samples, LABELS), rtol=1e-5)


def test_refusals_are_told(made):
    _, _, client = made
    inputs = {"temperature": np.array([-1.0], np.float32), "condition": LABELS[:1]}
    code, message = client.refusal("pictures", inputs=inputs)
    assert code == "INVALID_ARGUMENT" and message.startswith("assertion failed: [temperature must ")


def test_demo_knows_the_model(made, served):
    _, server, _ = made
    value = server._rest.demo.describe("pictures")
    assert value["signatures"]["sample"]["inputs"]["seed"]["default"] == [[-1, -1]]
    assert value["tfar"] == json.loads((served.folder / "pictures" / "1" / CARD).read_text())


def test_demo_draws_the_same_samples(made, samples):
    _, server, _ = made
    inputs = {"seed": SEEDS[:2].tolist(), "condition": LABELS[:2].tolist()}
    demo = server._rest.demo
    outputs = demo.call(demo.request("sample", {"inputs": inputs}, "pictures"))["outputs"]
    assert outputs["samples"] == samples[:2].tolist()


def test_its_warm_up_passes(made, served):
    _, server, _ = made
    assert (served.folder / "pictures" / "1" / warmup.FILE).exists()
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
