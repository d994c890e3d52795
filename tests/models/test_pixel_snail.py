"""PixelSNAIL: sizes, the full field of view, bad arguments."""

import numpy as np
import pytest

import tfar
from tfar import heads, testing


def tiny(event_shape=(4, 4, 3), head=None, **kwargs):
    sizes = {"filters": 4, "num_blocks": 1, "num_resnets": 1, "key_dim": 3, "dropout": 0.0}
    return tfar.models.PixelSNAIL(event_shape, head or heads.DiscretizedLogisticMixture(2), **{**sizes, **kwargs})


@pytest.mark.large
@pytest.mark.parametrize(("preset", "count"), [("cifar10", 46_180_788), ("imagenet32", 46_237_548)])
def test_parameters_of_the_paper(preset, count):
    assert tfar.models.from_preset(f"pixel_snail_{preset}").count_params() == count


def test_parameters_have_10_numbers_per_mixture():
    assert tiny()(np.zeros((2, 4, 4, 3), np.uint8)).shape == (2, 4, 4, 20)


def test_one_block_sees_everything_before():
    model = tiny((6, 6, 1))
    testing.randomize_weights(model)
    testing.assert_causal(model)


def test_pooling_has_no_weights_and_another_function():
    plain, pooled = tiny(), tiny(attention_downsample=2)
    testing.randomize_weights(plain)
    pooled.set_weights(plain.get_weights())
    x = testing.random_events(plain, 1)
    assert np.abs(plain(x) - pooled(x)).max() > 1e-3


def test_refuses_wrong_arguments():
    with pytest.raises(ValueError, match="head must model whole pixels in a PixelSNAIL"):
        tiny(head=heads.Categorical(256))
    with pytest.raises(ValueError, match=r"downsample must divide height and width \(4, 4\), got 3"):
        tiny(attention_downsample=3)
    with pytest.raises(ValueError, match="key_dim must be at least 1, got 0"):
        tiny(key_dim=0)
