"""Tiny runs; most tests of this folder look at what they left."""

import os

import pytest


@pytest.fixture(scope="session")
def runs_bank(tmp_path_factory):
    """Trained runs, shared between the processes of pytest-xdist."""
    from tests.runs import Runs

    base = tmp_path_factory.getbasetemp()
    return Runs((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "runs")


@pytest.fixture(scope="session")
def trained(runs_bank):
    """The complete run on digits and what the command wrote."""
    found = runs_bank.digits()
    assert found["code"] == 0, found["stderr"]
    return found
