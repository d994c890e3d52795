"""Subscale Pixel Network; the laws of models (sums of 65,536 events, Jacobians, samplers) are in tests/conformance."""

import zipfile

import h5py
import numpy as np
import pytest
import tensorflow as tf

import tfar
from tests.closeness import assert_close
from tfar import testing
from tfar.models import SubscalePixelNetwork
from tfar.models.slice_embedder import neighbours

TINY = SubscalePixelNetwork.PRESETS["subscale_pixel_network_tiny"]
BINARY = tfar.heads.Bernoulli()


def tiny(shape=(4, 4, 1), head=BINARY, **kwargs):
    model = SubscalePixelNetwork(shape, head, **{**TINY, **kwargs})
    testing.randomize_weights(model)
    return model


def by_slice(model, x, condition=None):
    """Nats [B, K] of the parts, one after the other, each from what its own link says."""
    values, context = model.split(x), model.context(model.request(condition, len(x)))
    scores = [
        part.score(values[index], model.part_context(index, values[:index], context))
        for index, part in enumerate(model.parts)
    ]
    return np.stack([score.numpy().reshape(len(x), -1).sum(1) for score in scores], 1)


def test_offsets_lead_to_slices_before():
    for factor in (1, 2, 3, 4):
        table = neighbours(factor, all_slices=False)
        assert table.shape == (factor**2, 2 * factor * (factor - 1))
        every = neighbours(factor, all_slices=True)
        assert every.shape == (factor**2, (2 * factor - 1) ** 2)
        for target in range(factor**2):
            present = table[target][table[target] < factor**2]
            assert sorted(present) == list(range(target)), "each slice before it once"
            present = every[target][every[target] < factor**2]
            assert sorted(present) == list(range(factor**2))
    # Slice 4 of 3 x 3 lies in the middle: its neighbours stand where they are in the image.
    np.testing.assert_array_equal(neighbours(3, all_slices=True)[4].reshape(5, 5)[1:4, 1:4], np.arange(9).reshape(3, 3))


@pytest.mark.parametrize(
    "options",
    [
        {"condition": tfar.conditions.Label(3)},
        {"head": tfar.heads.Categorical(8), "high_bits": 1, "size_upscaling": True},
    ],
    ids=["condition", "size and depth"],
)
def test_slices_sum_to_the_whole(options):
    model = tiny(**{"shape": (2, 2, 1), **options})
    x, condition = testing.random_events(model, 2), testing.random_condition(model, 2)
    with testing.eagerly():
        alone = by_slice(model, x, condition)
        assert_close(model(x, condition), alone)
        assert_close(model.log_prob(x, condition), alone.sum(1))


def test_one_slice_is_its_decoder():
    label = tfar.conditions.Label(3)
    model, x = tiny(scaling_factor=1, condition=label), np.random.default_rng(0).integers(0, 2, (3, 4, 4, 1))
    assert [part.name for part in model.parts] == ["slice_0_0"]
    decoder = model.parts[0].model
    assert len(model.weights) == len(decoder.weights)
    with testing.eagerly():
        np.testing.assert_array_equal(model.log_prob(x, [0, 1, 2]), decoder.log_prob(x, [0, 1, 2]))


def test_eight_bits_as_three_and_five():
    model = tiny((2, 2, 1), tfar.heads.Categorical(256), high_bits=3)
    assert [part.name[:-4] for part in model.parts] == ["high"] * 4 + ["low"] * 4
    high, low = model.part("high_0_0").model, model.part("low_1_1").model
    assert (high.head.levels, low.head.levels) == (8, 32) and high is model.part("high_1_1").model is not low
    x = testing.random_events(model, 2)
    values = [y.numpy() for y in model.split(x)]
    np.testing.assert_array_equal(model.merge(values), x)
    np.testing.assert_array_equal([values[1][:, 0, 0], values[5][:, 0, 0]], [x[:, 0, 1] // 32, x[:, 0, 1] % 32])
    # All values of the last pixel; then the first of them with other low bits everywhere.
    every = np.tile(x[:1], (257, 1, 1, 1))
    every[:256, 1, 1, 0] = np.arange(256)
    every[256] = every[0] - every[0] % 32 + (every[0] + 7) % 32
    with testing.eagerly():
        parts = by_slice(model, every)
    sums = [np.exp(parts[:256:32, 3]).sum(), np.exp(parts[:32, 7]).sum()]
    np.testing.assert_allclose(sums, 1, rtol=1e-5)
    # The first low slice is told the high bits of the last one; high bits are not told low ones.
    assert_close(parts[:32, 4], np.repeat(parts[0, 4], 32))
    assert len(set(parts[:256:32, 4])) == 8
    assert_close(parts[256, :4], parts[0, :4])
    assert (np.abs(parts[256, 4:] - parts[0, 4:]) > 1e-6).all()
    assert not model.has_prefixes
    with pytest.raises(ValueError, match="not a prefix .* whole parts in the order high_0_0, high_0_1"):
        model.complete(x, np.eye(2, dtype=bool)[..., None])


def test_an_absent_slice_is_no_slice_of_zeros():
    model = tiny((2, 2, 1))
    (embedder,) = {id(part.link.embedder): part.link.embedder for part in model.parts[1:]}.values()
    embedder.place.set_weights([np.zeros_like(weight) for weight in embedder.place.get_weights()])
    zeros = [tf.zeros([1, 1, 1, 1], tf.int32)] * 3
    features = [embedder(zeros, tf.constant([place])).numpy() for place in range(4)]
    assert len({feature.tobytes() for feature in features}) == 4


# === Training ===


def test_drawn_slices_are_unbiased():
    model = tiny((2, 2, 1), tfar.heads.Categorical(4), high_bits=1, size_upscaling=True)
    assert model.part_of_step(np.random.default_rng(0)) is None, "a step draws in every example"
    x = np.repeat(testing.random_events(model, 1), 256, 0)
    with testing.eagerly():
        alone = by_slice(model, x[:1])[0]
        drawn = model(x, training=True).numpy()[:, 0]
    # The first slice has a decoder of its own, and every image one of the three others and one of four low ones.
    expected = alone[0] + 3 * alone[1:4, None] + 4 * alone[None, 4:]
    index = np.abs(drawn[:, None] - expected.reshape(-1)).argmin(1)
    assert_close(drawn, expected.reshape(-1)[index])
    counts = np.bincount(index, minlength=12)
    assert counts.min() >= 8 and counts.max() <= 40, "21 each are expected"
    assert_close(expected.mean(), alone.sum())


def test_the_mean_gradient_is_that_of_the_whole():
    model, x = tiny((2, 2, 1), train_parts="drawn"), np.array([0, 1, 1, 0]).reshape(1, 2, 2, 1)
    weights = model.trainable_variables

    def gradient(nats):
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(nats())
        found = tape.gradient(total, weights, unconnected_gradients="zero")
        return float(total), np.concatenate([tf.convert_to_tensor(each).numpy().reshape(-1) for each in found])

    gradients = {}
    with testing.eagerly():
        alone = 4 * by_slice(model, x)[0]
        while len(gradients) < 4:  # which slice was drawn is seen in its nats
            drawn, found = gradient(lambda: model(x, training=True))
            gradients[int(np.argmin(np.abs(alone - drawn)))] = found
        nats, whole = gradient(lambda: model.log_prob(x))
    assert_close(4 * nats, alone.sum())
    np.testing.assert_allclose(np.mean(list(gradients.values()), 0), whole, rtol=1e-4, atol=1e-5)


# === Files ===


def test_shared_parts_are_in_a_file_once(tmp_path):
    model, path = tiny((2, 2, 1)), tmp_path / "model.keras"
    model.save(path)
    loaded = tfar.models.load(path)
    assert loaded.part("slice_0_1").model is loaded.part("slice_1_1").model
    assert loaded.part("slice_0_1").link.embedder is loaded.part("slice_1_1").link.embedder
    sizes = []
    with zipfile.ZipFile(path) as archive, archive.open("model.weights.h5") as stored, h5py.File(stored) as file:
        file.visititems(lambda _, item: sizes.append(item.size) if isinstance(item, h5py.Dataset) else None)
    assert sum(sizes) == sum(int(np.prod(weight.shape)) for weight in model.weights)


# === Bad input ===


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": (6, 4, 1), "scaling_factor": 4}, r"that scaling_factor=4 divides, got \(6, 4, 1\)"),
        ({"shape": (4, 5, 1)}, r"that scaling_factor=2 divides, got \(4, 5, 1\)"),
        ({"shape": (16,)}, "event_shape must be"),
        ({"scaling_factor": 0}, "scaling_factor must be at least 1, got 0"),
        (
            {"high_bits": 1},
            r"high_bits must leave some of the b bits of a Categorical\(2\^b\) head, got 1 and Ber",
        ),
        ({"high_bits": 3, "head": tfar.heads.Categorical(8)}, "high_bits must leave some .*, got 3 and Categorical"),
        ({"high_bits": 0, "head": tfar.heads.Categorical(8)}, "high_bits must leave some .*, got 0 and Categorical"),
        ({"high_bits": 2, "head": tfar.heads.Categorical(17)}, "high_bits must leave some .*, got 2 and Categorical"),
        ({"size_upscaling": True, "scaling_factor": 1}, "size_upscaling must be False for scaling_factor=1"),
        ({"width": 9}, "width must be a multiple of num_heads=2, got 9"),
        ({"condition": tfar.conditions.Spatial(1)}, "condition must be a Label or Vector for SubscalePixelNetwork"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        tiny(**arguments)
