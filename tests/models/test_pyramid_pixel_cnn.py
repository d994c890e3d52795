"""Pyramid PixelCNN; laws (both sums, Jacobians, samplers) are in tests/conformance, the wiring in tests/convert."""

import numpy as np
import pytest
import tensorflow as tf

import tfar
from tests.closeness import assert_close
from tfar import testing
from tfar.models import PyramidPixelCNN
from tfar.testing.blind import blind_of_pyramid_pixel_cnn

TINY = PyramidPixelCNN.PRESETS["pyramid_pixel_cnn_tiny"]
BINARY, PIXELS = tfar.heads.Bernoulli(), tfar.heads.DiscretizedLogisticMixture(1, bits=3)


def tiny(shape=(4, 4, 1), head=BINARY, **kwargs):
    return PyramidPixelCNN(shape, head, **{**TINY, **kwargs})


@pytest.fixture(scope="module")
def model():
    made = tiny((2, 4, 3), PIXELS, condition=tfar.conditions.Label(2))
    testing.randomize_weights(made, scale=2.0)
    return made


def test_two_parts_of_the_score(model):
    x, labels = testing.random_events(model, 3), np.array([0, 1, 0])
    with testing.eagerly():
        nats, score = model.log_prob(x, labels), model.score(x, labels).numpy()
        coarse, given = model.log_prob_auxiliary(x, labels), model.log_prob_given(x, labels)
        assert_close(coarse + given, nats)
        assert_close(score.sum((1, 2)), nats)
        assert score.shape == (3, 2, 4)
        # The averages' share is the same at the pixels of a square; what remains is the image's own.
        own = model.parts[1].score(
            x, model.part_context(1, [model.parts[0].view.take(x)], model.context(model.request(labels, 3)))
        )
        squares = (score - own.numpy()).reshape(3, 1, 2, 2, 2)
        assert_close(squares, squares[:, :, :1, :, :1] + np.zeros((3, 1, 2, 2, 2)))
        assert_close(squares.sum((1, 2, 3, 4)), coarse)
        # Other averages have another probability, and the image given them another one.
        averages = (model.parts[0].view.take(x) + 1) % 8
        other = model.log_prob_auxiliary(x, labels, auxiliary=[averages])
        assert (np.abs(other - coarse) > 1e-3).all()
        assert (np.abs(model.log_prob_given(x, labels, auxiliary=[averages]) - given) > 1e-3).all()


def test_draws_in_parts(model):
    observed = np.zeros((2, 4, 3), bool)
    observed[:1] = True
    with testing.eagerly():
        averages, image = model.sample_parts(3, 1, seed=0, jit_compile=False)
        assert averages.shape == (3, 1, 2, 3) and image.shape == (3, 2, 4, 3)
        np.testing.assert_array_equal(model.sample(3, 1, seed=0, jit_compile=False), image)
        again = model.complete(image, observed, 1, seed=0, auxiliary=[averages], jit_compile=False)
    np.testing.assert_array_equal(again, image)
    with pytest.raises(ValueError, match="auxiliary must be given to complete, the values of .'1x2'."):
        model.complete(image, observed, 1)
    with pytest.raises(ValueError, match=r"auxiliary of part '1x2' must have shape \[batch, 1, 2, 3\]"):
        model.complete(image, observed, 1, auxiliary=[image])


def test_initialization_from_data():
    model = tiny((4, 4, 1), tfar.heads.Categorical(4), average_levels=7, unet_stages=2)
    x = testing.random_events(model, 16)
    with testing.eagerly():
        model.initialize_from_data(x)
        values = model.split(x)
        for index, part in enumerate(model.parts):
            params = part.params(values[index], model.part_context(index, values[:index])).numpy()
            np.testing.assert_allclose(params.mean((0, 1, 2, 3)), 0, atol=1e-4)
            np.testing.assert_allclose(params.std((0, 1, 2, 3)), 1, rtol=0.01)
    assert [part.model.head.levels for part in model.parts] == [7, 4]


def test_an_image_is_told_of_the_next_coarser_one_alone():
    deep = tiny((4, 4, 3), PIXELS, num_doublings=2)
    assert [part.name for part in deep.parts] == ["1x1", "2x2", "4x4"]
    pairs = {(5 + target, 0) for target in range(16)}
    assert blind_of_pyramid_pixel_cnn(deep) == pairs
    testing.assert_causal(deep, blind=pairs)


def test_odd_sizes_go_through_the_u_net():
    model = tiny((6, 10, 1), unet_stages=3)
    assert model.parts[1].link([tf.zeros([1, 3, 5, 1])]).shape == (1, 6, 10, 4)
    assert model.num_passes == 15 + 60


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": (6, 4, 1), "num_doublings": 2}, r"that 4 divides for num_doublings=2, got \(6, 4, 1\)"),
        ({"shape": (16,)}, "event_shape must be"),
        ({"num_doublings": 0}, "num_doublings must be at least 1, got 0"),
        ({"unet_stages": 0}, "unet_stages must be at least 1, got 0"),
        ({"average_levels": 1}, "average_levels must be an integer of at least 2, got 1"),
        ({"shape": (4, 4, 3), "head": PIXELS, "average_levels": 5}, "average_levels must be None for images of 3"),
        ({"shape": (4, 4, 3)}, "head must model whole pixels in a PyramidPixelCNN"),
        ({"condition": tfar.conditions.Spatial(1)}, "condition must be a Label or Vector for PyramidPixelCNN"),
        ({"train_parts": "some"}, "train_parts must be one of"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        tiny(**arguments)


def test_continuous_values_have_no_averages():
    head = tfar.heads.Mixture("Normal", 2)
    with pytest.raises(ValueError, match="head must have levels in a PyramidPixelCNN"):
        tiny(head=head)
    with pytest.raises(ValueError, match="head must have levels in a GrayscalePixelCNN"):
        tfar.models.GrayscalePixelCNN((4, 4, 1), head)
