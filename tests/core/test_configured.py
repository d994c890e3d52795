import dataclasses

import keras
import numpy as np
import pytest

from tfar.core.configured import Configured
from tfar.core.orderings import Ordering
from tfar.heads import Categorical


@dataclasses.dataclass(frozen=True)
class Size:
    height: int = 2


@keras.saving.register_keras_serializable("tests")
class Everything(Configured, keras.layers.Layer):
    def __init__(self, units, table=None, initializer="zeros", activation=None, head=None, dropout=0.5, **kwargs):
        super().__init__(**kwargs)
        self.units, self.table, self.head = units, table, head
        self.initializer = keras.initializers.get(initializer)
        self.activation = keras.activations.get(activation)
        self._dropout, self.dropout = dropout, keras.layers.Dropout(dropout)


def test_round_trip():
    layer = Everything(np.int64(3), np.arange(2), "ones", "relu", Categorical(4), name="here", dtype="float64")
    config = keras.saving.serialize_keras_object(layer)
    other = keras.saving.deserialize_keras_object(config)
    assert keras.saving.serialize_keras_object(other) == config
    assert (other.units, other.table, other.name, other.dtype) == (3, [0, 1], "here", "float64")
    assert isinstance(other.initializer, keras.initializers.Ones)
    assert other.activation is keras.activations.relu
    assert other.head == Categorical(4)
    assert other.get_config()["dropout"] == 0.5


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (Ordering([[1, 0], [2, 3]]), [[1, 0], [2, 3]]),
        (Size(), {"height": 2}),
        ((np.float32(0.5), [np.zeros(1)]), [0.5, [[0.0]]]),
        ({"a": (1, None)}, {"a": [1, None]}),
    ],
)
def test_values(given, expected):
    assert Everything(1, given).get_config()["table"] == expected


def test_what_a_constructor_passes_on_belongs_to_the_subclass():
    class Fixed(Everything):
        def __init__(self, units, **kwargs):
            super().__init__(units, head=Categorical(2), **kwargs)

    config = Fixed(3).get_config()
    assert "head" not in config
    assert Fixed.from_config(config).get_config() == config


def test_a_forgotten_attribute_is_named():
    class Forgetful(Configured, keras.layers.Layer):
        def __init__(self, units, **kwargs):
            super().__init__(**kwargs)

    with pytest.raises(TypeError, match="Forgetful must keep its argument 'units'"):
        Forgetful(3).get_config()
