import pathlib
import time

import numpy as np
import pytest

from benchmarks import gpu_check, gpu_report


def result(**changes):
    samples = np.zeros([16, 2, 2, 1], np.int32)
    base = {"scores": np.zeros([4, 2, 2]), "distances": np.full([16, 2, 2], 0.3), "losses": np.array([2.0, 1.0])}
    return {**base, **{f"samples_{name}": samples for name in ("plain", "xla", "naive")}, **changes}


def tipped(sampler):
    samples = np.zeros([16, 2, 2, 1], np.int32)
    samples[5, 0, 1] = 1
    samples[5, 1, 0] = 2  # follows from the first difference
    return {f"samples_{sampler}": samples}


def near_a_boundary():
    distances = np.full([16, 2, 2], 0.3)
    distances[5, 0, 1] = 1e-6
    return {"distances": distances}


def test_equal_results_pass():
    assert gpu_check.compare(result(), result())["passed"]


@pytest.mark.parametrize("sampler", ["plain", "xla", "naive"])
def test_a_tie_passes_and_is_counted(sampler):
    comparison = gpu_check.compare(result(**near_a_boundary()), result(**tipped(sampler)))
    assert comparison["passed"] and comparison["samples_with_a_tie"] == 1


@pytest.mark.parametrize("sampler", ["plain", "xla", "naive"])
def test_a_difference_without_a_tie_fails(sampler):
    comparison = gpu_check.compare(result(), result(**tipped(sampler)))
    assert not comparison["passed"] and comparison["samples_that_differ_without_a_tie"] == 1


def test_other_numerics_fail():
    assert not gpu_check.compare(result(), result(scores=np.full([4, 2, 2], 0.01)))["passed"]
    assert not gpu_check.compare(result(), result(losses=np.array([2.0, 1.1])))["passed"]
    assert not gpu_check.compare(result(), result(losses=np.array([2.0, np.nan])))["passed"]
    assert not gpu_check.compare(result(), None)["passed"]


def test_a_job_that_failed_fails_the_check_and_is_shown():
    job = {"kind": "train", "model": "made", "precision": "tf32", "xla": True, "error": "exit code 1: out of memory"}
    found = {"gpu": "NVIDIA H200", "jobs": [job], "numerics": {"made": gpu_check.compare(result(), result())}}
    assert not gpu_check.passed(found)
    assert "out of memory" in gpu_report.table(found)
    assert gpu_check.passed({**found, "jobs": []})


def test_share_of_the_peak():
    job = {"kind": "train", "model": "made", "precision": "tf32", "xla": True, "batch": 4, "step_s": 0.01}
    job |= {"examples_per_s": 400.0, "tflop_per_s": 49.45, "first_call_s": 3.0, "peak_gib": 1.5}
    assert "| made, batch 4 | tf32 | yes | 10.0 | 400 | 49.5 | 10% | 1.5 | 3 s |" in gpu_report.table(
        {"gpu": "NVIDIA H200", "jobs": [job]}
    )


@pytest.mark.large
def test_jobs_run(tmp_path):
    """A process of every kind, tiny, on the CPU."""
    first, *steps = gpu_check.waves(["numerics", "train", "sample"], True, "CPU:0", pathlib.Path(tmp_path))
    chosen = list({job["kind"]: job for job in first if job["kind"] != "numerics"}.values())
    chosen += [job for job in first if job["kind"] == "numerics" and job["model"] == "made"] + steps[0][:1]
    done = list(gpu_check.run_wave(chosen, 2, time.monotonic() + 1200))
    assert [job for job in done if "error" in job] == []
    comparison = gpu_check.compare(*(gpu_check.load(tmp_path, "made", device) for device in ("cpu", "gpu")))
    assert comparison["passed"]
    assert "fixed point" in gpu_report.table({"gpu": "none", "jobs": done})
