"""Weights of pixelsnail-public give its outputs, its likelihoods and its initialization."""

import pathlib

import numpy as np
import pytest

import tfar
from tfar.convert import from_pixel_snail

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"


def model_for(**kwargs):
    head = tfar.heads.DiscretizedLogisticMixture(2)
    sizes = {"filters": 16, "num_blocks": 2, "num_resnets": 1, "key_dim": 16, "value_dim": 8}
    return tfar.models.PixelSNAIL((6, 6, 3), head, **{**sizes, **kwargs})


@pytest.fixture(scope="module")
def fixture():
    return dict(np.load(GOLDEN / "pixelsnail_tiny.npz"))


@pytest.fixture(scope="module")
def model(fixture):
    return from_pixel_snail(fixture, model_for())


def test_outputs(fixture, model):
    np.testing.assert_allclose(model(fixture["x_u8"]), fixture["out"], atol=1e-5 * np.abs(fixture["out"]).max())


def test_likelihood(fixture, model):
    with tfar.testing.eagerly():
        nats = -model.log_prob(fixture["x_u8"])
    np.testing.assert_allclose(nats, fixture["nll_nats_per_image"], rtol=1e-5)


def test_initialization_from_the_stored_directions(fixture, model):
    before = {weight.path: weight.numpy() for weight in model.weights}
    model.initialize_from_data(fixture["x_init_u8"])
    for weight in model.weights:
        np.testing.assert_allclose(weight, before[weight.path], rtol=1e-5, atol=1e-6, err_msg=weight.path)


def test_mismatch_is_named(fixture, model):
    arrays = fixture
    with pytest.raises(ValueError, match=r"dense_2/V.*\(25, 24\).*\(25, 20\)"):
        from_pixel_snail(arrays, model_for(value_dim=4))
    with pytest.raises(ValueError, match=r"'dense_9/V' .*\(25, 25\).*\(16, 20\)"):
        from_pixel_snail(arrays, model_for(num_blocks=1))
    with pytest.raises(ValueError, match="'stray/V' .* belongs nowhere"):
        from_pixel_snail({**arrays, "w/model/stray/V:0": np.zeros(1)}, model)
    with pytest.raises(ValueError, match="conditional_weights_0/hw"):
        from_pixel_snail(arrays, model_for(condition=tfar.conditions.Label(10)))
