"""Configurations of models are frozen: what was saved before constructors said their arguments once still loads.

tests/golden/model_configs.json was written once by commit a8851ec, where every class said its arguments twice.
"""

import json
import pathlib

import keras
import pytest

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "model_configs.json").read_text())


def saved(model):
    """What a file holds of it, but for the name, which counts the models of the process."""
    data = json.loads(json.dumps(keras.saving.serialize_keras_object(model)))
    data["config"].pop("name")
    return data


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in GOLDEN])
def test_equals_what_was_saved(name):
    from tests.conformance.shared import model_of

    # A file with this configuration is loaded in test_models.py.
    assert saved(model_of(name)) == GOLDEN[name]


@pytest.mark.large
@pytest.mark.parametrize("name", GOLDEN)
def test_loads_what_was_saved(name):
    assert saved(keras.saving.deserialize_keras_object(GOLDEN[name])) == GOLDEN[name]
