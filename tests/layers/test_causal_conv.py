"""Causal convolution: its formula, its reach, its ring buffer at every dilation."""

import numpy as np
import pytest
import tensorflow as tf

from tests.closeness import assert_close
from tfar import testing
from tfar.core import Incremental, initial_state, state_spec
from tfar.layers import CausalConv1D


def built(length=9, batch=2, features=2, **arguments):
    layer = CausalConv1D(**{"filters": 3, "kernel_size": 2, **arguments})
    x = tf.constant(np.random.default_rng(0).normal(size=(batch, length, features)), tf.float32)
    layer(x)
    testing.randomize_weights(layer)
    return layer, x


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize(("kernel_size", "dilation_rate"), [(1, 1), (2, 1), (3, 2), (2, 4)])
def test_is_its_formula(kernel_size, dilation_rate, exclusive):
    layer, x = built(kernel_size=kernel_size, dilation_rate=dilation_rate, exclusive=exclusive)
    kernel, bias, values = layer.kernel.numpy(), layer.bias.numpy(), x.numpy()
    expected = np.tile(bias, (2, 9, 1))
    for t in range(9):
        for m in range(kernel_size):
            source = t - int(exclusive) - m * dilation_rate
            if source >= 0:
                expected[:, t] += values[:, source] @ kernel[kernel_size - 1 - m]
    assert_close(layer(x), expected)


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize(("kernel_size", "dilation_rate"), [(1, 1), (2, 1), (3, 2), (2, 5)])
def test_sees_its_taps_and_nothing_else(kernel_size, dilation_rate, exclusive):
    layer, x = built(kernel_size=kernel_size, dilation_rate=dilation_rate, exclusive=exclusive)
    seen = testing.dependencies(layer, x).any(0)
    distance = np.arange(9)[:, None] - np.arange(9) - int(exclusive)
    taps = [m * dilation_rate for m in range(kernel_size)]
    np.testing.assert_array_equal(seen, np.isin(distance, taps))


@pytest.mark.parametrize("exclusive", [False, True], ids=["inclusive", "exclusive"])
@pytest.mark.parametrize(
    ("kernel_size", "dilation_rate"),
    [(3, 1), (3, 4), (2, 3), *(pytest.param(2, rate, marks=pytest.mark.large) for rate in (1, 2))],
)
def test_steps_match_parallel(kernel_size, dilation_rate, exclusive):
    layer, x = built(length=13, kernel_size=kernel_size, dilation_rate=dilation_rate, exclusive=exclusive)
    # Blocks that are shorter and longer than the ring, and begin in its middle.
    blocks = [(0, 13), (0, 1), (1, 2), (5, 8), (3, 5)]
    testing.assert_incremental_matches_parallel(layer, x, blocks=blocks, modes=("eager",))


@pytest.mark.parametrize(
    ("kernel_size", "exclusive"),
    [
        (3, False),
        *(pytest.param(*case, marks=pytest.mark.large) for case in ((2, False), (2, True), (3, True))),
    ],
)
def test_steps_match_parallel_at_dilation_512(kernel_size, exclusive):
    layer, x = built(length=1600, batch=1, kernel_size=kernel_size, dilation_rate=512, exclusive=exclusive)
    blocks = [(0, 100), (500, 700), (1024, 576), (0, 1600)]
    testing.assert_incremental_matches_parallel(layer, x, blocks=blocks, modes=("function", "xla"))


def test_steps_match_parallel_in_float64():
    layer, x = built(length=13, kernel_size=3, dilation_rate=2, dtype="float64")
    assert testing.assert_incremental_matches_parallel(layer, x, modes=("eager",)) < 1e-12


@pytest.mark.parametrize("dilation_rate", [1, 16, 512])
def test_state_is_one_ring(dilation_rate):
    layer, _ = built(kernel_size=3, dilation_rate=dilation_rate)
    spec = state_spec(layer, {"step": (1, 2)})
    # Without dilation the taps of the next step are all that there is to keep.
    ring = {"./ring": [2 * dilation_rate, None, 2]} if dilation_rate > 1 else {}
    assert {key: item.shape.as_list() for key, item in spec.items()} == {"./taps": [None, 2 * 2], **ring}


def test_a_step_costs_the_same_at_every_dilation():
    """The graph of a step reads k - 1 rows of the ring and replaces one, whatever the dilation."""

    def operations(dilation_rate):
        layer, x = built(kernel_size=3, dilation_rate=dilation_rate)

        def step(state, x, t):
            with Incremental(state, at=t) as scope:
                y = layer(x)
            return y, scope.state

        state = initial_state(layer, 2, {"step": (1, 2)})
        graph = tf.function(step, autograph=False).get_concrete_function(state, x[:, :1], tf.constant(0)).graph
        return sorted(node.type for node in graph.get_operations())

    assert operations(2) == operations(512)


def test_kernel_of_one_tap_needs_no_state():
    layer, x = built(kernel_size=1)
    assert state_spec(layer, {"step": (1, 2)}) == {}


@pytest.mark.parametrize("name", ["filters", "kernel_size", "dilation_rate"])
def test_refuses_sizes_below_one(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        CausalConv1D(**{"filters": 1, "kernel_size": 1, name: 0})


def test_without_bias():
    layer = CausalConv1D(2, 2, use_bias=False)
    assert not layer(tf.zeros([1, 4, 3])).numpy().any()
    assert len(layer.weights) == 1
