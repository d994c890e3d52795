"""Names and shapes of all weights are frozen: a renamed attribute would make saved models unreadable.

PYTHONPATH=. python tests/conformance/test_parameter_shapes.py      # after an intended change: writes the table anew
"""

import json
import pathlib

import pytest

from tfar.core import compat
from tfar.core.paths import attribute_paths
from tfar.testing.registry import MODELS

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "parameter_shapes.json"
REMAKE = "PYTHONPATH=. python tests/conformance/test_parameter_shapes.py"


def parameter_shapes(model):
    """{path of attributes / name: shape} of every weight; Keras saves weights under such paths."""
    shapes, paths = {}, attribute_paths(model)
    for layer in compat.all_layers(model):
        for weight in compat.own_weights(layer):
            assert id(layer) in paths, f"{layer.name!r} cannot be reached through public attributes"
            shapes[f"{paths[id(layer)]}/{weight.name}"] = list(weight.shape)
    assert len(shapes) == len(model.weights)
    return dict(sorted(shapes.items()))


@pytest.mark.parametrize("name", [pytest.param(case.name, marks=pytest.mark.xdist_group(case.name)) for case in MODELS])
def test_parameter_shapes(name):
    from tests.conformance.shared import model_of

    frozen = json.loads(GOLDEN.read_text())
    assert name in frozen, f"a new case: run {REMAKE}"
    found = parameter_shapes(model_of(name))
    assert found == frozen[name], f"saved models become unreadable; if that is intended, run {REMAKE}"


def test_no_stale_entries():
    assert set(json.loads(GOLDEN.read_text())) == {case.name for case in MODELS}, f"run {REMAKE}"


if __name__ == "__main__":
    table = {case.name: parameter_shapes(case.build()) for case in sorted(MODELS, key=lambda case: case.name)}
    lines = []
    for name, shapes in table.items():
        rows = ",\n".join(f"  {json.dumps(key)}: {json.dumps(shape)}" for key, shape in shapes.items())
        lines.append(f"{json.dumps(name)}: {{\n{rows}\n}}")
    GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{sum(map(len, table.values()))} weights of {len(table)} models written to {GOLDEN}")
