"""tfar.layers.ConditionalNetworks: one small network per node of a graph, packed."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfar import orderings, testing
from tfar.layers import ConditionalNetworks

GRAPH = [[3], [], [3, 1], [], [2]]  # drawn in the order 1, 3, 0, 2, 4
ORDER = orderings.from_permutation([1, 3, 0, 2, 4])


def built(layer, features=2, condition=None):
    x = tf.zeros([1, layer.num_nodes, features])
    layer(x) if condition is None else layer(x, tf.zeros([1, condition]))
    testing.randomize_weights(layer)
    return layer


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def by_hand(layer, x, condition=None):
    """Net by net, from the definition."""
    ordering = layer.get_config()["ordering"]
    permutation = np.argsort(ordering)
    parents = layer.get_config()["parents"] or [list(permutation[: ordering[i]]) for i in range(layer.num_nodes)]
    y = np.zeros([len(x), layer.num_nodes, layer.units], np.float32)
    row = net = 0
    for rank, node in enumerate(permutation):
        out = layer.bias.numpy()[rank] + np.zeros_like(y[:, 0])
        if condition is not None:
            out += condition @ layer.condition_kernel.numpy()[rank]
        sources = sorted(parents[node], key=lambda parent: ordering[parent])
        if sources:
            kernel = layer.kernel.numpy()[row : row + len(sources)]
            row += len(sources)
            a = sum(x[:, source] @ part for source, part in zip(sources, kernel, strict=True))
            for i, (bias, after) in enumerate(zip(layer.hidden_biases, layer.hidden_kernels, strict=True)):
                a = a + bias.numpy()[net]
                if i == 0 and condition is not None:
                    a = a + condition @ layer.hidden_condition_kernel.numpy()[net]
                a = np.maximum(a, 0) @ after.numpy()[net]
            out += a
            net += 1
        y[:, node] = out
    return y


LAYERS = {
    "linear": lambda: ConditionalNetworks(5, 2),
    "two_hidden": lambda: ConditionalNetworks(4, 2, hidden=(3, 4), ordering=orderings.random(4, seed=1)),
    "graph": lambda: ConditionalNetworks(5, 2, GRAPH, hidden=(3,), ordering=ORDER),
    "graph_linear": lambda: ConditionalNetworks(5, 1, GRAPH, ordering=ORDER),
    "no_edges": lambda: ConditionalNetworks(3, 2, [[], [], []], hidden=(3,)),
    "one_node": lambda: ConditionalNetworks(1, 2, hidden=(3,)),
}


@pytest.mark.parametrize("features", [1, 3])
@pytest.mark.parametrize("conditioned", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_equals_the_definition(name, conditioned, features):
    layer = built(LAYERS[name](), features, 2 if conditioned else None)
    x, h = normal(3, layer.num_nodes, features), normal(3, 2, seed=1) if conditioned else None
    y = layer(x) if h is None else layer(x, h)
    np.testing.assert_allclose(y, by_hand(layer, x, h), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["two_hidden", "graph", pytest.param("graph_linear", marks=pytest.mark.large), "no_edges", "one_node"]
)
def test_steps_equal_the_parallel_pass(name):
    # A single layer is walked in the order in which it is stored, so its ordering is made that one.
    config = LAYERS[name]().get_config()
    ranks = config.pop("ordering")
    if config["parents"] is not None:
        rows = [[] for _ in ranks]
        for node, row in enumerate(config["parents"]):
            rows[ranks[node]] = [ranks[parent] for parent in row]
        config["parents"] = rows
    layer = built(ConditionalNetworks(**config))
    x = normal(2, layer.num_nodes, 2)
    testing.assert_incremental_matches_parallel(layer, x, modes=("eager",), tolerance=1e-5)


def test_steps_with_a_condition_equal_the_parallel_pass():
    layer = built(ConditionalNetworks(4, 2, [[], [0], [], [0, 2]], hidden=(3,)), condition=3)
    h = tf.constant(normal(2, 3, seed=1))
    testing.assert_incremental_matches_parallel(layer, normal(2, 4, 2), h, modes=("xla",))


def test_packing_begins_net_i_at_row_i_times_i_minus_1_over_2():
    layer = built(ConditionalNetworks(6, 1), features=1)
    x = normal(2, 6, 1)
    for i in range(1, 6):
        kernel = layer.kernel.numpy()[i * (i - 1) // 2 : i * (i + 1) // 2, :, 0]
        expected = x[:, :i, 0] @ kernel + layer.bias.numpy()[i]
        np.testing.assert_allclose(layer(x)[:, i], expected, rtol=1e-5, atol=1e-5)


def test_parameters_exist_for_edges_only():
    assert built(ConditionalNetworks(784, 1), features=1).count_params() == 307_720
    assert built(ConditionalNetworks(5, 1, GRAPH, ordering=ORDER), features=1).count_params() == 4 + 5
    # 3 nets: 4 edges x 2 features x 3 hidden, 3 x (3 + 3 x 2), 5 biases of 2.
    assert built(ConditionalNetworks(5, 2, GRAPH, hidden=(3,), ordering=ORDER)).count_params() == 24 + 27 + 10


def test_gradient_of_the_packed_kernel():
    layer = built(ConditionalNetworks(5, 2, GRAPH, hidden=(3,), ordering=ORDER))
    x, weights = normal(3, 5, 2), normal(3, 5, 2, seed=1)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x) * weights)
    variables = [layer.kernel, layer.hidden_kernels[0], layer.bias]
    for variable, gradient in zip(variables, tape.gradient(loss, [v.value for v in variables]), strict=True):
        value, direction = variable.numpy(), normal(*variable.shape, seed=2)
        ends = []
        for sign in (1, -1):
            variable.assign(value + sign * 1e-2 * direction)
            ends.append(float(tf.reduce_sum(layer(x) * weights)))
        variable.assign(value)
        assert float(np.sum(gradient * direction)) == pytest.approx((ends[0] - ends[1]) / 2e-2, rel=2e-2, abs=1e-2)


def test_an_edge_that_does_not_exist_carries_nothing():
    layer = built(ConditionalNetworks(5, 2, GRAPH, hidden=(8,), ordering=ORDER))
    seen = testing.dependencies(layer, tf.constant(normal(8, 5, 2))).max(0) > 0
    expected = np.zeros([5, 5], bool)
    for node, row in enumerate(GRAPH):
        expected[node, row] = True
    np.testing.assert_array_equal(seen, expected)


def test_initial_scale_counts_the_existing_edges():
    keras.utils.set_random_seed(0)
    layer = ConditionalNetworks(200, 8)
    y = layer(normal(64, 200, 1)).numpy()
    late, early = y[:, 150:].std(), y[:, 5:20].std()
    assert 0.8 < late < 1.2 and 0.6 < early < 1.4


def test_configuration_round_trip():
    layer = built(ConditionalNetworks(5, 2, GRAPH, hidden=(3,), activation="tanh", ordering=ORDER))
    copy = built(ConditionalNetworks.from_config(layer.get_config()))
    copy.set_weights(layer.get_weights())
    x = normal(2, 5, 2)
    np.testing.assert_array_equal(copy(x), layer(x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"parents": [[], [0]]}, "a row for each of 3 nodes, got 2"),
        ({"parents": [[], [3], []]}, "parents of node 1 must be different nodes below 3"),
        ({"parents": [[], [], [0, 0]]}, "parents of node 2 must be different nodes"),
        ({"parents": [[1], [], []]}, "1 is drawn after its child 0"),
        ({"parents": [[], [1], []]}, "1 is drawn after its child 1"),
        ({"ordering": orderings.raster(4)}, "ordering must have 3 elements, got 4"),
        ({"hidden": (0,)}, "hidden must be at least 1, got 0"),
    ],
)
def test_errors_name_the_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        ConditionalNetworks(3, 1, **arguments)


def test_a_map_is_refused_as_a_condition():
    with pytest.raises(ValueError, match="must be .batch, features."):
        ConditionalNetworks(4, 1)(tf.zeros([1, 4, 1]), tf.zeros([1, 2, 2, 3]))
