"""Parts of a batch run at the same time and draw what the whole batch draws."""

import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfar import conditions, heads, models
from tfar.sampling import side_by_side


def test_parts_have_rows_enough(monkeypatch):
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "4")
    assert [side_by_side.num_parts(size) for size in (1, 7, 8, 15, 16, 100)] == [1, 1, 2, 3, 4, 4]
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "0")
    assert side_by_side.num_threads() >= 1
    assert tf.function(lambda: tf.constant(side_by_side.num_parts(100)))().numpy() == 1


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


def test_parts_draw_the_same_events(monkeypatch):
    keras.utils.set_random_seed(0)
    model = models.CharRNN((4,), heads.Categorical(3), units=3, num_layers=1, condition=conditions.Label(2))
    labels, temperature = np.arange(11) % 2, np.linspace(0.5, 2.0, 11)
    shared = {"seed": 1, "temperature": temperature, "jit_compile": False, "batch_size": 9}
    observed = np.arange(4) < 1 + np.arange(11)[:, None] // 8  # of the second part two values in every example

    def draw():
        x, done = model.sample(11, labels, **shared).numpy(), []
        known = model.complete(x, observed, labels, progress=lambda *units: done.append(units), **shared).numpy()
        return x, known, done

    whole = draw()
    monkeypatch.setattr(side_by_side, "num_threads", lambda: 2)
    for part, together in zip(draw(), whole, strict=True):
        np.testing.assert_array_equal(part, together)
    np.testing.assert_array_equal(whole[1][observed], whole[0][observed])


def test_compiled_parts_draw_the_same_events(monkeypatch):
    monkeypatch.setattr(side_by_side, "num_threads", lambda: 2)
    keras.utils.set_random_seed(0)
    model = models.MADE((3,), heads.Bernoulli(), hidden=(4,))
    x = model.sample(8, seed=0, batch_size=8).numpy()
    np.testing.assert_array_equal(x, model.sample(8, seed=0, batch_size=3, jit_compile=False).numpy())
