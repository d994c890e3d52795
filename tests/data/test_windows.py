import numpy as np
import pytest

from tfar.data import WindowBatches


def text(length):
    return {"x": np.arange(length, dtype=np.int32)[None]}


def test_random_windows_are_a_function_of_seed_and_step():
    batches = WindowBatches(text(50), 8, 5, seed=3)
    first = batches.batch(4)["x"]
    np.testing.assert_array_equal(first, WindowBatches(text(50), 8, 5, seed=3).batch(4)["x"])
    assert not np.array_equal(first, batches.batch(5)["x"])
    assert not np.array_equal(first, WindowBatches(text(50), 8, 5, seed=4).batch(4)["x"])
    np.testing.assert_array_equal(np.diff(first), 1)


def test_every_place_is_equally_probable():
    batches = WindowBatches(text(12), 500, 5)
    counts = np.bincount(np.concatenate([batches.batch(step)["x"][:, 0] for step in range(8)]), minlength=8)
    assert len(counts) == 8 and abs(counts - 500).max() < 110  # 5 standard deviations


def test_windows_stay_inside_of_their_sequence():
    x = np.arange(3)[:, None] * 100 + np.arange(9)
    x[1, 4:] = -1  # padding
    batches = WindowBatches({"x": x, "length": [9, 4, 2], "condition": np.array([5, 6, 7])}, 400, 4)
    batch = batches.batch(0)
    assert (batch["x"] >= 0).all() and set(batch["x"][:, 0]) == {0, 1, 2, 3, 4, 5, 100}
    np.testing.assert_array_equal(batch["condition"], 5 + batch["x"][:, 0] // 100)


def test_a_condition_of_frames_is_cut_alike():
    x = np.arange(24)[None]
    batches = WindowBatches({"x": x, "condition": np.arange(6)[None, :, None]}, 50, 8, hop=4)
    batch = batches.batch(1)
    assert set(batch["x"][:, 0]) == {0, 4, 8, 12, 16}
    np.testing.assert_array_equal(batch["condition"][:, :, 0], batch["x"][:, ::4] // 4)


def test_contiguous_batches_follow_one_another():
    batches = WindowBatches(text(100), 4, 6, seed=1, contiguous=True)
    steps = batches.steps_per_epoch
    assert steps == 95 // 4 // 6 == 3
    seen = [batches.batch(step) for step in range(2 * steps)]
    assert [int(batch["offset"]) for batch in seen] == [0, 6, 12] * 2
    for epoch in (seen[:steps], seen[steps:]):
        rows = np.concatenate([batch["x"] for batch in epoch], 1)
        np.testing.assert_array_equal(np.diff(rows), 1)
        np.testing.assert_array_equal(np.diff(rows[:, 0]), 18)  # the rows are stretches, one after the other
        assert rows.max() < 100
    starts = {int(batches.batch(epoch * steps)["x"][0, 0]) for epoch in range(40)}
    assert starts == set(range(6))  # the borders of windows move


def test_a_whole_epoch_fits_at_the_tightest_length():
    batches = WindowBatches(text(4 * 6 + 5), 4, 6, contiguous=True)
    assert batches.steps_per_epoch == 1
    assert max(batches.batch(step)["x"].max() for step in range(30)) == 28


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"window": 21}, "window must be at most the length of a sequence, 20, got 21"),
        ({"window": 8, "contiguous": True, "batch_size": 3}, "too short for 3 contiguous rows of windows of 8.*32"),
        ({"window": 6, "hop": 4}, "multiple of hop=4"),
        ({"window": 0}, "window must be an integer"),
        ({"batch_size": 0}, "batch_size"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_arguments(arguments, match):
    with pytest.raises(ValueError, match=match):
        WindowBatches(text(20), **{"batch_size": 2, "window": 5, **arguments})


def test_several_sequences_are_not_contiguous():
    with pytest.raises(ValueError, match="need one sequence, got 2"):
        WindowBatches({"x": np.zeros([2, 9])}, 1, 3, contiguous=True)


@pytest.mark.parametrize("step", [-1, 1.5, True])
def test_bad_step(step):
    with pytest.raises(ValueError, match="step must be"):
        WindowBatches(text(20), 2, 5).batch(step)
