"""Attention by blocks of queries equals attention to all at once, in value and gradient, and holds less at a time."""

import numpy as np
import pytest
import tensorflow as tf

import tfar
from tests.closeness import assert_close
from tfar.layers import CausalAttention, PooledCausalAttention

ATTENTIONS = {
    "inclusive": lambda size: CausalAttention(2, block_size=size),
    "exclusive": lambda size: CausalAttention(2, exclusive=True, scale=0.4, block_size=size),
    "window": lambda size: CausalAttention(2, max_length=5, block_size=size),
    "exclusive_window": lambda size: CausalAttention(2, exclusive=True, max_length=5, block_size=size),
    "pooled": lambda size: PooledCausalAttention(2, size),
}


def value_and_gradients(layer, inputs, mode):
    """Output of a layer and the gradients of a sum that weights every number differently."""

    def run(*inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            y = layer(*inputs)
            total = tf.reduce_sum(y * tf.reshape(tf.range(tf.cast(tf.size(y), y.dtype)), tf.shape(y)))
        return y, tape.gradient(total, inputs)

    layer(*inputs)
    if mode != "eager":
        run = tf.function(run, autograph=False, jit_compile=mode == "xla")
    return run(*inputs)


def assert_gradients_close(found, expected, y):
    """Within rounding of what is summed: `value_and_gradients` weights outputs up to their number.

    A gradient may be 0 in exact arithmetic and the difference of two such sums in every other order of additions.
    """
    summed = tf.size(y).numpy() * np.abs(y).max()
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-6 * max(summed, np.abs(a).max()))


@pytest.mark.parametrize(
    ("name", "size", "mode"),
    [
        pytest.param(
            name, size, mode, marks=[pytest.mark.large] * (size == 1 and name not in ("exclusive_window", "pooled"))
        )
        for size, mode in [(1, "eager"), (5, "eager"), (9, "function"), (16, "eager")]
        for name in ATTENTIONS
    ],
)
def test_equals_attention_to_all_at_once(name, size, mode):
    inputs = tuple(tf.random.stateless_normal([2, 4, 4, d], [d, 0]) for d in (4, 4, 6))
    expected, gradients = value_and_gradients(ATTENTIONS[name](None), inputs, "eager")
    y, found = value_and_gradients(ATTENTIONS[name](size), inputs, mode)
    assert_close(y, expected, 1e-6)
    assert_gradients_close(found, gradients, y)


def test_equals_it_under_xla():
    inputs = tuple(tf.random.stateless_normal([2, 9, d], [d, 0]) for d in (4, 4, 6))
    expected, gradients = value_and_gradients(ATTENTIONS["exclusive"](None), inputs, "eager")
    y, found = value_and_gradients(ATTENTIONS["exclusive"](5), inputs, "xla")
    assert_close(y, expected, 1e-6)
    assert_gradients_close(found, gradients, y)


def test_rows_of_a_batch_stay_apart():
    x = np.random.default_rng(0).normal(size=(2, 6, 4)).astype(np.float32)
    layer = CausalAttention(2, block_size=2)
    expected = layer(x)[1]
    x[0] = np.nan
    np.testing.assert_array_equal(layer(x)[1], expected)


@pytest.mark.parametrize("pooled", [False, True])
def test_no_tensor_is_as_large_as_all_weights(pooled):
    layer = PooledCausalAttention(2, 16) if pooled else CausalAttention(exclusive=True, block_size=16)
    keys = 16 if pooled else 64

    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(layer(x) ** 2)
        return tape.gradient(total, x)

    graph = tf.function(run, autograph=False).get_concrete_function(tf.TensorSpec([3, 8, 8, 2])).graph
    sizes = [output.shape.num_elements() or 0 for op in graph.get_operations() for output in op.outputs]
    assert max(sizes) <= 3 * 16 * keys < 3 * 64 * keys


def snail(**kwargs):
    sizes = {"filters": 4, "num_blocks": 1, "num_resnets": 1, "key_dim": 3, "dropout": 0.3}
    return tfar.models.PixelSNAIL((4, 4, 1), tfar.heads.Categorical(8), **sizes, **kwargs)


@pytest.mark.parametrize("recompute", [pytest.param(False, marks=pytest.mark.large), True])
def test_a_model_trains_alike(recompute):
    models = [snail(), snail(recompute=recompute, attention_block_size=6)]
    tfar.testing.randomize_weights(models[0])
    models[1].set_weights(models[0].get_weights())
    for model in models:
        for index, seed in enumerate(v for v in model.non_trainable_variables if v.name == "seed_generator_state"):
            seed.assign([index, 7])
    x, results = tfar.testing.random_events(models[0], 3), []
    for model in models:
        with tf.GradientTape() as tape:
            loss = model.compute_loss(x=x, y_pred=model(x, training=True))
        results.append((loss, tape.gradient(loss, [weight.value for weight in model.trainable_variables])))
    (loss, expected), (again, found) = results
    np.testing.assert_allclose(again, loss, rtol=1e-5)
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-5 * max(1.0, np.abs(a).max()))
    with tfar.testing.eagerly():
        np.testing.assert_allclose(models[0].log_prob(x), models[1].log_prob(x), rtol=1e-5)


def test_the_option_is_part_of_the_configuration():
    model = snail(attention_block_size=5)
    again = type(model).from_config(model.get_config())
    assert again.attention_block_size == 5
    assert [block.attention.block_size for block in again.network.blocks] == [5]
    for name in ATTENTIONS:
        layer = ATTENTIONS[name](7)
        assert type(layer).from_config(layer.get_config()).block_size == 7


def test_refuses_wrong_arguments():
    for build in (lambda: CausalAttention(block_size=0), lambda: PooledCausalAttention(2, 0)):
        with pytest.raises(ValueError, match="block_size must be at least 1, got 0"):
            build()
    with pytest.raises(ValueError, match=r"dropout must be 0 with block_size=4, got 0.1"):
        CausalAttention(dropout=0.1, block_size=4)
    with pytest.raises(ValueError, match="attention_block_size must be at least 1, got 0"):
        snail(attention_block_size=0)
    layer = CausalAttention(max_length=8, block_size=4)
    with pytest.raises(ValueError, match="block_size must be None where the number of positions is not known"):
        tf.function(layer, autograph=False).get_concrete_function(tf.TensorSpec([2, None, 4]))
