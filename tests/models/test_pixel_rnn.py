import itertools

import numpy as np
import pytest
import tensorflow as tf

import tfar
from tfar.testing import assert_normalized, dependencies, random_events, randomize_weights
from tfar.testing.blind import blind_of_row_lstm

CELLS = ("row_lstm", "diagonal_bilstm")


def jacobian(model) -> np.ndarray:
    """True where a flat position (target) depends on another (source), with any of a few random weights."""
    count = model.event.num_cells * model.event.groups
    seen = np.zeros((count, count), bool)
    for seed in range(3):
        randomize_weights(model, seed)
        encoded = model.encode(random_events(model, 4))
        encoded += tf.random.stateless_normal(encoded.shape, [seed, 0])
        seen |= (dependencies(model.decode, encoded, count, count) > 0).any(0)
    return seen


@pytest.mark.parametrize("first_kernel_size", [3, pytest.param(7, marks=pytest.mark.large)])
def test_diagonal_sees_every_previous_pixel(first_kernel_size):
    # With one layer, however wide the image: the last pixel of the row above, too.
    model = tfar.models.PixelRNN(
        (3, 9, 1), tfar.heads.Categorical(3), filters=6, num_layers=1, first_kernel_size=first_kernel_size
    )
    np.testing.assert_array_equal(jacobian(model), np.tri(27, k=-1, dtype=bool))


@pytest.mark.parametrize("channel_groups", ["interleaved", "contiguous"])
def test_diagonal_orders_the_colours(channel_groups):
    model = tfar.models.PixelRNN(
        (2, 4, 3),
        tfar.heads.Categorical(3),
        filters=6,
        num_layers=1,
        first_kernel_size=3,
        channel_groups=channel_groups,
    )
    np.testing.assert_array_equal(jacobian(model), np.tri(24, k=-1, dtype=bool))


@pytest.mark.parametrize("first_kernel_size, num_layers", [(3, 1), (7, 1), (3, 2)])
def test_row_lstm_sees_its_triangle(first_kernel_size, num_layers):
    model = tfar.models.PixelRNN(
        (4, 9, 1),
        tfar.heads.Categorical(3),
        "row_lstm",
        filters=6,
        num_layers=num_layers,
        first_kernel_size=first_kernel_size,
    )
    before = np.tri(36, k=-1, dtype=bool)
    seen = jacobian(model)
    assert not (seen & ~before).any()
    blind = {(int(t), int(s)) for t, s in np.argwhere(before & ~seen)}
    assert blind == blind_of_row_lstm(model)


def test_triangle_in_numbers():
    model = tfar.models.PixelRNN(
        (4, 9, 1), tfar.heads.Bernoulli(), "row_lstm", filters=2, num_layers=1, first_kernel_size=3
    )
    # The state (3, 4) sees, of row 3 - r, features up to column 4 + r, which know pixels one row above and one column
    # further, and of their own row the one before.
    blind = {(s // 9, s % 9) for t, s in blind_of_row_lstm(model) if t == 3 * 9 + 4}
    assert blind == {(2, 6), (2, 7), (2, 8), (1, 7), (1, 8), (0, 8), (2, 0), (3, 0), (3, 1)}


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    "shape, levels", [pytest.param((2, 2, 1), 2, marks=pytest.mark.large), ((2, 3, 1), 3), ((2, 2, 3), 2)]
)
def test_sums_to_one(cell, shape, levels):
    model = tfar.models.PixelRNN(shape, tfar.heads.Categorical(levels), cell, filters=4, num_layers=1, skip=True)
    randomize_weights(model)
    assert_normalized(model)


def counted(preset: str) -> int:
    """Weights of a preset: whole kernels, biases, initial states; written down, for 70 million are not built here."""
    given = tfar.models.PixelRNN.PRESETS[preset]
    h, layers, head, channels = given["filters"], given["num_layers"], given["head_filters"], given["event_shape"][2]
    outputs = channels * (256 if channels == 3 else 1)
    if given["cell"] == "row_lstm":
        layer = 3 * 2 * h * 4 * h + 3 * h * 4 * h + 4 * h + h  # input-to-state, state-to-state, bias, initial state
        layer += h * 2 * h + 2 * h  # 1 x 1
    else:
        layer = 2 * (2 * h * 4 * h + 2 * h * 4 * h + 4 * h + h)  # both directions
        layer += 2 * h * 2 * h + 2 * h
    first = 7 * 7 * channels * 2 * h + 2 * h
    return first + layers * layer + (2 * h + 1) * head + (head + 1) * head + (head + 1) * outputs


@pytest.mark.parametrize(
    "preset, weights",
    [
        ("pixel_rnn_mnist", 69_601),
        ("pixel_rnn_cifar10", 9_234_176),
        ("pixel_rnn_row_cifar10", 9_619_712),
        ("pixel_rnn_row_imagenet32", 70_010_112),
    ],
)
def test_parameters_of_the_papers_models(preset, weights):
    assert counted(preset) == weights
    if weights < 1e6:
        # Weights do not depend on the size of the image.
        assert tfar.models.from_preset(preset, event_shape=(2, 2, 1)).count_params() == weights


@pytest.mark.large
@pytest.mark.parametrize("preset", ["pixel_rnn_cifar10", "pixel_rnn_row_cifar10"])
def test_parameters_of_the_colour_models(preset):
    assert tfar.models.from_preset(preset).count_params() == counted(preset)


@pytest.mark.parametrize("cell", CELLS)
def test_formula_is_that_of_the_model(cell, monkeypatch):
    given = {"event_shape": (2, 2, 3), "head": tfar.heads.Categorical(256)}
    sizes = {"cell": cell, "filters": 3, "num_layers": 2, "head_filters": 5}
    monkeypatch.setitem(tfar.models.PixelRNN.PRESETS, "pixel_rnn_test", {**given, **sizes})
    assert tfar.models.from_preset("pixel_rnn_test").count_params() == counted("pixel_rnn_test")


@pytest.mark.parametrize(
    "condition, value",
    [
        (tfar.conditions.Label(3), [2]),
        (tfar.conditions.Vector(2), [[0.5, -1.0]]),
        (tfar.conditions.Spatial(2), np.ones((1, 3, 3, 2), np.float32)),
    ],
)
@pytest.mark.parametrize("cell", CELLS)
def test_condition_reaches_every_pixel(cell, condition, value):
    model = tfar.models.PixelRNN((3, 3, 1), tfar.heads.Bernoulli(), cell, filters=4, num_layers=2, condition=condition)
    randomize_weights(model)
    lstms = [lstm for block in model.network.blocks for lstm in block.lstms]
    assert {lstm.condition_kernel.shape[-1] for lstm in lstms} == {16}
    encoded = tf.zeros_like(model.encode(np.zeros((1, 3, 3, 1), np.int32)))
    context = model.context(model.request(value))
    without = context.without_condition()
    assert (np.abs(model.decode(encoded, context) - model.decode(encoded, without)) > 0).all()


def test_residual_and_skip_connections():
    def outputs(**kwargs):
        sizes = {"filters": 6, "num_layers": 2, **kwargs}
        model = tfar.models.PixelRNN((3, 3, 1), tfar.heads.Bernoulli(), "row_lstm", **sizes)
        randomize_weights(model)
        return model, model.decode(model.encode(np.zeros((1, 3, 3, 1), np.int32)))

    plain, without = outputs(residual=False)
    _, residual = outputs()
    skipping, _ = outputs(skip=True, residual=False)
    assert np.abs(without - residual).max() > 1e-4
    assert skipping.count_params() - plain.count_params() == 2 * (12 * 12 + 12)
    # What the last block does not give to the features, the skip of the first one still does.
    for model in (plain, skipping):
        model.network.blocks[1].expand[0].kernel.assign(tf.zeros([1, 1, 6, 12]))
    seen = [(dependencies(model.decode, tf.ones([1, 3, 3, 1])) > 0).any() for model in (plain, skipping)]
    assert seen == [False, True]


def stripes():
    """All images of four rows, each of one colour, 0 or 1."""
    rows = np.array(list(itertools.product([0, 1], repeat=4)), np.int32)
    return np.tile(rows[:, :, None, None], (1, 1, 4, 1))


@pytest.mark.parametrize("cell", ["row_lstm", pytest.param("diagonal_bilstm", marks=pytest.mark.large)])
def test_small_model_learns_the_entropy_of_stripes(cell, fit_table):
    # Rows of one colour, each 0 or 1 at random: ln 2 nats per row and nothing more.
    x = stripes()
    model = tfar.models.PixelRNN((4, 4, 1), tfar.heads.Bernoulli(), cell, filters=4, num_layers=1, first_kernel_size=3)
    fit_table(model, x, np.full(len(x), 1 / len(x)), steps=150, rate=0.02)
    nats = -model.log_prob(x).numpy().mean()
    assert 4 * np.log(2) - 0.05 < nats < 4 * np.log(2) + 0.15


@pytest.mark.parametrize(
    "argument, message",
    [
        ({"cell": "gru"}, "cell must be one of .* got 'gru'"),
        ({"num_layers": 0}, "num_layers must be at least 1, got 0"),
        ({"event_shape": (3, 3, 3), "head": tfar.heads.Categorical(2), "filters": 2}, "filters must be at least .* 3"),
        ({"event_shape": (3, 3)}, "event_shape must be"),
    ],
)
def test_wrong_arguments_are_named(argument, message):
    with pytest.raises(ValueError, match=message):
        tfar.models.PixelRNN(**{"event_shape": (3, 3, 1), "head": tfar.heads.Bernoulli(), **argument})
