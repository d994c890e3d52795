"""Events of any length, and prompts."""

import inspect
import json

import numpy as np
import pytest

import tfar
from tfar.testing import eagerly, randomize_weights


@pytest.fixture(scope="module")
def model():
    model = tfar.models.CausalConvNet((None,), tfar.heads.Categorical(4), filters=4, num_layers=3)
    randomize_weights(model)
    return model


@pytest.fixture(scope="module")
def sampled(model):
    with eagerly():
        return model.sample(3, seed=0, length=9, jit_compile=False).numpy()


def test_one_set_of_weights_scores_and_draws_any_length(model):
    for length in (1, 5, 9):
        x = model.sample(3, seed=0, length=length, jit_compile=False)
        assert x.shape == model.score(x).shape == (3, length)
        np.testing.assert_allclose(model.log_prob(x), model.score(x).numpy().sum(1), rtol=1e-5)


def test_help_shows_the_constructor():
    assert list(inspect.signature(tfar.models.GatedPixelCNN).parameters)[:3] == ["event_shape", "head", "filters"]


def test_a_longer_sample_begins_with_the_shorter_one(model, sampled):
    short = model.sample(3, seed=0, length=5, jit_compile=False)
    np.testing.assert_array_equal(sampled[:, :5], short)


def test_incremental_equals_naive_for_a_given_length(model, sampled):
    np.testing.assert_array_equal(model.sample(3, seed=0, length=9, method="naive", jit_compile=False), sampled)


@pytest.mark.parametrize("size", [0, 1, 4, 9])
def test_a_prompt_is_continued_as_the_sample_that_begins_with_it(model, sampled, size):
    again = model.sample(3, seed=0, length=9, prompt=sampled[:, :size], jit_compile=False)
    np.testing.assert_array_equal(again, sampled)


def test_one_prompt_is_continued_in_every_row(model):
    x = model.sample(4, seed=0, length=9, prompt=[1, 2, 3], jit_compile=False).numpy()
    assert (x[:, :3] == [1, 2, 3]).all() and len({tuple(row) for row in x}) > 1


def test_complete_takes_its_length_from_the_event(model, sampled):
    x = sampled[:2, :7]  # a row is a function of its own seed, and begins as a longer one
    np.testing.assert_array_equal(model.complete(x, np.arange(7) < 3, seed=0, jit_compile=False), x)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({}, "length must be given to sample: this CausalConvNet"),
        ({"length": 0}, "length must be an integer of at least 1, got 0"),
        ({"length": 2, "prompt": [1, 2, 3]}, "length must cover the prompt of 3 values, got 2"),
        ({"length": 5, "prompt": [7]}, "prompt must hold whole numbers from 0 to 3 .* got 7"),
        ({"length": 5, "prompt": [[1], [2]]}, r"prompt must be .* \[n\] or \[3, n\], got \(2, 1\)"),
    ],
)
def test_bad_lengths_and_prompts(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        model.sample(3, **arguments)


def test_length_and_prompt_of_other_models_are_refused():
    image = tfar.models.from_preset("gated_pixel_cnn_tiny", event_shape=(2, 2, 1), head=tfar.heads.Bernoulli())
    with pytest.raises(ValueError, match=r"length is for models of any length; events are \(2, 2, 1\), got 4"):
        image.sample(1, length=4)
    with pytest.raises(ValueError, match="use complete for images"):
        image.sample(1, prompt=[1])
    with pytest.raises(ValueError, match="event_shape must be known"):
        tfar.models.CausalConvNet((None,), tfar.heads.Categorical(4), filters=4, num_layers=3).distribution()


def test_a_gap_is_named_whatever_the_length(model):
    with pytest.raises(ValueError, match=r"in example 0 position \(2,\) is missing although \(3,\)"):
        model.complete(np.zeros([1, 5], np.int32), np.array([1, 1, 0, 1, 0], bool))


# === Arguments of constructors ===


class Narrow(tfar.models.CausalConvNet):
    """Fixes an argument of its base, adds one, and passes on another one than it is given."""

    def __init__(self, event_shape, head, num_layers=2, factor=2, **kwargs):
        super().__init__(event_shape, head, 4, num_layers * factor, **kwargs)
        self._num_layers = num_layers


def test_arguments_are_kept_and_saved():
    model = Narrow((5,), tfar.heads.Categorical(3), 1, condition=tfar.conditions.Label(2), condition_dropout=0.5)
    assert (model.filters, model.num_layers, model.kernel_size, model.factor, model.receptive_field) == (4, 2, 2, 2, 4)
    config = json.loads(json.dumps(model.get_config()))
    assert set(config) == {"event_shape", "head", "num_layers", "factor", "condition", "condition_dropout", "name"}
    assert (config["event_shape"], config["num_layers"], config["condition_dropout"]) == ([5], 1, 0.5)
    assert json.loads(json.dumps(Narrow.from_config(config).get_config())) == config
