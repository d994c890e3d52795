"""Weights of openai/pixel-cnn give its outputs, its likelihoods and its initialization."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

import tfar
from tfar.convert import from_openai_pixel_cnn_pp

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"


def model_for(condition=None, filters=8, num_resnets=1, dropout=0.5, **kwargs):
    head = tfar.heads.DiscretizedLogisticMixture(2)
    return tfar.models.PixelCNNPP((8, 8, 3), head, filters, num_resnets, dropout=dropout, condition=condition, **kwargs)


@pytest.fixture(scope="module")
def fixture():
    return dict(np.load(GOLDEN / "pixelcnnpp_tiny.npz"))


@pytest.fixture(scope="module")
def model(fixture):
    return from_openai_pixel_cnn_pp(fixture, model_for())


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


def published(model):
    """Arrays by the reference's names from the weights of a model, in the reference's order of creation."""
    arrays, counts = {}, {}

    def name(kind):
        counts[kind] = counts.get(kind, -1) + 1
        return f"model/{kind}_{counts[kind]}"

    def put(kind, layer):
        key = name(kind)
        arrays.update({f"{key}/{part}": getattr(layer, part.lower()).numpy() for part in ("V", "g", "b")})

    def resnet(block):
        put("conv2d", block.first)
        if block.shortcut.built:
            put("dense", block.shortcut)
        put("conv2d", block.second)
        if model.condition is not None:
            arrays[name("conditional_weights") + "/hw"] = block.bias.kernel.numpy()

    def resolution(body):
        for u, ul in zip(body.down_u, body.down_ul, strict=True):
            resnet(u), resnet(ul)
        if body.inner is not None:
            [put("conv2d", layer) for layer in body.inner.down]
            resolution(body.inner.inner)
            [put("deconv2d", layer) for layer in body.inner.up]
        for u, ul in zip(body.up_u, body.up_ul, strict=True):
            resnet(u), resnet(ul)

    network = model.network
    for layer in (network.rows_above, network.row_above, network.left):
        put("conv2d", layer)
    resolution(network.body)
    put("dense", network.outputs)
    return arrays


CONDITIONAL = {"filters": 4, "num_resnets": 2, "num_resolutions": 2, "dropout": 0.0, "nonlinearity": "elu"}


@pytest.fixture(scope="module")
def conditional():
    model = model_for(tfar.conditions.Label(10), **CONDITIONAL)
    tfar.testing.randomize_weights(model)
    return model


@pytest.fixture(scope="module")
def of_same_sizes(conditional):
    return model_for(conditional.condition, **CONDITIONAL)


@pytest.fixture
def target(of_same_sizes):
    """A model of the sizes of `conditional`, with weights of its own."""
    tfar.testing.randomize_weights(of_same_sizes, seed=1)
    return of_same_sizes


def assert_other_weights(model, target):
    for weight, other in zip(model.weights, target.weights, strict=True):
        assert not np.array_equal(weight, other), weight.path


def test_conditional_weights_and_averages(conditional, target):
    assert_other_weights(conditional, target)
    arrays = published(conditional)
    average = {f"{name}/ExponentialMovingAverage": value + 1 for name, value in arrays.items()}
    mixed = {**arrays, **average, "model/conv2d_0/V/Adam": arrays["model/conv2d_0/V"], "global_step": np.zeros(())}
    raw = from_openai_pixel_cnn_pp(mixed, target)
    for expected, weight in zip(conditional.weights, raw.weights, strict=True):
        np.testing.assert_array_equal(weight, expected)
    averaged = from_openai_pixel_cnn_pp(mixed, target, averaged=True)
    for expected, weight in zip(conditional.weights, averaged.weights, strict=True):
        np.testing.assert_allclose(weight, expected + 1)
    with pytest.raises(ValueError, match="averaged must be False"):
        from_openai_pixel_cnn_pp(arrays, target, averaged=True)


def test_tensorflow_1_checkpoint(conditional, target, tmp_path):
    arrays = published(conditional)
    graph = tf.Graph()
    with graph.as_default(), tf.compat.v1.Session() as session:
        for name, value in arrays.items():
            tf.compat.v1.get_variable(name, initializer=value)
        session.run(tf.compat.v1.global_variables_initializer())
        path = tf.compat.v1.train.Saver().save(session, str(tmp_path / "params"))
    model = from_openai_pixel_cnn_pp(path, target)
    for expected, weight in zip(conditional.weights, model.weights, strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_mismatch_is_named(fixture, model, conditional, target):
    arrays = published(conditional)
    with pytest.raises(ValueError, match=r"conv2d_0/V.*\(2, 3, 4, 4\).*\(2, 3, 4, 8\)"):
        from_openai_pixel_cnn_pp(arrays, model)
    weights = {name.removeprefix("w/"): value for name, value in fixture.items() if name.startswith("w/")}
    told = {name: value for name, value in arrays.items() if "conditional_weights" in name}
    with pytest.raises(ValueError, match="belongs nowhere"):
        from_openai_pixel_cnn_pp({**weights, **told}, model)
    missing = {name: value for name, value in arrays.items() if "conditional_weights_3" not in name}
    with pytest.raises(ValueError, match="conditional_weights_3/hw"):
        from_openai_pixel_cnn_pp(missing, target)
