"""Arguments that cannot be meant: one line, the argument named."""

import numpy as np
import pytest
import tensorflow as tf

import tfar
from tests.models.test_trained import refused

CATEGORICAL = tfar.heads.Categorical(4)


@pytest.fixture(scope="module")
def model():
    return tfar.models.CausalConvNet((6,), CATEGORICAL, filters=4, num_layers=2, condition=tfar.conditions.Label(3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"head": "bernoulli"},
            "head must be a head of tfar.heads, Bernoulli() or Categorical(256) say, got 'bernoulli'",
        ),
        (
            {"head": tfar.heads.Bernoulli},
            "head must be a head of tfar.heads, Bernoulli() or Categorical(256) say, got Bernoulli",
        ),
        ({"event_shape": 6}, "event_shape must be (height, width, channels) or (length,), got 6"),
        ({"event_shape": "abc"}, "event_shape must be (height, width, channels) or (length,), got 'abc'"),
        (
            {"event_shape": (4.0, 4, 1)},
            "event_shape must be (height, width, channels) or (length,) of integers, got (4.0,",
        ),
        ({"filters": 4.0}, "filters must be an integer, got 4.0"),
        ({"filters": True}, "filters must be an integer, got True"),
        ({"filters": "8"}, "filters must be an integer, got '8'"),
        ({"filters": -1}, "filters must not be negative, got -1"),
    ],
)
@pytest.mark.parametrize("kind", ["GatedPixelCNN", "PixelCNN", "PixelCNNPP"])
def test_constructors(kind, arguments, message):
    given = {"event_shape": (4, 4, 1), "head": CATEGORICAL, **arguments}
    refused(lambda: getattr(tfar.models, kind)(**given), message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": "a"}, "seed must be an int, None or an int64 array of shape (2, 2), got 'a'"),
        ({"seed": 0.5}, "seed must be an int, None or an int64 array of shape (2, 2), got 0.5"),
        ({"seed": [[0.5, 1], [2, 3]]}, "seed must be an int, None or an int64 array of shape (2, 2), got float32"),
        ({"progress": True}, "progress must be a function of (units done, units in all), or None, got True"),
        ({"condition": [None] * 2}, "condition must be one array of numbers, got list with None or other objects"),
        ({"condition": [[1], [1, 2]]}, "condition must be one array of numbers, got list with rows of several lengths"),
        ({"condition": ["a", "b"]}, "condition must be one array of numbers, got string"),
        ({"prompt": "KING"}, "prompt must be the first values of a sequence, not text: encode it with the vocabulary"),
    ],
)
def test_samples(model, arguments, message):
    refused(lambda: model.sample(2, **{"condition": 1, **arguments}), message)


def test_prompts_of_a_model_with_a_vocabulary(model):
    model.text_vocabulary = object()
    refused(
        lambda: model.sample(2, 1, prompt="KING"),
        "prompt must be the first values of a sequence, not text: model.text_vocabulary.encode('KING')",
    )
    model.text_vocabulary = None


@pytest.mark.parametrize("method", ["log_prob", "score", "bits_per_dim"])
def test_events(model, method):
    refused(
        lambda: getattr(model, method)([[1, 2], [3]], [0, 1]), "x must be one array of numbers, got list with rows of"
    )
    refused(lambda: getattr(model, method)([[None] * 6], [0]), "x must be one array of numbers, got list with None")
    ragged = tf.ragged.constant([[1], [1, 2]])
    refused(lambda: getattr(model, method)(ragged, [0, 1]), "x must be one array of numbers, got RaggedTensor")


# === One tap, and frames ===


@pytest.mark.parametrize("kind", ["CausalConvNet", "WaveNet"])
def test_convolutions_of_one_tap_draw_the_same_by_steps(kind):
    sizes = (
        {"filters": 3, "num_layers": 2}
        if kind == "CausalConvNet"
        else dict.fromkeys(("residual_channels", "dilation_channels", "skip_channels"), 3)
        | {"num_stacks": 1, "layers_per_stack": 2}
    )
    model = getattr(tfar.models, kind)((5,), CATEGORICAL, kernel_size=1, **sizes)
    tfar.testing.randomize_weights(model)
    assert model.receptive_field == 1
    draws = [model.sample(4, seed=0, method=method, jit_compile=False).numpy() for method in ("incremental", "naive")]
    np.testing.assert_array_equal(*draws)


def test_wavenet_counts_the_frames_of_its_upsampling():
    condition = tfar.conditions.Local(2, hop=2)
    sizes = dict.fromkeys(("residual_channels", "dilation_channels", "skip_channels"), 3)
    model = tfar.models.WaveNet(
        (6,),
        CATEGORICAL,
        **sizes,
        num_stacks=1,
        layers_per_stack=2,
        condition=condition,
        upsampling={"method": "repeat", "first_kernel": 3},
    )
    tfar.testing.randomize_weights(model)
    assert condition.num_frames(6) == 3 and model.condition.num_frames(6) == 5 and model.condition == condition
    x = np.zeros([2, 6], np.int32)
    assert model.log_prob(x, np.ones([2, 5, 2], np.float32)).shape == (2,)
    refused(
        lambda: model.log_prob(x, np.ones([2, 4, 2], np.float32)),
        "condition must have 5 frames or more for 6 elements and hop 2 (2 of them for the up-sampling), got 4",
    )
    again = tfar.models.WaveNet.from_config(model.get_config())
    assert again.condition.num_frames(6) == 5
