"""Functions of an event that are drawn before it."""

import numpy as np
import pytest
import tensorflow as tf

from tfar.core.auxiliary_views import Averages, Gray


def images(levels, shape, seed=0):
    return np.random.default_rng(seed).integers(0, levels, shape)


def test_gray_is_luminance_in_few_levels():
    x = images(256, (4, 5, 6, 3))
    luminance = x @ np.array([299, 587, 114]) / 1000
    np.testing.assert_array_equal(Gray(256, 16).take(x.astype(np.uint8))[..., 0], luminance // 16)
    every = np.arange(256).reshape(1, 16, 16, 1).repeat(3, -1)
    assert np.bincount(Gray(256, 16).take(every).numpy().reshape(-1)).tolist() == [16] * 16
    # Of other channels the mean; as many levels of one channel are the image itself.
    two = images(17, (2, 3, 3, 2))
    np.testing.assert_array_equal(Gray(17, 4).take(two)[..., 0], two.sum(-1) * 4 // 34)
    np.testing.assert_array_equal(Gray(17, 17).take(two[..., :1]), two[..., :1])


def test_averages_are_rounded_halves_to_even():
    for levels, own, factor in ((256, None, 2), (2, 5, 2), (2, 5, 4), (17, 4, 4), (256, 256, 8), (65536, None, 8)):
        x = images(levels, (2, 8, 16, 3))
        mean = x.reshape(2, 8 // factor, factor, 16 // factor, factor, 3).mean((2, 4))
        # Sums are exact in float64; one that is scaled by no power of 2 is no tie.
        expected = np.rint(mean * ((own or levels) - 1) / (levels - 1))
        np.testing.assert_array_equal(Averages(factor, levels, own).take(x), expected)
    assert Averages(2, 2, 5).take(np.array([[[[1], [0]], [[1], [1]]]])).numpy().tolist() == [[[[3]]]]
    graph = tf.function(Averages(2, 256).take, autograph=False, jit_compile=True)
    x = images(256, (1, 4, 4, 1)).astype(np.uint8)
    np.testing.assert_array_equal(graph(tf.constant(x)), Averages(2, 256).take(x))


def test_nats_are_spread_evenly():
    score = images(8, (2, 2, 3)).astype(np.float32)
    for canvas, divisor in (((4, 6), 4), ((4, 6, 3), 12)):
        found = Averages(2, 2).spread(score, canvas).numpy()
        assert found.shape == (2, *canvas)
        np.testing.assert_allclose(
            found.reshape(2, 2, 2, 3, 2, -1),
            np.reshape(score / divisor, (2, 2, 1, 3, 1, 1)) + 0 * found.reshape(2, 2, 2, 3, 2, -1),
        )
    colours = images(8, (2, 2, 3, 3)).astype(np.float32)  # each channel lies on its own one
    np.testing.assert_allclose(Averages(2, 2).spread(colours, (4, 6, 3)).numpy()[:, ::2, 1::2], colours / 4)
    np.testing.assert_allclose(Gray(4, 2).spread(score[..., None], (2, 3)), score)
    np.testing.assert_allclose(Gray(4, 2).spread(score[..., None], (2, 3, 3)).numpy().sum(-1), score, rtol=1e-6)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="gray_levels must be an integer from 2 to 4, got 8"):
        Gray(4, 8)
    with pytest.raises(ValueError, match="factor must be an integer of at least 1, got 0"):
        Averages(0, 2)
    with pytest.raises(ValueError, match=r"factor must divide height and width \(4, 6\), got 4"):
        Averages(4, 2).take(np.zeros((1, 4, 6, 1)))
