"""A model from outside of the library goes the way of all models: by the same commands."""

import json

import numpy as np
import pytest
from PIL import Image

import tfar
from examples.own_model import Decay, DecayModel
from tests.commands import run
from tfar import testing


@pytest.fixture
def workdir(runs_bank, monkeypatch):
    """Trained by the command; other tests look at what it promises."""
    folder = runs_bank.arrays()
    monkeypatch.chdir(folder)  # its data are named from there
    return folder / "run"


def test_its_layer_and_model_keep_the_laws():
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    for exclusive in (False, True):
        testing.assert_incremental_matches_parallel(Decay(exclusive=exclusive), x)
    model = DecayModel((2, 2, 1), tfar.heads.Categorical(2), tfar.conditions.Label(2), units=4)
    testing.randomize_weights(model)
    testing.assert_causal(model)
    testing.assert_normalized(model)


def test_it_is_trained_by_its_name(workdir):
    resolved = json.loads((workdir / "config.json").read_text())["resolved"]
    assert resolved["model"] == {"name": "examples.own_model:DecayModel", "units": 4}
    model = tfar.models.load(workdir)
    assert isinstance(model, DecayModel) and model.event_shape == (3, 3, 1)
    assert "<title>DecayModel on npz:data.npz (own_model)</title>" in (workdir / "report.html").read_text()


def test_it_is_scored_and_sampled(workdir, tmp_path):
    code, stdout, stderr = run("pipelines.evaluate", f"--workdir={workdir}", "--split=valid")
    assert code == 0 and "data.npz valid" in stdout, stderr
    out = tmp_path / "threes.png"
    code, stdout, stderr = run("pipelines.sample", f"--workdir={workdir}", "--num=2", "--label=1", f"--out={out}")
    assert code == 0, stderr
    with Image.open(out) as picture:
        assert {0, 255} <= set(np.asarray(picture).ravel().tolist())


def test_it_is_exported_and_served(workdir, tmp_path):
    from export.client import Client
    from export.server.options import Options
    from export.server.server import Server

    out = tmp_path / "own_model"
    code, _, stderr = run("export", f"--workdir={workdir}", f"--out={out}", "--no-sessions")
    assert code == 0, stderr
    told = [line.removeprefix("export: ") for line in stderr.splitlines() if line.startswith("export: ")]
    assert told[0] == "loading TensorFlow and the model" and told[1].startswith("tracing and writing ")
    assert "checking complete" in told and told[-1].startswith("recording requests for the warm-up")
    options = Options(model_name="own_model", model_base_path=str(out), port=0)
    with Server(options) as server, Client(f"127.0.0.1:{server.port}", "own_model") as client:
        served = client.sample(2, 1, seed=5).samples
    expected = tfar.models.load(workdir).sample(2, condition=[1, 1], seed=5).numpy()
    np.testing.assert_array_equal(served, expected)
