import keras
import numpy as np
import pytest

from tfar.training import optimizer, schedule


def values(rate, steps):
    return [float(rate(step)) for step in steps]


def test_constant_with_warm_up():
    assert np.allclose(
        values(schedule("constant", 0.4, 40, warmup_steps=4), [0, 1, 3, 4, 9]), [0.1, 0.2, 0.4, 0.4, 0.4]
    )


def test_a_warm_up_takes_a_tenth_of_a_short_run():
    assert np.allclose(values(schedule("constant", 1.0, 40, warmup_steps=100), [0, 1, 3, 4]), [0.25, 0.5, 1, 1])
    assert np.allclose(values(schedule("constant", 1.0, 3, warmup_steps=100), [0, 1]), [1, 1])


def test_cosine_ends_at_final():
    rate = schedule("cosine", 1.0, 100, final=0.1)
    assert np.allclose(values(rate, [0, 50, 100, 200]), [1.0, 0.55, 0.1, 0.1])


def test_exponential_decays_every_step():
    assert np.allclose(values(schedule("exponential", 2.0, 9, decay=0.5), [0, 1, 3]), [2.0, 1.0, 0.25])


def test_step_falls_at_its_boundaries():
    rate = schedule("step", 1.0, 100, boundaries=[10, 20], factor=0.5)
    assert np.allclose(values(rate, [0, 9, 10, 19, 20, 50]), [1, 1, 0.5, 0.5, 0.25, 0.25])


@pytest.mark.parametrize("name", ["constant", "cosine", "exponential"])
def test_serialization(name):
    rate = schedule(name, 0.3, 50, warmup_steps=5)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(rate))
    assert values(again, range(20)) == values(rate, range(20))


@pytest.mark.parametrize(
    "arguments",
    [
        {"name": "linear"},
        {"learning_rate": 0.0},
        {"steps": 0},
        {"warmup_steps": -1},
        {"name": "exponential", "decay": 1.5},
        {"name": "step"},
        {"name": "step", "boundaries": [5, 3]},
        {"name": "cosine", "final": 2.0},
    ],
)
def test_bad_arguments_are_named(arguments):
    name = list(arguments)[-1]
    expected = "schedule|boundaries" if name == "name" else name
    with pytest.raises(ValueError, match=expected):
        schedule(**{"name": "constant", "learning_rate": 1.0, "steps": 10} | arguments)


def test_optimizers():
    assert isinstance(optimizer("adagrad", 0.1), keras.optimizers.Adagrad)
    adamw = optimizer("adamw", 0.1, weight_decay=0.5)
    kernel, bias = (keras.Variable(np.ones(2, np.float32), name=name) for name in ("kernel", "bias"))
    adamw.build([kernel, bias])
    adamw.apply_gradients([(np.zeros(2, np.float32), kernel), (np.zeros(2, np.float32), bias)])
    assert np.allclose(kernel, 0.95) and np.allclose(bias, 1.0)
    with pytest.raises(ValueError, match="optimizer must be one of"):
        optimizer("sgd", 0.1)
    with pytest.raises(ValueError, match="does not take"):
        optimizer("adam", 0.1, beta3=1)
