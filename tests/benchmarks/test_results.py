import json
import re

import pytest

from benchmarks import all as benchmarks_all
from benchmarks import first_call, memory, peers, positions, results, serving_figures
from tests import commands

ORIGIN = {"command": "python -m benchmarks.x", "commit": "abc", "machine": "M", "date": "2026-01-01", "quick": False}


@pytest.mark.parametrize("name", benchmarks_all.PAGES)
def test_pages_are_made_of_the_committed_figures(name):
    page = (results.ROOT / name).read_text(encoding="utf-8")
    assert results.areas(page)
    assert results.render(page, results.load(results.ROOT / "docs" / "results.json")) == page


def test_every_area_has_a_table():
    figures = results.load(results.ROOT / "docs" / "results.json")
    page = (results.ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert set(results.areas(page)) == {name.split("/")[0] for name in figures}
    assert all(item["measured"] and item["machine"] and not item["quick"] for item in figures.values())


def test_render_changes_nothing_but_the_table():
    figures = {"a/one": {**results.figure("what", "1 s", {}), **ORIGIN}}
    begin = results.BEGIN.format("a")
    page = f"before\n{begin}\nold\n{results.END}\nafter"
    made = results.render(page, figures)
    assert made.startswith(f"before\n{begin}\n") and made.endswith(f"{results.END}\nafter") and "old" not in made
    assert "`python -m benchmarks.x`; abc, M, 2026-01-01:\n\n| what | measured |\n|---|---|\n| what | 1 s |\n" in made
    assert results.render(made, figures) == made
    figures["a/two"] = {**figures["a/one"], "target": "2 s", "commit": "def"}
    row = "| what | 2 s | 1 s | `python -m benchmarks.x`; def, M, 2026-01-01 |"
    assert row in results.render(page, figures)
    del figures["a/two"]
    figures["a/one"]["quick"] = True
    with pytest.raises(ValueError, match=r"the area a needs figures of a whole run, got \['a/one'\]"):
        results.render(page, figures)


def test_runs_are_merged_and_go_on(tmp_path, capfd):
    path, line = tmp_path / "figures.json", "python -m tests.benchmarks.one_figure"
    results.dump(path, {"figures": {"likelihoods/digits": {**results.figure("kept", "1", {}), **ORIGIN}}})
    assert benchmarks_all.run([line, f"{line} --fail"], path) == [f"{line} --fail"]
    figures = results.load(path)
    assert list(figures) == ["likelihoods/digits", "tests/one"]
    assert figures["tests/one"]["command"] == line and figures["tests/one"]["values"] == {"s": 1.0}
    assert "cores" in figures["tests/one"]["machine"] and not figures["tests/one"]["quick"]
    before = path.stat().st_mtime_ns
    assert benchmarks_all.run([line], path) == [] and path.stat().st_mtime_ns == before
    assert "[1/1] is there" in capfd.readouterr().out
    assert benchmarks_all.run([line], path, again=True) == [] and path.stat().st_mtime_ns > before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--parts=speed"], "--parts must be of sampling, .*; got speed"),
        (["--parts=", "--quick", "--write"], "--write takes figures of a whole run, not of --quick"),
        (["--parts=", "--quick", "--json=docs/results.json"], "--quick needs a file of its own"),
    ],
)
def test_flags_are_checked(arguments, message):
    code, _, err = commands.run("benchmarks.all", *arguments)
    assert code == 2 and re.search(f"error: {message}", err)


def test_texts_hold_the_figures():
    process = {"first_call_s": 8.0, "draw_s": 0.5, "event_shape": [8, 8, 1], "class": "C", "num_parameters": 7}
    result = {"model": "m", "batch": 16, "cache_bytes": 2**20, "processes": [process, {**process, "first_call_s": 2.0}]}
    assert first_call.figures(result)["first_call/m"]["measured"] == (
        "8.0 s, in a second process 2.0 s (0.25); drawing alone 0.5 s; 1.0 MiB on disk"
    )
    common = {"preset": "p", "event_shape": [2, 2, 1], "batch": 8}
    pair = [{**common, "way": "kept", "step_mib": 200}, {**common, "way": "recomputed", "step_mib": 50}]
    assert memory.figures(pair)["memory/p_batch_8"]["measured"] == "200 MiB; recomputed 50 (25%)"
    ratio = {"same_s": 0.01, "own_s": 0.012, "positions": 4, "ratio": 1.2}
    assert positions.figures({"made": ratio}, 64)["positions/made"]["measured"] == "1.20 (12.0 ms, 10.0 ms)"
    overhead = {"rows": {"16": {"in_process_s": 0.01, "grpc_s": 0.011, "ratio": 1.1}}, "failures": []}
    found = serving_figures.figures({"overhead": overhead, "replicas": {"failures": ["x"]}})
    assert list(found) == ["serving/overhead_16"] and found["serving/overhead_16"]["measured"] == "1.10 (11 ms, 10 ms)"
    two = {"batch": 2, "image": [8, 8, 1], "filters": 4, "num_resnets": 1, "weights": 5, "peer_weights": 6}
    seconds = {"xla_sample_s": 0.5, "peer_sample_s": 100.0, "times_faster": 200.0, "xla_first_call_s": 9.0}
    steps = {"step_s": 0.4, "peer_step_s": 0.5, "step_ratio": 0.8}
    measured = peers.figures({**two, **seconds, **steps})
    assert measured["peers/sample"]["measured"].startswith("200 times faster (0.50 s, 100 s)")
    assert json.loads(json.dumps(measured)) == measured
