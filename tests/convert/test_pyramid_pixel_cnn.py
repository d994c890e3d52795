"""Weights of the authors' Pyramid PixelCNN give its U-Net's features and its outputs at both scales."""

import pathlib

import numpy as np
import pytest

import tfar
from tfar.convert import from_pyramid_pixel_cnn

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"


def model_for(**kwargs):
    sizes = {"num_doublings": 1, "filters": 6, "num_resnets": 3, "unet_stages": 2, "unet_resnets": 2, **kwargs}
    return tfar.models.PyramidPixelCNN((16, 16, 3), tfar.heads.DiscretizedLogisticMixture(2), **sizes)


@pytest.fixture(scope="module")
def fixture():
    return dict(np.load(GOLDEN / "pyramid_tiny.npz"))


@pytest.fixture(scope="module")
def model(fixture):
    return from_pyramid_pixel_cnn(fixture, model_for())


def levels(x):
    return np.rint(x * 127.5 + 127.5).astype(np.int32)


def test_features_and_outputs(fixture, model):
    x, coarser = fixture["x_u8"].astype(np.int32), levels(fixture["scale1/x"])
    np.testing.assert_array_equal(x, levels(fixture["scale0/x"]))
    top, image = model.parts
    found = {
        "scale1/out": top.params(coarser),
        "scale0/cond": image.context([coarser]).condition,
        "scale0/out": image.params(x, image.context([coarser])),
    }
    for name, value in found.items():
        expected = fixture[name]
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max(), err_msg=name)
    with tfar.testing.eagerly():
        nats = model.part_log_probs(x, auxiliary=[coarser]).numpy()
    for index, (part, y, name) in enumerate(((top, coarser, "scale1/out"), (image, x, "scale0/out"))):
        own = part.model.head.log_prob(fixture[name], y)
        np.testing.assert_allclose(nats[:, index], np.sum(own, (1, 2)), rtol=1e-5)


def test_averages_differ_in_ties_alone(fixture, model):
    x, given = fixture["x_u8"].astype(np.int64), levels(fixture["scale1/x"])
    found = model.parts[0].view.take(x).numpy()
    total = x.reshape(2, 8, 2, 8, 2, 3).sum((2, 4))
    ties = total % 4 == 2
    assert ties.sum() > 90 and (found != given).sum() <= 1
    np.testing.assert_array_equal(found[~ties], given[~ties])
    np.testing.assert_array_equal(found, np.rint(total / 4))  # which rounds halves to the even one, exactly


def test_mismatch_is_named(fixture, model):
    weights = {name[2:]: value for name, value in fixture.items() if name.startswith("w/")}
    missing = {name: value for name, value in weights.items() if "scale0/upsample1/g" not in name}
    with pytest.raises(ValueError, match="arrays must hold 'scale0/upsample1/g' of kolesman/FaceGeneration"):
        from_pyramid_pixel_cnn(missing, model)
    with pytest.raises(ValueError, match="'scale2/conv_down/V' of kolesman/FaceGeneration belongs nowhere"):
        from_pyramid_pixel_cnn({**weights, "scale2/conv_down/V:0": np.zeros([2, 3, 4, 6])}, model)
    with pytest.raises(ValueError, match=r"scale0/conv_first/V.*\(3, 3, 3, 6\).*build the model with another filters"):
        from_pyramid_pixel_cnn(weights, model_for(filters=4, num_resnets=1, unet_stages=1, unet_resnets=1))


@pytest.mark.large
def test_the_published_sizes():
    head = tfar.heads.DiscretizedLogisticMixture(10)
    model = tfar.models.PyramidPixelCNN((16, 16, 3), head, num_doublings=1)
    top, image = (sum(weight.shape.num_elements() for weight in part.trainable_variables) for part in model.parts)
    assert (top, image) == (3_319_400, 9_290_500)
