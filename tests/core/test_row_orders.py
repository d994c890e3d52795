import numpy as np
import tensorflow as tf

from tfar.core.row_orders import cells_of, inverse, order_of, span

ORDERS = np.array([[2, 0, 1], [1, 2, 0]], np.int32)


def test_an_order_comes_from_the_row_the_member_or_the_model():
    assert order_of(ORDERS).tolist() == [2, 0, 1]
    assert order_of(ORDERS, member=tf.constant([1, 0])).numpy().tolist() == [[1, 2, 0], [2, 0, 1]]
    assert order_of(ORDERS, member=tf.constant(1)).shape == [3]
    assert order_of(ORDERS[:1], ORDERS, tf.constant(0)) is ORDERS


def test_cells_in_order_and_back():
    x = tf.reshape(tf.range(12), [2, 3, 2])
    for order in (ORDERS, ORDERS[0]):
        drawn = cells_of(x, order)
        assert drawn[1, 0, 0] == x[1, np.atleast_2d(order)[-1, 0], 0]
        np.testing.assert_array_equal(cells_of(drawn, inverse(order)), x)


def test_span_is_a_part_of_the_order():
    assert span(ORDERS, tf.constant(1), 2).numpy().tolist() == [[0, 1], [2, 0]]
    assert span(ORDERS[0], 2, 1).numpy().tolist() == [1]
