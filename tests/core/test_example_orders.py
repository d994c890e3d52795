import numpy as np
import tensorflow as tf

from tfar.core.example_orders import cells_at_ranks, gather_cells, inverse_order, select_order

ORDERS = np.array([[2, 0, 1], [1, 2, 0]], np.int32)


def test_an_order_comes_from_the_row_the_member_or_the_model():
    assert select_order(ORDERS).tolist() == [2, 0, 1]
    assert select_order(ORDERS, member=tf.constant([1, 0])).numpy().tolist() == [[1, 2, 0], [2, 0, 1]]
    assert select_order(ORDERS, member=tf.constant(1)).shape == [3]
    assert select_order(ORDERS[:1], ORDERS, tf.constant(0)) is ORDERS


def test_cells_in_order_and_back():
    x = tf.reshape(tf.range(12), [2, 3, 2])
    for order in (ORDERS, ORDERS[0]):
        drawn = gather_cells(x, order)
        assert drawn[1, 0, 0] == x[1, np.atleast_2d(order)[-1, 0], 0]
        np.testing.assert_array_equal(gather_cells(drawn, inverse_order(order)), x)


def test_span_is_a_part_of_the_order():
    assert cells_at_ranks(ORDERS, tf.constant(1), 2).numpy().tolist() == [[0, 1], [2, 0]]
    assert cells_at_ranks(ORDERS[0], 2, 1).numpy().tolist() == [1]
