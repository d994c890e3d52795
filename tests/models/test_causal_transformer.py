import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfar
from tests.closeness import assert_close
from tfar.testing import (
    assert_causal,
    assert_incremental_matches_parallel,
    dependencies,
    eagerly,
    random_events,
    randomize_weights,
)


def net(length=9, levels=4, **kwargs):
    sizes = {"width": 8, "num_layers": 1, "num_heads": 2}
    model = tfar.models.CausalTransformer((length,), tfar.heads.Categorical(levels), **{**sizes, **kwargs})
    randomize_weights(model)
    return model


@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_sees_every_earlier_element_and_no_other(positions):
    assert_causal(net(positions=positions))


@functools.cache
def open_net(positions):
    """A model of any length; learned positions reach to 20, rotary ones look back over 6."""
    return net(None, positions=positions, max_length={"learned": 20, "rotary": 6}[positions])


@pytest.mark.parametrize("size", [0, 1, 17])
@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_a_prompt_in_one_block_then_steps(positions, size, graphs):
    model = open_net(positions)
    x = random_events(model, 2, length=20)
    prompt = x[:, :size]
    drawn = model.sample(2, length=20, prompt=prompt, seed=1, jit_compile=False)
    np.testing.assert_array_equal(drawn[:, :size], prompt)
    naive = model.sample(2, length=20, prompt=prompt, seed=1, jit_compile=False, method="naive")
    np.testing.assert_array_equal(drawn, naive)


@pytest.mark.parametrize("window", [1, 3, pytest.param(5, marks=pytest.mark.large)])
def test_rotary_attention_looks_back_over_a_window(window):
    # The slots of the cache are used in turn: an element sees the last `window` ones in every block.
    model = net(12, num_layers=2, positions="rotary", max_length=window)
    seen = (dependencies(model.decode, model.encode(random_events(model, 8))) > 0).any(0)
    distance = np.subtract.outer(np.arange(12), np.arange(12))
    np.testing.assert_array_equal(seen, (distance >= 1) & (distance <= 1 + 2 * (window - 1)))
    blocks = [(0, 12), (0, 2), (2, 7), (5, 1), (3, 9)]
    assert assert_incremental_matches_parallel(model, modes=("eager",), blocks=blocks) < 1e-5


def test_any_length_from_one_set_of_weights(graphs):
    model = open_net("rotary")
    x = random_events(model, 2, length=20)
    with eagerly():
        whole = model.score(x).numpy()
        for length in (1, 6, 14):
            assert_close(model.score(x[:, :length]), whole[:, :length])
    drawn = model.sample(2, length=20, seed=0, jit_compile=False)
    naive = model.sample(2, length=20, seed=0, jit_compile=False, method="naive")
    np.testing.assert_array_equal(drawn, naive)


def test_learned_positions_have_a_last_one():
    model = net(None, max_length=6)
    assert model.longest_event == 6
    with pytest.raises(ValueError, match="at most max_length=6, got 7"):
        model.score(np.zeros([1, 7], np.int32))
    with pytest.raises(ValueError, match="length must be at most 6 .* got 7"):
        model.sample(1, length=7, jit_compile=False)


def test_dropout_works_in_training_alone():
    model = net(dropout=0.5, attention_dropout=0.5)
    x = random_events(model, 2)
    np.testing.assert_array_equal(model(x), model(x))
    assert not np.allclose(model(x, training=True), model(x, training=True))


def test_condition_reaches_every_element():
    model = net(6, condition=tfar.conditions.Vector(3))
    x = random_events(model, 1)
    one, other = (model(x, tf.constant([[value] * 3])).numpy() for value in (0.5, -0.5))
    assert (np.abs(one - other).max(-1) > 1e-5).all()


def test_image_as_a_sequence():
    head = tfar.heads.DiscretizedLogisticMixture(2)
    model = tfar.models.CausalTransformer((2, 2, 3), head, width=8, num_layers=1, num_heads=2)
    randomize_weights(model)
    x = random_events(model, 2)
    assert tuple(model.score(x).shape) == (2, 2, 2)
    assert assert_incremental_matches_parallel(model, modes=("eager",)) < 1e-5


@pytest.mark.large
def test_learns_to_copy():
    # The second half repeats the first: attention over a distance of 4.
    first = np.random.default_rng(0).integers(0, 4, [512, 4])
    x = np.concatenate([first, first], 1).astype(np.int32)
    keras.utils.set_random_seed(0)
    model = tfar.models.CausalTransformer((8,), tfar.heads.Categorical(4), width=32, num_layers=2, num_heads=2)
    model.compile(keras.optimizers.Adam(5e-3), jit_compile=False)
    data = tf.data.Dataset.from_tensor_slices({"x": x}).batch(128).repeat()
    model.fit(data, steps_per_epoch=150, verbose=0, shuffle=False)
    cost = -model.score(x).numpy().mean(0)
    assert cost[:4].sum() == pytest.approx(4 * np.log(4), abs=0.1)
    assert cost[4:].sum() < 0.2


def test_text_travels_with_the_model(tmp_path):
    model = net(None, vocabulary="abcd", max_length=5)
    model.save(tmp_path / "m.keras")
    loaded = tfar.models.load(tmp_path / "m.keras")
    assert loaded.text_vocabulary.decode([0, 3]) == "ad"
    x = random_events(model, 2, length=5)
    np.testing.assert_allclose(loaded.log_prob(x), model.log_prob(x), rtol=1e-6)
    assert net(None, levels=256).text_vocabulary.encode("é").tolist() == [195, 169]


def test_the_papers_size():
    # GPT-2 small has 124.4M weights with a shared embedding; here the outputs have their own, and biases.
    preset = {**tfar.models.CausalTransformer.PRESETS["causal_transformer_gpt2"], "num_layers": 1}
    preset["head"] = tfar.heads.Categorical(7)
    model = tfar.models.CausalTransformer(**preset)
    block = sum(int(np.prod(weight.shape)) for weight in model.network.blocks[0].weights)
    assert block == 7_087_872
    assert model.count_params() == block + 1024 * 768 + 7 * 768 + 2 * 768 + 7 * 768 + 7
    assert 12 * block + (1024 + 50257) * 768 + 2 * 768 == 124_439_808


@pytest.mark.parametrize(
    "argument, message",
    [
        ({"num_layers": 0}, "num_layers must be at least 1, got 0"),
        ({"width": 9}, "width must be a multiple of 2 .* got 9"),
        ({"width": 6, "positions": "rotary"}, "width must be a multiple of 4 .* got 6"),
        ({"positions": "sines"}, "positions must be one of .* got 'sines'"),
        ({"activation": "tanh"}, "activation must be one of .* got 'tanh'"),
        ({"max_length": 3}, "max_length must be at least the length of the event, 9, got 3"),
        ({"condition": tfar.conditions.Spatial(2)}, "condition must be a Label or a Vector"),
        ({"vocabulary": "abc"}, "vocabulary"),
    ],
)
def test_wrong_arguments_are_named(argument, message):
    with pytest.raises(ValueError, match=message):
        net(**argument)
