"""Texts of any length on the server, by the signatures themselves."""

import numpy as np
import pytest

from export.client import Client, ServingError
from tests.export.tiny import seeds


@pytest.fixture(scope="module")
def run(served):
    """Calls a signature of the texts."""
    with Client(served.target, "texts") as client:
        yield lambda signature, **inputs: client.predict(signature, inputs)


def test_a_stream_without_a_length_goes_on(run):
    whole = run("sample", seed=seeds(1), length=np.int32([30]))
    assert whole["samples"].shape == (1, 30) and whole["length"].tolist() == [30]
    begun = run("session_begin", seed=seeds(1), prefix=whole["samples"][:, :11])
    assert begun["position"].tolist() == [11]
    steps = [run("session_step", session_id=begun["session_id"], n=np.int32([n])) for n in (1, 13, 5)]
    np.testing.assert_array_equal(np.concatenate([step["chunk"] for step in steps], 1), whole["samples"][:, 11:])
    assert steps[-1]["position"].tolist() == [30] and steps[-1]["done"].tolist() == [0]
    assert run("session_end", session_id=begun["session_id"])["ended"].tolist() == [1]


def test_lengths_differ_by_row(run):
    long = run("sample", seed=seeds(2), length=np.int32([9, 9]))["samples"]
    served = run("sample", seed=seeds(2), length=np.int32([9, 4]))
    np.testing.assert_array_equal(served["samples"][0], long[0])
    np.testing.assert_array_equal(served["samples"][1], [*long[1, :4], 0, 0, 0, 0, 0])
    with pytest.raises(ServingError, match="prefix must be no longer than the event; values:"):
        run("sample", prefix=np.zeros([1, 5], np.int32), length=np.int32([4]))


def test_states_without_a_length(run):
    whole = run("sample", seed=seeds(1), length=np.int32([12]))["samples"]
    out = run("start", seed=seeds(1))
    first = run("step", state=out["state"], n=np.int32([4]))
    second = run("step", state=first["state"], n=np.int32([8]))
    np.testing.assert_array_equal(np.concatenate([first["chunk"], second["chunk"]], 1), whole)
