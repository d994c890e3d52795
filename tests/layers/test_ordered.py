"""An order of drawing around causal layers: nothing of it is left outside, in parallel and in steps."""

import numpy as np
import pytest
import tensorflow as tf

from tfar import testing
from tfar.core.scope import Incremental
from tfar.core.states import initial_state
from tfar.layers import Ordered, Recurrent
from tfar.layers.composite import Composite
from tfar.layers.ordered import cells_at_hand

ORDERS = np.array([[2, 0, 3, 1], [0, 1, 2, 3], [3, 2, 1, 0]], np.int32)


class Network(Composite):
    """One recurrent layer in an order of drawing."""

    def __init__(self):
        super().__init__()
        self.ordered, self.recurrent = Ordered(), Recurrent(3)

    def call(self, x, order=None):
        return self.ordered.restore(self.recurrent(self.ordered(x, order)), order)


@pytest.mark.parametrize("order", [ORDERS[0], ORDERS[1], ORDERS, tf.constant(ORDERS)], ids=str)
def test_steps_give_what_the_parallel_pass_gives_for_the_cells_of_the_ranks(order):
    network, x = Network(), tf.constant(np.random.default_rng(0).normal(size=(3, 4, 2)), tf.float32)
    network(x, order)
    testing.randomize_weights(network)
    expected = network(x, order).numpy()
    orders = np.broadcast_to(order, ORDERS.shape)
    state = initial_state(network, 3, {"step": (1, 2)})
    previous = tf.zeros([3, 1, 2])
    for rank in range(4):
        with Incremental(state, at=rank) as scope:
            y = network(previous, order)
            sources, targets = (np.broadcast_to(f(order), [3, 1])[:, 0] for f in (Ordered().sources, Ordered().targets))
            np.testing.assert_array_equal(cells_at_hand(x, order)[:, 0], x.numpy()[range(3), targets])
        state = scope.state
        np.testing.assert_array_equal(targets, orders[:, rank])
        np.testing.assert_array_equal(sources, orders[:, rank - 1] if rank else [4] * 3)
        np.testing.assert_allclose(y[:, 0], expected[range(3), targets], rtol=1e-5, atol=1e-6)
        previous = tf.gather(x, targets[:, None], axis=1, batch_dims=1)


@pytest.mark.parametrize("order", [None, ORDERS[1]], ids=str)
def test_nothing_is_gathered_in_raster_order(order):
    x, layer = tf.reshape(tf.range(4.0), [1, 4, 1]), Ordered()
    traced = tf.function(lambda x: layer.restore(layer(x, order), order), autograph=False)
    kinds = {operation.type for operation in traced.get_concrete_function(x).graph.get_operations()}
    assert not {kind for kind in kinds if kind.startswith("Gather")}
    assert traced(x).numpy().ravel().tolist() == [0, 0, 1, 2]


def test_sources_and_targets_in_parallel():
    layer = Ordered()
    assert layer.targets(ORDERS[0]).numpy().tolist() == [2, 0, 3, 1]
    assert layer.sources(ORDERS).numpy().tolist() == [[4, 2, 0, 3], [4, 0, 1, 2], [4, 3, 2, 1]]
