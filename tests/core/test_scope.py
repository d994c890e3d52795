"""The scope: explicit state, strict about whose state it is, one per thread."""

import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.closeness import assert_close
from tfar import testing
from tfar.core import Incremental, initial_state, state_spec
from tfar.core.paths import attribute_paths
from tfar.core.scope import current
from tfar.layers import CausalConv1D, HorizontalConv2D, VerticalConv2D

STEP = {"step": (1, 2)}


class Stack(keras.layers.Layer):
    """Two convolutions, the first of them exclusive; the second is called twice."""

    def __init__(self, filters=2, **kwargs):
        super().__init__(**kwargs)
        self.first = CausalConv1D(filters, 2, exclusive=True)
        self.rest = [CausalConv1D(filters, 3, dilation_rate=2), {"last": CausalConv1D(filters, 2)}]
        self.dense = keras.layers.Dense(filters)

    def call(self, x, context=None):
        y = self.first(x) if context is None else self.first(x) + context[:, None]
        y = self.rest[0](y)
        y = self.rest[0](tf.nn.relu(y))
        return self.rest[1]["last"](self.dense(y))


@pytest.fixture(scope="module")
def stack():
    layer = Stack()
    layer(tf.zeros([1, 3, 2]))
    testing.randomize_weights(layer)
    return layer


@pytest.fixture(scope="module")
def x():
    return tf.constant(np.random.default_rng(0).normal(size=(2, 7, 2)), tf.float32)


def advance(network, state, x, at, length=1):
    with Incremental(state, at=at, length=length) as scope:
        y = network(x)
    return y, scope.state


# === What a state is ===


def test_state_keys_are_attribute_paths(stack):
    keys = set(state_spec(stack, STEP))
    assert keys == {"first/taps", "rest.0/ring", "rest.0/taps", "rest.0#1/ring", "rest.0#1/taps", "rest.1.last/taps"}


def test_a_specification_is_found_once_per_network_and_input():
    calls = []

    class Counting(keras.layers.Layer):
        def __init__(self, dilation_rate):
            super().__init__()
            self.convolution = CausalConv1D(2, 2, dilation_rate)

        def call(self, x):
            calls.append(x.shape)
            return self.convolution(x)

    first, second = Counting(3), Counting(5)
    for layer in (first, second):
        layer(tf.zeros([1, 1, 2]))
    calls.clear()
    found = [state_spec(first, STEP) for _ in range(3)]
    assert len(calls) == 1 and found[0] == found[1] == found[2] and found[0] is not found[1]
    found[0].clear()
    assert state_spec(first, STEP)["convolution/ring"].shape[0] == 3
    assert state_spec(second, STEP)["convolution/ring"].shape[0] == 5 and len(calls) == 2


@pytest.mark.parametrize("features", [2, 7, 8])
def test_the_batch_is_found_among_sizes_that_are_the_same(features):
    layer = CausalConv1D(2, 3, dilation_rate=2)
    layer(tf.zeros([1, 1, features]))
    shapes = {key: spec.shape.as_list() for key, spec in state_spec(layer, {"step": (1, features)}).items()}
    assert shapes == {"./ring": [4, None, features], "./taps": [None, 2 * features]}


def test_attribute_paths_name_layers_once(stack):
    paths = attribute_paths(stack)
    assert paths[id(stack)] == "."
    assert paths[id(stack.rest[1]["last"])] == "rest.1.last"
    stack_twice = Stack()
    stack_twice.alias = stack_twice.first
    assert attribute_paths(stack_twice)[id(stack_twice.first)] == "first"


def test_initial_state_is_zeros_of_any_batch(stack):
    spec = state_spec(stack, STEP)
    state = initial_state(stack, 5, STEP)
    assert sorted(state) == sorted(spec)
    for key, value in state.items():
        assert spec[key].shape.is_compatible_with(value.shape)
        assert None in spec[key].shape
        assert 5 in value.shape
        assert not value.numpy().any()


def test_stepwise_equals_parallel(stack, x):
    assert testing.assert_incremental_matches_parallel(stack, x, exclusive=True, modes=("eager",)) < 1e-5


def test_context_reaches_the_network(stack, x):
    context = tf.constant([[1.0, 2.0], [3.0, 4.0]])
    testing.assert_incremental_matches_parallel(stack, x, context, exclusive=True, modes=("eager",))


def test_state_is_not_changed_in_place(stack, x):
    state = initial_state(stack, 2, STEP)
    before = dict(state)
    y, after = advance(stack, state, x[:, :1], 0)
    assert all(state[key] is before[key] for key in before)
    assert any((after[key].numpy() != before[key].numpy()).any() for key in before)
    again, _ = advance(stack, state, x[:, :1], 0)
    np.testing.assert_array_equal(y, again)


def test_block_equals_single_steps(stack, x):
    block, state = advance(stack, initial_state(stack, 2, STEP), x[:, :5], 0, length=5)
    single = initial_state(stack, 2, STEP)
    for t in range(5):
        y, single = advance(stack, single, x[:, t : t + 1], t)
        assert_close(y[:, 0], block[:, t], 1e-6)
    for key, value in single.items():
        np.testing.assert_allclose(value, state[key], atol=1e-6, err_msg=key)


def test_traced_position_equals_python_position(stack, x):
    state = initial_state(stack, 2, STEP)
    one, _ = advance(stack, state, x[:, :1], 3)
    traced = tf.function(lambda state, x, t: advance(stack, state, x, t), autograph=False)
    two, _ = traced(state, x[:, :1], tf.constant(3))
    assert_close(one, two, 1e-6)


# === What is refused ===


def test_stateless_network_is_refused():
    dense = keras.layers.Dense(2)
    with pytest.raises(RuntimeError, match="kept no state"), Incremental({}, at=0):
        dense(tf.zeros([1, 1, 2]))


def test_function_traced_outside_is_refused(stack, x):
    compiled = tf.function(stack)
    compiled(x[:, :1])
    state = initial_state(stack, 2, STEP)
    with pytest.raises(RuntimeError, match="did not consume its state: 'first/taps'"), Incremental(state, at=0):
        compiled(x[:, :1])


def test_unconsumed_state_is_refused(stack, x):
    state = {**initial_state(stack, 2, STEP), "second/ring": tf.zeros([1])}
    with pytest.raises(RuntimeError, match="'second/ring' .1 of 7 entries. was not read"), Incremental(state, at=0):
        stack(x[:, :1])


def test_state_of_another_network_is_refused(stack, x):
    state = initial_state(stack, 2, STEP)
    del state["rest.0#1/ring"]
    with pytest.raises(KeyError, match="no entry 'rest.0#1/ring'; it belongs to another network"):
        advance(stack, state, x[:, :1], 0)


def test_changed_shape_is_refused(x):
    class Growing(keras.layers.Layer):
        def call(self, x):
            state = current().state_of(self)
            past = state.read("past", [tf.shape(x)[0], 1, 2])
            state.write("past", tf.concat([past, x], 1))
            return x

    state = initial_state(Constant(), 2, STEP)
    with pytest.raises(ValueError, match="'./past' is float32 .2, 1, 2., a step would change it to float32 .2, 2, 2."):
        advance(Growing(), state, x[:, :1], 0)


class Constant(keras.layers.Layer):
    """Keeps its input."""

    def call(self, x):
        state = current().state_of(self)
        past = state.read("past", [tf.shape(x)[0], 1, 2])
        state.write("past", x)
        return past


def test_changed_dtype_is_refused(x):
    class Widening(Constant):
        def call(self, x):
            return super().call(tf.cast(x, tf.float64))

    state = initial_state(Constant(), 2, STEP)
    with pytest.raises(ValueError, match="is float32 .2, 1, 2., a step would change it to float64"):
        advance(Widening(), state, x[:, :1], 0)


def test_sequential_and_functional_networks_are_refused_by_name():
    layers = [CausalConv1D(2, 2, exclusive=True, name="conv_a"), CausalConv1D(2, 2)]
    sequential = keras.Sequential(layers)
    sequential.build((None, None, 2))
    inputs = keras.Input((None, 2))
    functional = keras.Model(inputs, CausalConv1D(2, 2, name="conv_a")(inputs))
    for network in (sequential, functional):
        with pytest.raises(RuntimeError, match="'conv_a' cannot be reached.*functional and Sequential"):
            initial_state(network, 1, STEP)


def test_layers_name_the_phase_that_they_lack(x):
    sequence, vertical = CausalConv1D(2, 2), VerticalConv2D(2, (2, 3))
    sequence(x), vertical(x[:, None])
    with pytest.raises(RuntimeError, match="has no row phase"), Incremental(None, at=0, phase="row"):
        sequence(x[:, :1])
    with pytest.raises(RuntimeError, match="no step phase"):
        initial_state(vertical, 2, {"step": (1, 7, 2)})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"phase": "column"}, "phase must be one of .*, got 'column'"),
        ({"length": 0}, "length must be at least 1, got 0"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Incremental({}, at=0, **arguments)


# === Whose scope it is ===


def test_scope_ends_with_its_block_also_after_an_error(stack, x):
    assert current() is None
    with pytest.raises(ZeroDivisionError), Incremental(initial_state(stack, 2, STEP), at=0) as scope:
        assert current() is scope
        1 / 0  # noqa: B018
    assert current() is None
    assert stack(x).shape == (2, 7, 2)


def test_scopes_nest(stack, x):
    state = initial_state(stack, 2, STEP)
    with Incremental(state, at=0) as outer:
        with Incremental(state, at=0) as inner:
            one = stack(x[:, :1])
        assert current() is outer
        two = stack(x[:, :1])
    np.testing.assert_array_equal(one, two)
    assert sorted(inner.state) == sorted(outer.state)


def test_scope_belongs_to_its_thread(stack, x):
    """One thread steps while another evaluates in parallel; neither sees the other's scope."""
    inside, leave = threading.Event(), threading.Event()
    found = {}

    def step():
        with Incremental(initial_state(stack, 2, STEP), at=0):
            inside.set()
            leave.wait(20)
            found["step"] = stack(x[:, :1])

    thread = threading.Thread(target=step)
    thread.start()
    assert inside.wait(20)
    assert current() is None
    parallel = stack(x)
    leave.set()
    thread.join()
    expected, _ = advance(stack, initial_state(stack, 2, STEP), x[:, :1], 0)
    np.testing.assert_array_equal(found["step"], expected)
    np.testing.assert_array_equal(parallel, stack(x))


# === Images ===


def test_pixel_phase_needs_the_row_phase():
    layer = VerticalConv2D(2, (2, 3))
    layer(tf.zeros([1, 3, 3, 2]))
    with pytest.raises(KeyError, match="no entry './rows'"), Incremental({}, at=(0, 0), phase="pixel"):
        layer(tf.zeros([1, 1, 1, 2]))


def test_within_row_hides_the_row_above():
    """The previous element of the first pixel of a row stands in the row above."""
    x = tf.reshape(tf.range(1.0, 9.0), [1, 2, 4, 1])
    block = Incremental({}, at=0, length=2, phase="pixel").within_row(x)
    assert block[0, :, :, 0].numpy().tolist() == [[0, 2, 3, 4], [0, 6, 7, 8]]
    for column in range(3):
        pixel = Incremental({}, at=(1, column), phase="pixel").within_row(x[:, :1, :1])
        assert pixel.numpy().item() == (1 if column else 0)


def test_row_and_pixel_entries_of_two_stacks():
    class Both(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.vertical = VerticalConv2D(2, (2, 3), exclusive=True)
            self.horizontal = HorizontalConv2D(2, 5, exclusive=True)

        def call(self, x, context=None):
            return self.vertical(x) + self.horizontal(x)

    network = Both()
    x = tf.constant(np.random.default_rng(1).normal(size=(2, 4, 3, 2)), tf.float32)
    network(x)
    testing.randomize_weights(network)
    spec = state_spec(network, {"row": (1, 3, 2), "pixel": (1, 1, 2)})
    assert {key: tuple(item.shape) for key, item in spec.items()} == {
        "vertical/rows": (None, 1, 3, 2),
        "vertical/out": (None, 1, 3, 2),
        "vertical/out_ahead": (None, 1, 1, 2),
        "horizontal/pending": (None, 2),
    }
    testing.assert_incremental_matches_parallel(network, x, exclusive=True, modes=("eager",))
