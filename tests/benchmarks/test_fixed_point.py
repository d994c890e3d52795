import json

import numpy as np
import pytest

from benchmarks import fixed_point
from tests.commands import run


def test_passes_of_events_alone():
    """A pass that changes the last site of a block alone ends it; otherwise one more proves that nothing changes."""
    settled = np.array([[1, 2, 0, 1], [0, 0, 2, 3], [1, 1, 1, 0]])
    assert fixed_point.passes_alone(settled, 2).tolist() == [2 + 1, 1 + 3, 2 + 2]
    assert fixed_point.passes_alone(settled, 4).tolist() == [3, 3, 2]
    colours = np.arange(8).reshape(1, 2, 2, 2)  # two sites in a cell
    assert fixed_point.passes_alone(colours, 2).tolist() == [3 + 7]


@pytest.mark.large
@pytest.mark.parametrize("name", ["fixed_point", "drafts"])
def test_the_commands(name, tmp_path):
    own = ["--models=digits", "--cores=1", "--events=4"] if name == "fixed_point" else ["--batches=1", "--steps=2"]
    file = tmp_path / "figures.json"
    run(f"benchmarks.{name}", "--tiny", "--modes=plain", "--repeats=1", f"--folder={tmp_path}", f"--json={file}", *own)
    figures = json.loads(file.read_text())["figures"]
    assert figures and all(item["quick"] for item in figures.values())
