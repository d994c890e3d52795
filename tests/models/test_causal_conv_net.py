import itertools

import numpy as np
import pytest
import tensorflow as tf

import tfar
from tests.closeness import assert_close
from tfar.testing import assert_incremental_matches_parallel, dependencies, random_events, randomize_weights
from tfar.testing.blind import blind_of_causal_conv_net


def net(length=12, levels=4, **kwargs):
    model = tfar.models.CausalConvNet((length,), tfar.heads.Categorical(levels), **{"filters": 6, **kwargs})
    randomize_weights(model)
    return model


@pytest.mark.parametrize(
    "arguments, receptive_field",
    [
        ({"num_layers": 4, "dilations": "linear"}, 5),  # figure 2 of WaveNet
        ({"num_layers": 4, "dilations": "exponential"}, 16),  # figure 3
        ({"num_layers": 3, "kernel_size": 3, "dilations": "linear", "activation": "relu"}, 7),  # 1 + L (k - 1)
        ({"num_layers": 3, "kernel_size": 3, "dilations": [1, 3, 1], "activation": "relu"}, 11),
        ({"num_layers": 1, "kernel_size": 4}, 4),
    ],
)
def test_sees_its_receptive_field_and_nothing_else(arguments, receptive_field):
    model = net(20, **arguments)
    assert model.receptive_field == receptive_field
    seen = (dependencies(model.decode, model.encode(random_events(model, 16))) > 0).any(0)
    distance = np.subtract.outer(np.arange(20), np.arange(20))
    np.testing.assert_array_equal(seen, (distance >= 1) & (distance <= receptive_field))
    blind = blind_of_causal_conv_net(model)
    assert blind == {(int(t), int(s)) for t, s in np.argwhere(distance > receptive_field)}


def test_holes_between_the_taps_are_blind():
    # Taps 1, 4, 7 back in the first layer and 0, 3 further in the second: nothing in between.
    model = net(14, num_layers=2, kernel_size=2, dilations=[3, 6])
    seen = (dependencies(model.decode, model.encode(random_events(model, 8))) > 0).any(0)
    assert set(13 - np.flatnonzero(seen[13])) == {1, 4, 7, 10}
    before = np.tri(14, k=-1, dtype=bool)
    assert blind_of_causal_conv_net(model) == {(int(t), int(s)) for t, s in np.argwhere(before & ~seen)}


@pytest.mark.parametrize("activation", ["gated", "relu"])
def test_prefix_invariance(activation):
    model = net(None, num_layers=4, activation=activation)
    x = random_events(model, 2, length=17)
    whole = model(x).numpy()
    for length in (1, 2, 9, 16):
        assert_close(model(x[:, :length]), whole[:, :length], 1e-6)


def test_any_length_from_one_set_of_weights():
    model = net(None, num_layers=3, condition=tfar.conditions.Label(3))
    x = random_events(model, 2, length=20)
    labels = tf.constant([0, 2])
    for length in (1, 20):
        fixed = net(length, num_layers=3, condition=tfar.conditions.Label(3))
        fixed.set_weights(model.get_weights())
        expected = fixed.score(x[:, :length], labels)
        assert expected.shape == (2, length)
        assert_close(model.score(x[:, :length], labels), expected, 1e-6)
        np.testing.assert_allclose(model.log_prob(x[:, :length], labels), fixed.log_prob(x[:, :length], labels), 1e-6)
    assert tuple(model.conditionals(x, labels).prob(1).shape) == (2, 20)


def test_number_of_weights_does_not_depend_on_the_length():
    counts = {net(length, num_layers=2).count_params() for length in (3, 300, None)}
    assert len(counts) == 1


@pytest.mark.parametrize("activation", ["gated", "relu"])
def test_condition_reaches_every_element(activation):
    model = net(6, num_layers=2, activation=activation, condition=tfar.conditions.Vector(3))
    x = random_events(model, 1)
    one, other = (model(x, tf.constant([[value] * 3])).numpy() for value in (0.5, -0.5))
    assert (np.abs(one - other).max(-1) > 1e-5).all()


def test_image_as_a_sequence():
    model = tfar.models.CausalConvNet((3, 3, 2), tfar.heads.Categorical(3), filters=4, num_layers=5)
    randomize_weights(model)
    x = random_events(model, 2)
    assert tuple(model.score(x).shape) == (2, 3, 3, 2)
    seen = (dependencies(model.decode, model.encode(x)) > 0).any(0)
    np.testing.assert_array_equal(seen, np.tri(18, k=-1, dtype=bool))


def test_long_ring_buffers():
    # The event is several times as long as the greatest dilation.
    model = net(40, num_layers=3, dilations="exponential")
    blocks = [(0, 1), (0, 13), (5, 20)]
    assert assert_incremental_matches_parallel(model, modes=("eager",), blocks=blocks) < 1e-5


def test_learns_a_deterministic_sequence(fit_table):
    # x_t = x_(t-1) + x_(t-2) mod 5: only the first two elements cost anything.
    x = np.zeros((25, 12), np.int32)
    x[:, :2] = list(itertools.product(range(5), repeat=2))
    for t in range(2, 12):
        x[:, t] = (x[:, t - 1] + x[:, t - 2]) % 5
    model = tfar.models.CausalConvNet(
        (12,), tfar.heads.Categorical(5), filters=24, num_layers=2, embedding_dim=8, activation="relu"
    )
    fit_table(model, x, np.full(25, 1 / 25), steps=150)
    score = -model.score(x).numpy().mean(0)
    assert score[:2].sum() == pytest.approx(2 * np.log(5), abs=0.1)
    assert score[2:].sum() < 0.5


def test_presets_have_the_receptive_fields_of_the_figures():
    for name, receptive_field in (("figure2", 5), ("figure3", 16)):
        preset = f"causal_conv_net_wavenet_{name}"
        model = tfar.models.from_preset(preset, event_shape=(20,), head=tfar.heads.Categorical(4))
        assert model.receptive_field == receptive_field


@pytest.mark.parametrize(
    "argument, message",
    [
        ({"num_layers": 0}, "num_layers must be at least 1, got 0"),
        ({"dilations": "cubic"}, "dilations must be one of .* got 'cubic'"),
        ({"dilations": [1, 2], "num_layers": 3}, r"dilations must be 3 positive numbers, one per layer, got \[1, 2\]"),
        ({"activation": "elu"}, "activation must be one of .* got 'elu'"),
        ({"condition": tfar.conditions.Spatial(2)}, "condition must be a Label or a Vector"),
        ({"kernel_size": 0}, "kernel_size must be at least 1, got 0"),
    ],
)
def test_wrong_arguments_are_named(argument, message):
    with pytest.raises(ValueError, match=message):
        tfar.models.CausalConvNet((4,), tfar.heads.Categorical(2), **argument)
