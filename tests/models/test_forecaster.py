"""Forecasts are distilled from a model's own conditionals, save passes, and leave the sample as it is."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfar import conditions, heads, models, testing
from tfar.models.forecaster import Forecaster


@pytest.fixture(scope="module")
def model():
    """Symbol t + 1 follows symbol t with near certainty, and a few symbols may come first."""
    keras.utils.set_random_seed(0)
    model = models.CausalConvNet((12,), heads.Categorical(6), filters=8, num_layers=1, kernel_size=2, embedding_dim=4)
    model.compile(keras.optimizers.Adam(0.05), jit_compile=False)
    events = (np.arange(6)[:, None] + np.arange(12)) % 6
    model.fit(tf.data.Dataset.from_tensors({"x": events.astype(np.int32)}).repeat(60), verbose=0)
    return model


@pytest.fixture(scope="module")
def forecaster(model):
    keras.utils.set_random_seed(0)
    made = Forecaster.of(model, reach=6, filters=16, num_layers=2)
    events = (np.arange(6)[:, None] + np.arange(12)) % 6
    before = made.distill(model, events.astype(np.int32), steps=1, learning_rate=1e-6)
    after = made.distill(model, events.astype(np.int32), steps=60, learning_rate=2e-2)
    assert after < before / 2
    return made


def test_forecasts_save_passes(model, forecaster, tmp_path):
    common = {"seed": 0, "method": "fixed_point", "block": 6, "return_passes": True, "jit_compile": False}
    x, without = model.sample(8, batch_size=8, **common)
    same, with_forecasts = model.sample(8, batch_size=8, forecaster=forecaster, **common)
    np.testing.assert_array_equal(same, x)
    assert without.per_block[0, 1] >= 5, "a cycle makes one more symbol right in every pass"
    assert with_forecasts.per_block[0, 1] <= 3, "what follows the first block is certain"
    forecaster.save(tmp_path / "forecaster.keras")
    loaded = keras.saving.load_model(tmp_path / "forecaster.keras")
    cells = model.encode(x)
    np.testing.assert_allclose(loaded(cells), forecaster(cells), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("block", [pytest.param(1, marks=pytest.mark.large), 4])
def test_forecasts_of_conditional_images_change_no_sample(block):
    model = models.GatedPixelCNN(
        (4, 4, 3), heads.Categorical(3), filters=3, num_blocks=1, condition=conditions.Label(2)
    )
    testing.randomize_weights(model)
    forecaster = Forecaster.of(model, reach=5, filters=4, num_layers=1)
    testing.randomize_weights(forecaster)
    with testing.eagerly():
        common = {"seed": 0, "method": "fixed_point", "block": block}
        x = model.sample(2, [0, 1], **common)
        np.testing.assert_array_equal(model.sample(2, [0, 1], forecaster=forecaster, **common), x)
        observed = np.arange(48).reshape(4, 4, 3) < 17
        again = model.complete(x, observed, [0, 1], forecaster=forecaster, **common)
        np.testing.assert_array_equal(again, x)


def test_forecasts_of_whole_pixels_are_distilled_from_values():
    model = models.MADE((2, 2, 3), heads.DiscretizedLogisticMixture(2, bits=3), hidden=(8,))
    testing.randomize_weights(model)
    forecaster = Forecaster.of(model, reach=2, filters=4, num_layers=1)
    x = testing.random_events(model, 16)
    with testing.eagerly():
        losses = [forecaster.distill(model, x, steps=steps, learning_rate=0.05) for steps in (1, 10)]
    assert np.isfinite(losses).all() and losses[1] < losses[0]


def test_refuses(model, forecaster):
    other = models.MADE((6,), heads.Categorical(4), hidden=(8,))
    with pytest.raises(
        ValueError, match="must be made for a model of sequences with 4 outputs per cell, got one for seq"
    ):
        other.sample(1, seed=0, method="fixed_point", forecaster=forecaster)
    with pytest.raises(ValueError, match="forecaster must be a tfar.models.forecaster.Forecaster, got 3"):
        model.sample(1, seed=0, method="fixed_point", forecaster=3)
    with pytest.raises(ValueError, match="forecaster is for method='fixed_point', got forecaster=3 with 'incremental'"):
        model.sample(1, seed=0, forecaster=3)
    with pytest.raises(ValueError, match="reach must be at least 1, got 0"):
        Forecaster.of(model, reach=0)
    with pytest.raises(ValueError, match="x must have shape"):
        forecaster.distill(model, np.zeros([4, 3], np.int32))
