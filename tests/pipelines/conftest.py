"""Tiny runs; most tests of this folder look at what they left."""

import pytest


@pytest.fixture(scope="session")
def runs_bank(common_folder):
    """Trained runs, shared between the processes."""
    from tests.runs import Runs

    return Runs(common_folder / "runs")


@pytest.fixture(scope="session")
def trained(runs_bank):
    """The complete run on digits and what the command wrote."""
    found = runs_bank.digits()
    assert found["code"] == 0, found["stderr"]
    return found
