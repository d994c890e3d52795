"""Configurations are frozen: what was saved before `Configured` read them from constructors still loads, and equals.

tests/golden/layer_configs.json was written once by commit a8851ec, where every class said its arguments twice.
"""

import json
import pathlib

import keras
import pytest

from tfar import conditions
from tfar.testing.registry import HEADS, LAYERS

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "layer_configs.json").read_text())
CONDITIONS = (
    conditions.Label(3),
    conditions.Vector(4),
    conditions.Spatial(2),
    conditions.Local(2, 4),
    conditions.Local(3, 2, delay=1),
    conditions.Joint([conditions.Label(3), conditions.Local(2, 4)]),
)
CASES = {
    **{("layers", case.name): case.build for case in LAYERS},
    **{("heads", case.name): case.build for case in HEADS},
    **{("conditions", repr(condition)): lambda condition=condition: condition for condition in CONDITIONS},
}


def saved(thing):
    """What a file holds of it, but for the name, which counts the layers of the process."""
    data = json.loads(json.dumps(keras.saving.serialize_keras_object(thing)))
    data["config"].pop("name", None)
    return data


@pytest.mark.parametrize("kind", GOLDEN)
def test_every_case_that_was_is(kind):
    assert set(GOLDEN[kind]) <= {name for of, name in CASES if of == kind}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, cases in GOLDEN.items() for name in cases])
def test_equals_what_was_saved(kind, name):
    old = GOLDEN[kind][name]
    assert saved(CASES[kind, name]()) == old
    assert saved(keras.saving.deserialize_keras_object(old)) == old
