import itertools

import numpy as np
import pytest
import tensorflow as tf

import tfar
from tfar.testing import dependencies, random_events, randomize_weights
from tfar.testing.blind import blind_of_masked_convolutions, blind_of_pixel_cnn


def jacobian(model) -> np.ndarray:
    """True where a flat position (target) depends on another (source)."""
    count = model.event.num_cells * model.event.groups
    return (dependencies(model.decode, model.encode(random_events(model, 32)), count, count) > 0).any(0)


@pytest.mark.parametrize(
    ("num_blocks", "first_kernel_size"),
    [
        (1, 7),
        (3, 3),
        pytest.param(1, 3, marks=pytest.mark.large),
        pytest.param(3, 7, marks=pytest.mark.large),
    ],
)
def test_blind_spot_is_what_the_kernel_sizes_say(first_kernel_size, num_blocks):
    model = tfar.models.PixelCNN(
        (7, 7, 1),
        tfar.heads.Categorical(3),
        filters=8,
        num_blocks=num_blocks,
        first_kernel_size=first_kernel_size,
    )
    randomize_weights(model)
    before = np.tri(49, k=-1, dtype=bool)
    not_seen = before & ~jacobian(model)
    assert {(int(t), int(s)) for t, s in np.argwhere(not_seen)} == blind_of_pixel_cnn(model)


def test_blind_spot_of_3x3_kernels_stays_however_deep_the_stack():
    # Pixel (i - r, j + c) is never seen where c > r; everything else is, with enough layers.
    expected = {
        (7 * i + j, 7 * (i - r) + j + c)
        for i in range(7)
        for j in range(7)
        for r in range(1, i + 1)
        for c in range(r + 1, 7 - j)
    }
    assert blind_of_masked_convolutions(7, 7, 1, 3, [3] * 12) == expected
    # A 7 x 7 mask A sees two columns further, and no deeper stack more.
    wide = blind_of_masked_convolutions(7, 7, 1, 7, [3] * 12)
    assert wide == {(t, s) for t, s in expected if s % 7 - t % 7 > t // 7 - s // 7 + 2}


@pytest.mark.parametrize("size, fraction", [(5, 0.117), (9, 0.169), (13, 0.191)])
def test_up_to_a_quarter_of_the_field_is_blind(size, fraction):
    # Averaged over the pixels of an image; the greater the image, the nearer to a quarter.
    blind = blind_of_masked_convolutions(size, size, 1, 3, [3] * 2 * size)
    cells = size * size
    assert len(blind) / (cells * (cells - 1) / 2) == pytest.approx(fraction, abs=1e-3)


@pytest.mark.parametrize("channel_groups", ["interleaved", "contiguous"])
def test_colours_of_a_pixel_are_ordered(channel_groups):
    model = tfar.models.PixelCNN(
        (2, 2, 3), tfar.heads.Categorical(3), filters=6, num_blocks=1, channel_groups=channel_groups
    )
    randomize_weights(model)
    np.testing.assert_array_equal(jacobian(model), np.tri(12, k=-1, dtype=bool))


def test_parameters_of_the_cifar10_model():
    model = tfar.models.from_preset(
        "pixel_cnn_cifar10", event_shape=(4, 4, 3)
    )  # weights do not depend on height and width
    # 7 x 7 mask A, 15 blocks, two layers of 1024, the logits; whole kernels and biases.
    first = 7 * 7 * 3 * 256 + 256
    block = (256 * 128 + 128) + (3 * 3 * 128 * 128 + 128) + (128 * 256 + 256)
    head = (256 * 1024 + 1024) + (1024 * 1024 + 1024) + (1024 * 768 + 768)
    assert model.count_params() == first + 15 * block + head == 5_340_416


@pytest.mark.parametrize(
    "condition, value, shape",
    [
        (tfar.conditions.Label(3), [2], (3, 4)),
        (tfar.conditions.Vector(2), [[0.5, -1.0]], (2, 4)),
        (tfar.conditions.Spatial(2), np.ones((1, 3, 3, 2), np.float32), (1, 1, 2, 4)),
    ],
)
def test_condition_reaches_every_pixel(condition, value, shape):
    model = tfar.models.PixelCNN((3, 3, 1), tfar.heads.Bernoulli(), filters=4, num_blocks=2, condition=condition)
    randomize_weights(model)
    kernels = [block.condition.kernel for block in model.network.blocks]
    assert [tuple(kernel.shape) for kernel in kernels] == [shape, shape]
    x = np.zeros((1, 3, 3, 1), np.int32)
    encoded = tf.zeros_like(model.encode(x))
    context = model.context(model.request(value))
    without = context.without_condition()
    assert (np.abs(model.decode(encoded, context) - model.decode(encoded, without)) > 0).all()


def stripes():
    """All images of four rows, each of one colour, 0 or 1."""
    rows = np.array(list(itertools.product([0, 1], repeat=4)), np.int32)
    return np.tile(rows[:, :, None, None], (1, 1, 4, 1))


def test_small_model_learns_the_entropy_of_stripes(fit_table):
    # Rows of one colour, each 0 or 1 at random: ln 2 nats per row and nothing more.
    x = stripes()
    model = tfar.models.PixelCNN((4, 4, 1), tfar.heads.Bernoulli(), filters=8, num_blocks=1, first_kernel_size=3)
    fit_table(model, x, np.full(len(x), 1 / len(x)), steps=150, rate=0.02)
    nats = -model.log_prob(x).numpy().mean()
    assert 4 * np.log(2) - 0.05 < nats < 4 * np.log(2) + 0.15


@pytest.mark.parametrize(
    "argument, message",
    [
        ({"event_shape": (3, 3, 3), "head": tfar.heads.Categorical(2), "filters": 2}, "filters must be at least .* 3"),
        ({"num_blocks": 0, "condition": tfar.conditions.Label(2)}, "num_blocks must be at least 1 with a condition"),
        ({"event_shape": (3, 3)}, "event_shape must be"),
    ],
)
def test_wrong_arguments_are_named(argument, message):
    with pytest.raises(ValueError, match=message):
        tfar.models.PixelCNN(**{"event_shape": (3, 3, 1), "head": tfar.heads.Bernoulli(), **argument})
