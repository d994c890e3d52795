import json
import math

from benchmarks import memory


def test_a_step_is_measured_and_printed():
    results = [memory.measure("image_transformer_tiny", (4, 4, 3), 2, recompute) for recompute in (False, True)]
    assert [result["recompute"] for result in results] == [False, True]
    for result in results:
        assert math.isfinite(result["loss"])
        assert result["step_mib"] >= 0 < result["before_mib"]
        assert json.loads(json.dumps(result)) == result
    lines = memory.table(results).splitlines()
    assert lines[0].startswith("image_transformer_tiny, 4 x 4 x 3")
    assert lines[2].split()[0] == "2"


def test_shares_are_of_what_is_kept():
    common = {"preset": "p", "event_shape": [2, 2, 1], "batch": 8, "step_s": 1.0}
    pair = [{**common, "step_mib": 200}, {**common, "step_mib": 50}]
    assert "200 MiB" in memory.table(pair)
    assert "25%" in memory.table(pair)
