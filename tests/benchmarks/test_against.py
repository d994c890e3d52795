from benchmarks import against
from tests import commands


def test_medians_and_the_median_of_the_ratios_are_shown():
    before = {"forward": [0.01, 0.01, 0.01], "sample": [0.02, 0.04, 0.03]}
    now = {"forward": [0.01, 0.01, 0.01], "sample": [0.01, 0.03, 0.03]}
    rounds = {"before": before, "now": now}
    shown = against.line({"model": "made", "mode": "xla", "same_sample": True, "rounds_s": rounds})
    assert "30.0 -> 30.0 ms" in shown and "3.00 -> 3.00 forwards, ratio 0.75, same sample" in shown


def test_a_folder_that_is_no_checkout_is_refused(tmp_path):
    code, _, err = commands.run("benchmarks.against", f"--tree={tmp_path}")
    assert code == 2 and f"error: --tree={tmp_path} is no checkout of this repository\n" in err
