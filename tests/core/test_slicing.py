import numpy as np
import pytest
import tensorflow as tf

from tfar.core.compiled import CompiledFunctions, for_xla
from tfar.core.slicing import put, take


def _ring(x, values):
    """Writes every value into the slot whose turn it is."""

    def body(t, x):
        return t + 1, put(x, t % x.shape[0], values[t])

    return tf.while_loop(lambda t, _: t < values.shape[0], body, (0, x))[1]


@pytest.mark.parametrize("jit_compile", [False, True])
def test_put_replaces_one_entry(jit_compile):
    x, values = np.random.default_rng(0).normal(size=(2, 4, 2, 3)).astype(np.float32)
    values = np.concatenate([values, values + 1])[:6]
    y = CompiledFunctions().run("ring", _ring, tf.constant(x), tf.constant(values), jit_compile=jit_compile)
    np.testing.assert_array_equal(y, [values[4], values[5], values[2], values[3]])


def test_put_works_where_others_compile():
    x, values = tf.zeros([3, 2]), tf.ones([2, 2])
    y = tf.function(_ring, jit_compile=True, autograph=False)(x, values)
    np.testing.assert_array_equal(y, [[1, 1], [1, 1], [0, 0]])


def test_put_is_one_update_without_a_check_of_bounds_under_xla():
    compiled = CompiledFunctions()
    arguments = tf.zeros([4, 2, 3]), tf.zeros([6, 2, 3])
    compiled.run("ring", _ring, *arguments, jit_compile=True)
    compiled.run("ring", _ring, *arguments)
    kinds = {key[1]: str(entry.function.graph.as_graph_def()) for key, entry in compiled._entries.items()}
    assert "XlaDynamicUpdateSlice" in kinds[True] and "TensorScatterUpdate" not in kinds[True]
    assert "XlaDynamicUpdateSlice" not in kinds[False] and "TensorScatterUpdate" in kinds[False]


def test_for_xla_holds_while_such_a_function_is_traced():
    seen = []

    def function(x):
        seen.append(for_xla())
        return x

    compiled = CompiledFunctions()
    compiled.run("f", function, tf.zeros([]), jit_compile=True)
    compiled.run("f", function, tf.zeros([]))
    assert seen == [True, False]
    with pytest.raises(ZeroDivisionError):
        compiled.run("g", lambda x: x / (1 // 0), tf.zeros([]), jit_compile=True)
    assert not for_xla()


def test_take():
    x = tf.reshape(tf.range(24), [2, 3, 4])
    np.testing.assert_array_equal(take(x, 1, tf.constant(1), 2), x[:, 1:3])
