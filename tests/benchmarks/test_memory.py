import json
import math

from benchmarks import memory


def test_a_step_is_measured_and_printed():
    recomputed = memory.measure("image_transformer_tiny", (4, 4, 1), 2, "recomputed")
    assert recomputed["way"] == "recomputed"
    results = [{**recomputed, "way": "kept"}, recomputed]
    for result in results:
        assert math.isfinite(result["loss"])
        assert result["step_mib"] >= 0 < result["before_mib"]
        assert json.loads(json.dumps(result)) == result
    lines = memory.table(results).splitlines()
    assert lines[0].startswith("image_transformer_tiny, 4 x 4 x 1")
    assert [line.split()[:2] for line in lines[2:]] == [["2", "kept"], ["2", "recomputed"]]


def test_ways_are_those_that_the_model_has():
    assert memory.ways("pixel_snail_tiny") == ["kept", "recomputed", "blocked", "both"]
    assert memory.ways("image_transformer_tiny") == ["kept", "recomputed"]


def test_shares_are_of_what_is_kept():
    common = {"preset": "p", "event_shape": [2, 2, 1], "batch": 8, "step_s": 1.0}
    pair = [{**common, "way": "kept", "step_mib": 200}, {**common, "way": "recomputed", "step_mib": 50}]
    assert "200 MiB" in memory.table(pair)
    assert "25%" in memory.table(pair)
