"""MaskedDense: masks from degrees; the incremental rules against the parallel pass, for one member and for several."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tests.closeness import assert_close
from tfar.core.request import Request, call_network
from tfar.core.scope import Incremental
from tfar.core.states import initial_state
from tfar.layers import MaskedDense, masked_dense

N, MEMBERS = 6, 3
RANKS = np.array([[3, 0, 5, 1, 4, 2], [0, 1, 2, 3, 4, 5], [5, 4, 0, 2, 1, 3]])
# Degrees without a unit, with several, and none of the greatest: groups of fresh units of every size.
HIDDEN = np.array([[0, 0, 0, 1, 3, 2, 2], [4, 0, 1, 1, 1, 2, 3], [1, 0, 2, 2, 3, 0, 1]])
SECOND = np.array([[3, 0, 2, 2, 1], [4, 4, 1, 2, 3], [0, 3, 2, 1, 3]])


class Network(keras.layers.Layer):
    """Elements to units to units to elements, with direct connections."""

    def __init__(self, features, members=slice(0, 1)):
        super().__init__()
        ranks, hidden, second = RANKS[members], HIDDEN[members], SECOND[members]
        self.first, self.second = MaskedDense(ranks, hidden), MaskedDense(hidden, second)
        self.last = MaskedDense(second, ranks, features=features)
        self.direct = MaskedDense(ranks, ranks, features=features, use_bias=False)

    def call(self, x, condition=None, member=None):
        h = tf.nn.elu(self.first(x, condition, member))
        h = tf.nn.elu(self.second(h, None, member))
        return self.last(h, condition, member) + self.direct(x, None, member)


def built(network, *arguments):
    network(*arguments)
    rng = np.random.default_rng(0)
    for weight in network.trainable_weights:
        weight.assign(rng.normal(0, 0.5, weight.shape))
    return network


# === Masks ===


def test_masks_of_the_order_x2_x3_x1_are_those_drawn_in_the_documentation():
    ranks, hidden = [2, 0, 1], [0, 1, 0, 1]
    first = MaskedDense(ranks, hidden).mask().numpy().astype(int)
    last = MaskedDense(hidden, ranks, features=1).mask().numpy().astype(int)
    np.testing.assert_array_equal(first, [[0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 0, 1]])
    np.testing.assert_array_equal(last, [[1, 0, 1], [1, 0, 0], [1, 0, 1], [1, 0, 0]])
    paths = first @ last
    np.testing.assert_array_equal(paths > 0, [[0, 0, 0], [1, 0, 1], [1, 0, 0]])
    drawn = [line.split() for line in MaskedDense.__doc__.splitlines()]
    rows = {line[1]: line[2:] for line in drawn if len(line) >= 6 and line[1] in ("x1", "x2", "x3")}
    marks = np.array([[mark == "x" for mark in rows[name][:4]] for name in ("x1", "x2", "x3")])
    np.testing.assert_array_equal(marks, first)


def test_masks_equal_those_of_tensorflow_probability():
    degrees = tfp.bijectors.masked_autoregressive._create_degrees(N, [5], "left-to-right", "equal")
    expected = tfp.bijectors.masked_autoregressive._create_masks(degrees)
    ranks, hidden = degrees[0] - 1, degrees[1] - 1
    np.testing.assert_array_equal(MaskedDense(ranks, hidden).mask(), expected[0])
    np.testing.assert_array_equal(MaskedDense(hidden, ranks, features=1).mask(), expected[1])


def test_paths_are_strictly_triangular_in_the_order():
    network = Network(1, slice(None))
    for member in range(MEMBERS):
        masks = [layer.mask(member).numpy().astype(int) for layer in (network.first, network.second, network.last)]
        paths = np.linalg.multi_dot(masks)
        before = RANKS[member][:, None] < RANKS[member][None]
        assert not paths[~before].any()
        assert not network.direct.mask(member).numpy()[~before].any()
        assert paths[before].any()


def test_masks_of_several_members_leave_the_weights_alone():
    network = built(Network(1, slice(None)), tf.ones([2, N, 1]), None, tf.constant(0))
    before = [weight.numpy() for weight in network.weights]
    for member in range(MEMBERS):
        network(tf.ones([2, N, 1]), None, tf.constant(member))
    for weight, value in zip(network.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)
        assert (np.abs(value) > 0).all()


def test_masked_weights_have_no_gradient():
    layer = MaskedDense(RANKS[0], HIDDEN[0])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tf.ones([2, N, 1])))
    gradient = tape.gradient(loss, layer.kernel.value).numpy()
    np.testing.assert_array_equal(gradient != 0, layer.mask().numpy())


def test_initial_kernel_has_the_variance_of_the_unmasked_fans():
    degrees = np.arange(200)
    layer = MaskedDense(degrees, degrees)
    layer(tf.ones([1, 200]))
    # Half of the weights are masked: fan in and fan out are 100.5 on average.
    np.testing.assert_allclose(np.var(layer.kernel.numpy()), 2 / 201, rtol=0.02)


# === Incremental evaluation ===


@pytest.mark.parametrize("pushed", [8, 0], ids=["push", "pull"])
@pytest.mark.parametrize(
    ("in_features", "features", "member"),
    [
        *((2, 3, member) for member in (None, "rows")),
        pytest.param(2, 3, 2, marks=pytest.mark.large),
        *(pytest.param(1, 1, member, marks=pytest.mark.large) for member in (None, "rows")),
        (1, 1, 2),
    ],
)
def test_steps_and_blocks_give_what_the_parallel_pass_gives(monkeypatch, pushed, member, in_features, features):
    monkeypatch.setattr(masked_dense, "_PUSHED_FEATURES", pushed)
    rng = np.random.default_rng(1)
    batch = 3
    x = tf.constant(rng.normal(size=(batch, N, in_features)), tf.float32)
    context = Request(tf.constant(rng.normal(size=(batch, 2)), tf.float32))
    members = np.zeros(batch, int)
    if member is not None:
        members = np.full(batch, 2) if member == 2 else np.array([1, 2, 0])
        context = context._replace(member=tf.constant(member if member == 2 else members, tf.int32))
    network = built(
        Network(features, slice(0, 1) if member is None else slice(None)), x, context.condition, context.member
    )
    order = np.argsort(RANKS[members], 1)
    expected = np.take_along_axis(call_network(network, x, context).numpy(), order[..., None], 1)
    cells = np.take_along_axis(x.numpy(), order[..., None], 1)
    previous = tf.constant(np.pad(cells, [[0, 0], [1, 0], [0, 0]])[:, :-1])

    def run(lengths):
        state, t, outputs = initial_state(network, batch, {"step": (1, in_features)}, context), 0, []
        for length in lengths:
            with Incremental(state, at=t, length=length) as scope:
                outputs.append(call_network(network, previous[:, t : t + length], context))
            state, t = scope.state, t + length
        return np.concatenate(outputs, 1), state

    single, final = run([1] * N)
    assert_close(single, expected)
    for lengths in ([N], [2, 1, 3]):
        block, state = run(lengths)
        assert_close(block, expected)
        assert sorted(state) == sorted(final)
        for key in final:
            np.testing.assert_allclose(state[key], final[key], rtol=1e-5, atol=1e-5, err_msg=key)


def test_sums_are_kept_in_float32_under_mixed_precision():
    layer = MaskedDense(RANKS[0], HIDDEN[0], dtype="mixed_bfloat16")
    layer(tf.ones([1, N, 1]))
    state = initial_state(layer, 1, {"step": (1, 1)})
    assert {value.dtype for value in state.values()} == {tf.float32}


def test_every_kernel_row_is_used_at_one_step_only():
    fresh, degrees = masked_dense._fresh_units(HIDDEN)
    for member, row in enumerate(HIDDEN):
        real = degrees[member, ..., 0] < np.iinfo(np.int32).max
        np.testing.assert_array_equal(np.sort(fresh[member][real]), np.arange(len(row)))
        steps = np.nonzero(real)[0]
        np.testing.assert_array_equal(row[fresh[member][real]], steps - 1)
        assert not real[0].any()
        assert not real[-1].any()


# === Configuration and errors ===


def test_config_round_trip():
    layer = MaskedDense(RANKS, HIDDEN, use_bias=False, kernel_initializer="ones", name="masked")
    copy = MaskedDense.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    np.testing.assert_array_equal(copy.mask(1), layer.mask(1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.5, 1], [0]), "in_degrees must be integers"),
        (([0, 1], [-1]), "out_degrees must be integers"),
        (([[0, 1], [1, 0]], [0]), "out_degrees must have as many members as in_degrees, 2, got 1"),
        (([0, 1], [0, 2], 1), "out_degrees of elements must be a permutation of 0, ..., 1"),
        (([0, 1], [0, 1], 0), "features must be at least 1"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        MaskedDense(*arguments)


def test_bad_inputs():
    with pytest.raises(ValueError, match="the input must be"):
        MaskedDense([0, 1], [0])(tf.ones([1, 3]))
    with pytest.raises(ValueError, match="in_degrees of elements must be a permutation"):
        MaskedDense([0, 0], [0])(tf.ones([1, 2, 1]))
    with pytest.raises(ValueError, match="member is needed: the layer has 3 members"):
        MaskedDense(RANKS, HIDDEN)(tf.ones([1, N, 1]))
