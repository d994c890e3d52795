"""PixelCNN++: sizes, initialization, colours, bad arguments."""

import numpy as np
import pytest

import tfar
from tests.closeness import assert_close
from tfar import heads, testing


def tiny(event_shape=(4, 4, 3), head=None, **kwargs):
    sizes = {"filters": 4, "num_resnets": 1, "dropout": 0.0}
    return tfar.models.PixelCNNPP(event_shape, head or heads.DiscretizedLogisticMixture(2), **{**sizes, **kwargs})


@pytest.mark.large
def test_parameters_of_the_paper():
    model = tfar.models.from_preset("pixel_cnn_pp_cifar10")
    assert model.count_params() == 53_659_080
    assert len(model.weights) == 567


def block_sparse_size(filters, density, num_resnets, outputs, channels):
    """Parameters of three resolutions: kernels, of which the residual blocks keep a part, and two numbers a feature."""

    def conv(taps, inputs, features, part=1.0):
        return round(part * taps * inputs * features) + 2 * features

    down, up = 3 * num_resnets, 3 * num_resnets + 2
    blocks = sum(conv(taps, 2 * filters, size * filters, density) for taps in (6, 4) for size in (1, 2))
    # Shortcuts: on the way down to the horizontal stack, on the way up to both.
    shortcuts = down * conv(1, 2 * filters, filters)
    shortcuts += up * (conv(1, 2 * filters, filters) + conv(1, 4 * filters, filters))
    resolutions = 2 * 2 * (conv(6, filters, filters) + conv(4, filters, filters))
    ends = sum(conv(taps, channels + 1, filters) for taps in (6, 3, 2)) + conv(1, filters, outputs)
    return (down + up) * blocks + shortcuts + resolutions + ends


def test_parameters_of_the_block_sparse_network():
    assert block_sparse_size(160, 1.0, 5, 100, 3) == 53_659_080
    preset = tfar.models.PixelCNNPP.PRESETS["pixel_cnn_pp_block_sparse_cifar10"]
    # More than twice as wide for 0.6 % more parameters.
    assert block_sparse_size(preset["filters"], preset["density"], preset["num_resnets"], 100, 3) == 53_980_104
    model = tiny(filters=8, block_size=2, density=0.5)
    assert model.count_params() == block_sparse_size(8, 0.5, 1, 20, 3)
    x = testing.random_events(model, 4)
    model.initialize_from_data(x)
    with testing.eagerly():
        assert np.isfinite(model.log_prob(x)).all()


@pytest.mark.large
def test_block_sparse_presets():
    assert tfar.models.from_preset("pixel_cnn_pp_block_sparse_cifar10").count_params() == 53_980_104
    head = heads.Bernoulli()
    model = tfar.models.from_preset("pixel_cnn_pp_block_sparse_small", event_shape=(4, 4, 1), head=head)
    assert model.count_params() == block_sparse_size(64, 0.25, 2, 1, 1)
    with testing.eagerly():
        assert np.isfinite(model.log_prob(testing.random_events(model, 2))).all()


@pytest.mark.parametrize("num_mixtures", [1, 5])
def test_parameters_have_10_numbers_per_mixture(num_mixtures):
    model = tiny(head=heads.DiscretizedLogisticMixture(num_mixtures), num_resolutions=2)
    assert model(np.zeros((2, 4, 4, 3), np.uint8)).shape == (2, 4, 4, 10 * num_mixtures)


def test_initialization_makes_outputs_of_size_1():
    model = tiny((8, 8, 3), filters=8)
    x = testing.random_events(model, 4)
    condition = None
    model.initialize_from_data(x, condition)
    y = model(x).numpy()
    assert_close(y.mean((0, 1, 2)), 0, 1e-4)
    np.testing.assert_allclose(y.std((0, 1, 2)), 1, rtol=1e-3)


def test_colours_depend_on_colours_before():
    """The network sees whole pixels only; the means of the mixture are shifted by the colours drawn before."""
    model = tiny(num_resolutions=2)
    testing.randomize_weights(model)
    x = testing.random_events(model, 1)
    other = x.copy()
    other[0, 3, 3, 0] = 255 - x[0, 3, 3, 0]  # the red of the last pixel
    np.testing.assert_array_equal(model(x), model(other))
    assert abs(float(model.log_prob(x)[0] - model.log_prob(other)[0])) > 1e-4


def test_refuses_wrong_arguments():
    with pytest.raises(ValueError, match="divisible by 4 for num_resolutions=3, got \\(6, 4, 3\\)"):
        tiny((6, 4, 3))
    with pytest.raises(ValueError, match="head must model whole pixels in a PixelCNNPP"):
        tiny(head=heads.Categorical(256))
    with pytest.raises(ValueError, match="nonlinearity must be one of"):
        tiny(nonlinearity="tanh")
    with pytest.raises(ValueError, match="num_resnets must be at least 1, got 0"):
        tiny(num_resnets=0)
    with pytest.raises(ValueError, match="block_size must divide the number of input channels, 4, got 3"):
        tiny(block_size=3, density=0.5)
    with pytest.raises(ValueError, match="density must keep a whole number of the 2 blocks of input channels"):
        tiny(block_size=2, density=0.25)
    with pytest.raises(ValueError, match="density must be 1.0 without block_size, got 0.5"):
        tiny(density=0.5)
    with pytest.raises(ValueError, match="initialize_from_data needs a model with weight normalization"):
        gated = tfar.models.from_preset("gated_pixel_cnn_tiny", event_shape=(3, 3, 1), head=heads.Bernoulli())
        gated.initialize_from_data(np.zeros((1, 3, 3, 1)))
