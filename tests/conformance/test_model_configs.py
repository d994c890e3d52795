"""Configurations of models are frozen: what was saved before constructors said their arguments once still loads.

tests/golden/model_configs.json was written once by commit a8851ec, where every class said its arguments twice.
"""

import json
import pathlib

import keras
import pytest

from tfar.testing.registry import MODELS

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "model_configs.json").read_text())
CASES = {case.name: case for case in MODELS}


def saved(model):
    """What a file holds of it, but for the name, which counts the models of the process."""
    data = json.loads(json.dumps(keras.saving.serialize_keras_object(model)))
    data["config"].pop("name")
    return data


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in GOLDEN])
def test_equals_what_was_saved(name):
    from tests.conformance.shared import model_of

    old = GOLDEN[name]
    assert saved(model_of(name)) == old
    if CASES[name].representative:  # every case is loaded from a file of its own in test_models.py
        assert saved(keras.saving.deserialize_keras_object(old)) == old
