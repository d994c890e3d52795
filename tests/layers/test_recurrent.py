"""Recurrent cells: their formulas, their gradient, their state."""

import numpy as np
import pytest
import tensorflow as tf

from tests.closeness import assert_close
from tfar import testing
from tfar.core import Incremental, initial_state, state_spec
from tfar.layers import Recurrent

CELLS = ("lstm", "gru", "vanilla")


def built(cell, length=9, condition=False, **arguments):
    layer = Recurrent(3, cell, **arguments)
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(size=(2, length, 2)), tf.float32)
    given = tf.constant(rng.normal(size=(2, 4)), tf.float32) if condition else None
    layer(x, given) if condition else layer(x)
    testing.randomize_weights(layer)
    return layer, x, given


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def by_hand(layer, x, condition=None):
    """The formulas of the docstring, in float64."""
    kernel, u_kernel, b, u_bias = (
        np.asarray(w, np.float64) for w in (layer.kernel, layer.recurrent_kernel, layer.bias, layer.recurrent_bias)
    )
    x, units = np.asarray(x, np.float64), layer.units
    h = c = np.zeros([len(x), units])
    found = []
    for t in range(x.shape[1]):
        wx = x[:, t] @ kernel + b
        if condition is not None:
            wx += np.asarray(condition, np.float64) @ np.asarray(layer.condition_kernel, np.float64)
        if layer.cell == "vanilla":
            h = np.tanh(wx + h @ u_kernel + u_bias)
        elif layer.cell == "lstm":
            i, f, o, g = np.split(wx + h @ u_kernel + u_bias, 4, -1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        else:
            k, d = np.split(u_kernel, 3, -1), np.split(u_bias, 3)
            r, z, n = np.split(wx, 3, -1)
            r, z = sigmoid(r + h @ k[0] + d[0]), sigmoid(z + h @ k[1] + d[1])
            h = (1 - z) * h + z * np.tanh(n + (r * h) @ k[2] + d[2])
        found.append(h)
    return np.stack(found, 1)


@pytest.mark.parametrize("length", [1, 7, 16])  # 16: several steps in a turn of the loop
@pytest.mark.parametrize("cell", CELLS)
def test_is_its_formula(cell, length):
    layer, x, condition = built(cell, length, condition=True)
    assert_close(layer(x, condition), by_hand(layer, x, condition))


@pytest.mark.parametrize("cell", CELLS)
def test_exclusive_is_delayed_by_one(cell):
    layer, x, _ = built(cell, exclusive=True)
    delayed = np.concatenate([np.zeros([2, 1, 2]), x[:, :-1]], 1)
    assert_close(layer(x), by_hand(layer, delayed))


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_sees_all_of_the_past_and_nothing_else(cell, exclusive):
    layer, x, _ = built(cell, exclusive=exclusive)
    seen = testing.dependencies(layer, x).any(0)
    np.testing.assert_array_equal(seen, np.tril(np.ones([9, 9], bool), -int(exclusive)))


@pytest.mark.parametrize(
    ("cell", "exclusive"),
    [
        ("lstm", False),
        ("gru", False),
        ("gru", True),
        *(
            pytest.param(*case, marks=pytest.mark.large)
            for case in (("lstm", True), ("vanilla", False), ("vanilla", True))
        ),
    ],
)
def test_steps_and_blocks_match_parallel(cell, exclusive):
    layer, x, condition = built(cell, 19, condition=True, exclusive=exclusive)
    blocks = [(0, 19), (0, 1), (1, 2), (3, 16), (5, 8)]
    testing.assert_incremental_matches_parallel(layer, x, condition, blocks=blocks, modes=("function",))


@pytest.mark.parametrize(("cell", "length"), [("vanilla", 5), ("gru", 5), ("lstm", 16)])
def test_the_gradient_is_that_of_the_unrolled_steps(cell, length):
    layer, x, _ = built(cell, length)
    target = tf.constant(np.random.default_rng(1).normal(size=(2, length, 3)), tf.float32)

    def gradients(y_of):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(y_of(x) * target)
        return tape.gradient(loss, [x, *layer.trainable_variables])

    def unrolled(x):
        state, parts = initial_state(layer, 2, {"step": (1, 2)}), []
        for t in range(length):
            with Incremental(state, at=t) as scope:
                parts.append(layer(x[:, t : t + 1]))
            state = scope.state
        return tf.concat(parts, 1)

    found = tf.function(lambda: gradients(layer), autograph=False)()
    for one, other in zip(found, gradients(unrolled), strict=True):
        assert np.abs(one).max() > 1e-4
        assert_close(one, other)


@pytest.mark.large
def test_trains_under_xla():
    layer, x, _ = built("lstm", 8)

    @tf.function(autograph=False, jit_compile=True)
    def gradient(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(x) ** 2)
        return tape.gradient(loss, layer.recurrent_kernel.value)

    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x) ** 2)
    assert_close(gradient(x), tape.gradient(loss, layer.recurrent_kernel.value))


def test_initial_weights():
    layer = Recurrent(50)
    layer.build((None, None, 20))
    np.testing.assert_array_equal(np.asarray(layer.bias), np.repeat([0.0, 1.0, 0.0, 0.0], 50))  # i, f, o, g
    assert not np.asarray(layer.recurrent_bias).any()
    layer = Recurrent(50, init_scale=0.08, forget_bias=2.0)
    layer.build((None, None, 20))
    parts = np.split(np.asarray(layer.bias), 4)
    assert (parts[1] == 2).all()
    uniform = [
        np.asarray(layer.kernel),
        np.asarray(layer.recurrent_kernel),
        *parts[::2],
        np.asarray(layer.recurrent_bias),
    ]
    for values in uniform:
        assert 0.06 < np.abs(values).max() <= 0.08 and abs(values.mean()) < 0.03
    assert not np.array_equal(uniform[-1][:50], parts[0])


def test_state_is_float32_in_half_precision():
    layer = Recurrent(3, dtype="mixed_bfloat16")
    assert layer(tf.zeros([1, 4, 2])).dtype == tf.bfloat16
    spec = state_spec(layer, {"step": (1, 2)})
    assert {key: (item.dtype, item.shape.as_list()) for key, item in spec.items()} == {
        "./h": (tf.float32, [None, 3]), "./c": (tf.float32, [None, 3])
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "match"), [({"units": 0}, "units"), ({"units": 2, "cell": "rnn"}, "cell must be one of")]
)
def test_bad_arguments(arguments, match):
    with pytest.raises(ValueError, match=match):
        Recurrent(**arguments)


def test_has_no_rows():
    layer, x, _ = built("gru")
    with pytest.raises(RuntimeError, match="no row phase"), Incremental(None, at=0, phase="row"):
        layer(x)
