"""From frames to elements."""

import numpy as np
import pytest
import tensorflow as tf

from tfar.layers import Upsampling1D

FRAMES = tf.constant([[[1.0, -1.0], [3.0, 5.0], [2.0, 0.0]]])


def test_repeat():
    y = Upsampling1D(4)(FRAMES)
    np.testing.assert_array_equal(y, np.repeat(FRAMES, 4, 1))


@pytest.mark.parametrize("hop", [2, 4])
def test_transposed_begins_as_linear_interpolation(hop):
    y = Upsampling1D(hop, "transposed")(FRAMES).numpy()[0]
    assert y.shape == (3 * hop, 2)
    # Between the middles of frames; beyond the first and the last middle the ends fade out.
    middles = hop * np.arange(3) + (hop - 1) / 2
    times = np.arange(3 * hop)
    inner = (times >= middles[0]) & (times <= middles[-1])
    for channel in range(2):
        expected = np.interp(times, middles, FRAMES.numpy()[0, :, channel])
        np.testing.assert_allclose(y[inner, channel], expected[inner], rtol=1e-6)
    assert Upsampling1D(3, "transposed")(FRAMES).shape == (1, 9, 2)


def test_stretch_begins_as_a_mean():
    y = Upsampling1D(6, "stretch", (2, 3))(tf.ones([1, 5, 2])).numpy()[0, :, 0]
    assert y.shape == (30,)
    np.testing.assert_allclose(y[9:-9], 1.0, rtol=1e-6)
    assert y[0] < 1


def test_first_kernel_uses_up_frames():
    layer = Upsampling1D(2, first_kernel=3)
    assert layer.num_extra_frames == 2
    assert layer(FRAMES).shape == (1, 2, 2)
    assert layer.compute_output_shape((1, 3, 2)) == (1, 2, 2)


def test_errors():
    with pytest.raises(ValueError, match="method must be one of"):
        Upsampling1D(2, "cubic")
    with pytest.raises(ValueError, match="scales must be positive numbers whose product is hop=4"):
        Upsampling1D(4, "stretch", (2, 3))
    with pytest.raises(ValueError, match="channel_kernel must be odd, got 2"):
        Upsampling1D(4, "stretch", channel_kernel=2)
