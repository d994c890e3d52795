import re

import numpy as np
import pytest

from tfar import testing


def test_stages_show_what_is_known(example):
    module = example("coarse_to_fine", "--filters=2")
    multiscale, pyramid = module.models(17)
    with testing.eagerly():
        values = multiscale.split(testing.random_events(multiscale, 2))
        shown = module.stages(multiscale, values)
        unknown = [(image == module.UNKNOWN).all(-1) for image in shown]
        assert [mask.sum() // 2 for mask in unknown] == [60, 56, 52, 48, 32, 16, 0]
        whole = multiscale.merge(values).numpy()
        np.testing.assert_array_equal(shown[-1][..., :1], np.rint(whole * (255 / 16)))
        values = pyramid.split(testing.random_events(pyramid, 2))
        coarse, middle, image = module.stages(pyramid, values)
    assert coarse.shape == middle.shape == image.shape == (2, 8, 8, 3)
    assert (coarse[:, :4, :4] == coarse[:, :1, :1]).all() and (middle[:, :2, :2] == middle[:, :1, :1]).all()
    np.testing.assert_array_equal(image[..., :1], np.rint(values[-1].numpy() * (255 / 16)))


@pytest.mark.large
def test_the_command(example):
    out = example("coarse_to_fine", "--steps=200", "--filters=12").run()
    bits = [float(each) for each in re.findall(r"(\d\.\d{3}) bits/dim", out)]
    assert len(bits) == 2 and max(bits) < 2.6  # uniform values score 4.09, independent pixels 2.42
    assert "a bound: with its averages; 84 passes" in out
