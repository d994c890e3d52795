import numpy as np

from benchmarks import gpu_check


def result(**changes):
    samples = np.zeros([16, 2, 2, 1], np.int32)
    base = {"scores": np.zeros([4, 2, 2]), "samples": samples, "distances": np.full(samples.shape, 0.3)}
    return {**base, "losses": [2.0, 1.0], "step_seconds": 1.0, "sample_seconds": 1.0, **changes}


def tipped(distance):
    samples, distances = np.zeros([16, 2, 2, 1], np.int32), np.full([16, 2, 2, 1], 0.3)
    samples[5, 0, 1] = 1
    samples[5, 1, 0] = 2  # follows from the first difference
    distances[5, 0, 1] = distance
    return result(samples=samples, distances=distances)


def test_equal_results_pass():
    assert gpu_check.compare(result(), result())["passed"]


def test_a_tie_passes_and_is_counted():
    comparison = gpu_check.compare(tipped(1e-6), result(distances=tipped(1e-6)["distances"]))
    assert comparison["passed"] and comparison["samples_with_a_tie"] == 1


def test_a_difference_without_a_tie_fails():
    comparison = gpu_check.compare(tipped(0.2), result(distances=tipped(0.2)["distances"]))
    assert not comparison["passed"] and comparison["samples_that_differ_without_a_tie"] == 1


def test_other_numerics_fail():
    assert not gpu_check.compare(result(), result(scores=np.full([4, 2, 2], 0.01)))["passed"]
    assert not gpu_check.compare(result(), result(losses=[2.0, 1.1]))["passed"]
    assert not gpu_check.compare(result(), result(losses=[2.0, np.nan]))["passed"]
