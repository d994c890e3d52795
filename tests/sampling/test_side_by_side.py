"""Parts of a batch run at the same time and draw what the whole batch draws."""

import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfar import heads, layers, models, testing
from tfar.sampling import side_by_side


def cut_in_two(monkeypatch):
    monkeypatch.setattr(side_by_side, "num_threads", lambda: 2)
    monkeypatch.setattr(side_by_side, "LEAST_WEIGHTS", 0)


def test_parts_have_rows_enough_and_steps_work_enough(monkeypatch):
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "4")
    shared, own = keras.layers.Dense(10), layers.MaskedDense(np.arange(1000), np.arange(1000))
    shared.build([None, 10**5])
    own.build([None, 1000])
    assert [side_by_side.num_parts(shared, size) for size in (1, 7, 8, 15, 16, 100)] == [1, 1, 2, 3, 4, 4]
    assert side_by_side.num_parts(own, 100) == 1
    assert tf.function(lambda: tf.constant(side_by_side.num_parts(shared, 100)))().numpy() == 1
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "0")
    assert side_by_side.num_threads() >= 1


def test_calls_run_at_the_same_time_and_the_first_error_is_raised():
    met = threading.Barrier(2, timeout=30)

    def call(index):
        met.wait()
        if index < 2:
            return index
        raise ValueError(str(index))

    assert side_by_side.run_side_by_side([lambda: call(0), lambda: call(1)]) == [0, 1]
    with pytest.raises(ValueError, match="2"):
        side_by_side.run_side_by_side([lambda: call(2), lambda: call(3)])


def test_parts_complete_the_same_events(monkeypatch):
    keras.utils.set_random_seed(0)
    model = models.MADE((3,), heads.Bernoulli(), hidden=(2,))
    observed = np.arange(3) < 1 + np.arange(9)[:, None] // 8  # in the last part two values of every example
    x = np.arange(27).reshape(9, 3) % 2

    def draw():
        done = []
        arguments = {"seed": 1, "temperature": np.linspace(0.5, 2.0, 9), "batch_size": 9}
        return model.complete(x, observed, progress=lambda *units: done.append(units), **arguments).numpy(), done

    with testing.eagerly():  # op by op nothing is cut into parts
        whole, units = draw()
    cut_in_two(monkeypatch)
    parts, done = draw()
    np.testing.assert_array_equal(parts, whole)
    np.testing.assert_array_equal(parts[observed], x[observed])
    assert done == units == [(2, 3), (3, 3)]


def test_compiled_parts_draw_the_same_events(monkeypatch):
    cut_in_two(monkeypatch)
    keras.utils.set_random_seed(0)
    model = models.MADE((3,), heads.Bernoulli(), hidden=(4,))
    x = model.sample(8, seed=0, batch_size=8).numpy()
    np.testing.assert_array_equal(x, model.sample(8, seed=0, batch_size=3, jit_compile=False).numpy())
