"""PixelCNN++: sizes, initialization, colours, bad arguments."""

import numpy as np
import pytest

import tfar
from tfar import heads, testing


def tiny(event_shape=(4, 4, 3), head=None, **kwargs):
    sizes = {"filters": 4, "num_resnets": 1, "dropout": 0.0}
    return tfar.models.PixelCNNPP(event_shape, head or heads.DiscretizedLogisticMixture(2), **{**sizes, **kwargs})


@pytest.mark.large
def test_parameters_of_the_paper():
    model = tfar.models.from_preset("pixel_cnn_pp_cifar10")
    assert model.count_params() == 53_659_080
    assert len(model.weights) == 567


@pytest.mark.parametrize("num_mixtures", [1, 5])
def test_parameters_have_10_numbers_per_mixture(num_mixtures):
    model = tiny(head=heads.DiscretizedLogisticMixture(num_mixtures))
    assert model(np.zeros((2, 4, 4, 3), np.uint8)).shape == (2, 4, 4, 10 * num_mixtures)


def test_initialization_makes_outputs_of_size_1():
    model = tiny((8, 8, 3), filters=8)
    x = testing.random_events(model, 4)
    condition = None
    model.initialize_from_data(x, condition)
    y = model(x).numpy()
    np.testing.assert_allclose(y.mean((0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(y.std((0, 1, 2)), 1, rtol=1e-3)


def test_colours_depend_on_colours_before():
    """The network sees whole pixels only; the means of the mixture are shifted by the colours drawn before."""
    model = tiny()
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
    with pytest.raises(ValueError, match="initialize_from_data needs a model with weight normalization"):
        gated = tfar.models.from_preset("gated_pixel_cnn_tiny", event_shape=(3, 3, 1), head=heads.Bernoulli())
        gated.initialize_from_data(np.zeros((1, 3, 3, 1)))
