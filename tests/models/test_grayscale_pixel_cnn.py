"""Grayscale PixelCNN; the laws of models, both sums among them, are in tests/conformance."""

import numpy as np
import pytest

import tfar
from tests.closeness import assert_close
from tfar import testing
from tfar.models import GrayscalePixelCNN

PIXELS = tfar.heads.DiscretizedLogisticMixture(1, bits=3)


def tiny(shape=(3, 4, 3), head=PIXELS, **kwargs):
    return GrayscalePixelCNN(shape, head, **{**GrayscalePixelCNN.PRESETS["grayscale_pixel_cnn_tiny"], **kwargs})


@pytest.fixture(scope="module")
def model():
    made = tiny(gray_bits=2, gray_filters=2, embedding_filters=3)
    testing.randomize_weights(made)
    return made


def test_grey_part_and_colour_part(model):
    x = testing.random_events(model, 3)
    gray, image = model.parts
    with testing.eagerly():
        nats = model.log_prob(x)
        parts = model.part_log_probs(x).numpy()
        assert_close(model.log_prob_auxiliary(x), gray.model.log_prob(gray.view.take(x)))
        assert_close(parts, np.stack([model.log_prob_auxiliary(x), model.log_prob_given(x)], 1))
        assert_close(parts.sum(1), nats)
        assert_close(model.score(x).numpy().sum((1, 2)), nats)
        # One grey image and another: the model of the image is told.
        other = model.log_prob_given(x, auxiliary=[(gray.view.take(x) + 1) % 4])
    assert (np.abs(other - parts[:, 1]) > 1e-3).all()
    assert gray.model.filters == 2 and image.model.condition.channels == 3
    assert tiny(gray_bits=None).parts[0].model.head.levels == 8  # as many as x has, fewer than the paper's 16


def test_draws_given_a_grey_image(model):
    gray = np.zeros((2, 3, 4, 1), np.int32)
    with testing.eagerly():
        drawn, image = model.sample_parts(2, seed=0, auxiliary=[gray], jit_compile=False)
    np.testing.assert_array_equal(drawn, gray)
    assert image.shape == (2, 3, 4, 3)
    with pytest.raises(ValueError, match="auxiliary of part 'gray' must hold whole numbers from 0 to 3"):
        model.sample(2, auxiliary=[gray + 4])
    observed = np.zeros((3, 4, 3), bool)
    observed[0] = True
    with pytest.raises(ValueError, match="auxiliary must be given to complete, the values of .'gray'."):
        model.complete(image, observed)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"gray_bits": 4}, r"gray_bits must give at most the 8 levels of .*, got 4, which gives 16"),
        ({"gray_bits": 0}, "gray_bits must be an integer from 1 to 16, got 0"),
        ({"shape": (16,)}, "event_shape must be"),
        ({"head": tfar.heads.Categorical(8)}, "head must model whole pixels in a GrayscalePixelCNN"),
        ({"num_resolutions": 2}, r"divisible by 2 for num_resolutions=2, got \(3, 4, 1\)"),
        ({"gray_filters": 0}, "gray_filters must be at least 1, got 0"),
        ({"condition": tfar.conditions.Spatial(1)}, "condition must be a Label or Vector for GrayscalePixelCNN"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        tiny(**arguments)
