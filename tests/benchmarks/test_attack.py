"""The attacks at a small size, on a server of this process; the quiet client is a process of its own, as always."""

import dataclasses
import os
import time
from pathlib import Path

import pytest

from benchmarks import attack
from export.server.options import Options
from export.server.server import Server


@pytest.fixture(scope="module")
def scene(bank):
    options = Options(
        port=0,
        rest_api_port=0,
        demo=True,
        model_name="pictures",
        model_base_path=str(bank.versions("pictures")),
        rest_api_max_body_bytes=100_000,
        rest_api_max_body_elements=10_000,
    )
    with Server(options) as server:
        target = f"127.0.0.1:{server.port}"
        yield attack.Scene(target, server.rest_port, "pictures", os.getpid(), 60, 0.5, 40, 2_000_000, 0.12)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_attacks_harm_nobody(scene):
    figures = attack.run(scene, memory_bound=8e9)
    assert not [text for text in figures["failures"] if "percentile" not in text]  # tests beside this one take time
    assert list(figures["attacks"]) == list(attack.ATTACKS)
    for phase in (figures["quiet"], *figures["attacks"].values()):
        assert phase["grpc_calls"] and phase["rest_calls"] and 1e8 < phase["memory"]
    assert "fuzz" in attack.table(figures) and len(attack.figures_of(figures)) == len(attack.ATTACKS)


def test_bounds_that_are_broken_are_failures(scene):
    def fail(scene):
        time.sleep(0.5)
        return ["an answer that is not clean"]

    once = dataclasses.replace(scene, seconds=0.3)
    found = attack.run(once, {"nothing": fail}, memory_bound=1e6)["failures"]
    assert "an answer that is not clean" in found and any("the server took" in text for text in found)
