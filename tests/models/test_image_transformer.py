import numpy as np
import pytest
import tensorflow as tf

import tfar
from tests.closeness import assert_close
from tfar.core.states import state_spec
from tfar.testing import assert_causal, assert_incremental_matches_parallel, random_events, randomize_weights
from tfar.testing.blind import blind_of_image_transformer


def net(event_shape=(4, 4, 1), head=None, attention="local_1d", **kwargs):
    sizes = {"num_layers": 1, "width": 8, "num_heads": 2}
    model = tfar.models.ImageTransformer(
        event_shape, head or tfar.heads.Categorical(4), attention, **{**sizes, **kwargs}
    )
    randomize_weights(model)
    return model


@pytest.fixture(scope="module")
def full():
    return net((3, 4, 3), attention="full")


@pytest.mark.parametrize(
    ("attention", "block"),
    [
        ("local_1d", {"block_size": 36}),
        ("local_1d", {"block_size": 18}),
        ("local_2d", {"block_shape": (8, 32)}),
    ],
)
def test_a_block_that_covers_the_image_is_full_attention(full, attention, block, graphs):
    local = net((3, 4, 3), attention=attention, **block)
    local.set_weights(full.get_weights())
    x = random_events(full, 3)
    assert_close(local(x), full(x))
    np.testing.assert_array_equal(local.sample(3, seed=0, jit_compile=False), full.sample(3, seed=0, jit_compile=False))
    assert not blind_of_image_transformer(local)
    small = net((3, 4, 3), attention="local_1d", block_size=3)
    small.set_weights(full.get_weights())
    assert np.abs(small(x) - full(x)).max() > 1e-3


def test_sight_grows_with_every_layer():
    hidden = [len(blind_of_image_transformer(net((2, 4, 1), block_size=2, num_layers=layers))) for layers in (1, 2, 3)]
    # Every layer adds the block before: at most 2 + 2 positions with one layer, and all four blocks with three.
    assert hidden[0] > hidden[1] > hidden[2] == 0


def test_blocks_are_drawn_one_after_the_other():
    model = net((4, 4, 3), attention="local_2d", block_shape=(2, 2), memory_flange=(1, 1))
    red = model.ordering.ranks.reshape(4, 4, 3)[..., 0] // 3
    assert red.tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]
    x, observed = random_events(model, 2), np.zeros((4, 4, 3), bool)
    observed[:2] = observed[2:, :2] = True  # the first three blocks
    again = model.complete(x, observed, seed=0, jit_compile=False).numpy()
    np.testing.assert_array_equal(again[:, observed], x[:, observed])
    observed = np.zeros((4, 4, 3), bool)
    observed[0] = True  # a prefix in raster order, not in this one
    with pytest.raises(ValueError, match="not a prefix of the ordering"):
        model.complete(x, observed, seed=0)


def test_one_block_of_known_pixels_across_blocks():
    for attention, kwargs in (("local_1d", {"block_size": 5}), ("local_2d", {"block_shape": (2, 2)})):
        model = net((4, 4, 1), attention=attention, **kwargs)
        blocks = [(0, 9), (3, 10), (0, 16)]
        assert assert_incremental_matches_parallel(model, modes=("eager",), blocks=blocks) < 1e-5


def test_every_colour_has_an_embedding_of_its_own():
    model = net((2, 2, 3), attention="full")
    x = random_events(model, 2)
    table = model.embedding.get_weights()[0].reshape(4, 3, 8)
    assert table.shape[0] * table.shape[1] * table.shape[2] == model.embedding.count_params()
    table[:, 2] = 0  # blue values look alike
    model.embedding.set_weights([table.reshape(4, 24)])
    for colour, seen in ((0, True), (1, True), (2, False)):
        other = x.copy()
        other[..., colour] = (other[..., colour] + 1) % 4
        assert (np.abs(model(other) - model(x)).max() > 1e-4) == seen


def test_positions_are_of_what_is_drawn_next():
    model = net((2, 3, 2), positions="learned", num_layers=1)
    x, positions = random_events(model, 1), model.network.positions
    before = model(x).numpy().reshape(12, -1)
    # The vector of column 1, second colour.
    positions.column.assign(positions.column + np.eye(6)[3][:, None] * np.linspace(-2, 2, 8))
    changed = np.abs(model(x).numpy().reshape(12, -1) - before).max(1) > 1e-5
    assert not changed[:3].any()
    assert changed[3] and changed[9], "in either row"


def test_cache_of_local_1d_is_two_blocks():
    for shape in ((4, 4, 1), (6, 9, 1)):
        model = net(shape, block_size=3)
        spec = state_spec(model.network, {"step": (1, 8)})
        assert {tuple(item.shape) for item in spec.values()} == {(None, 2, 6, 4)}


def test_pre_and_post_norm_differ_and_pre_norm_ends_with_one():
    pre, post = net(norm="pre"), net(norm="post")
    assert pre.count_params() == post.count_params() + 16
    assert_causal(pre)


def test_logistic_mixture_models_whole_pixels():
    model = net((4, 4, 3), tfar.heads.DiscretizedLogisticMixture(2), block_size=6)
    assert model(tf.zeros([1, 4, 4, 3], tf.uint8)).shape == (1, 4, 4, 20)
    assert model.event.grid == (16,)


SIZES = {
    # Blocks: 4 * 512^2 + 2 * 512 * 2048 + 2048 + 512 + 4 * 512; three embeddings of 256; outputs.
    "image_transformer_cifar10": (3_150_336, 3 * 256 * 512 + 513 * 256),
    # Blocks: 4 * 256 * 512 + 2 * 256 * 512 + 512 + 256 + 4 * 256; pixels; rows and columns; 100 outputs.
    "image_transformer_cifar10_dmol": (788_224, 4 * 256 + 64 * 256 + 257 * 100),
}


@pytest.mark.parametrize("layers", [1, pytest.param(12, marks=pytest.mark.large)])
@pytest.mark.parametrize(
    "preset", ["image_transformer_cifar10_dmol", pytest.param("image_transformer_cifar10", marks=pytest.mark.large)]
)
def test_sizes_of_the_papers(preset, layers):
    assert tfar.models.ImageTransformer.PRESETS[preset]["num_layers"] == 12
    model = tfar.models.from_preset(preset, num_layers=layers)
    assert sum(int(np.prod(weight.shape)) for weight in model.network.blocks[0].weights) == SIZES[preset][0]
    assert model.count_params() == layers * SIZES[preset][0] + SIZES[preset][1]
    assert model.event_shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"attention": "local"}, "attention must be one of"),
        ({"norm": "batch"}, "norm must be one of"),
        ({"positions": "rotary"}, "positions must be one of"),
        ({"num_layers": 0}, "num_layers must be at least 1"),
        ({"attention_width": 9}, "attention_width must be a multiple of num_heads=2, got 9"),
        ({"attention": "local_2d", "block_shape": (3, 2)}, "block_shape must divide the image"),
        ({"event_shape": (16,)}, r"event_shape must be \(height, width, channels\), got \(16,\)"),
        ({"condition": tfar.conditions.Local(2, hop=4)}, "condition must be a Label, a Vector or a Spatial"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        net(**arguments)
