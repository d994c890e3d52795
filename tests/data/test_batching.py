"""Tests of `tfar.data.batching`."""

import itertools

import numpy as np
import pytest

from tfar.data import Batches, sequential


def arrays(num: int) -> dict[str, np.ndarray]:
    """X and label both tell the index of the example."""
    return {"x": np.arange(num)[:, None] * np.ones([1, 2], int), "label": np.arange(num)}


@pytest.mark.parametrize(("num", "batch_size"), [(10, 5), (10, 3), (7, 7), (3, 8), (1, 4)])
@pytest.mark.parametrize("shuffle", [True, False])
def test_every_example_once_an_epoch(num, batch_size, shuffle):
    """The stream, cut into epochs, holds every example once in each."""
    batches = Batches(arrays(num), batch_size, seed=1, shuffle=shuffle)
    steps = [batches.batch(step) for step in range(num * 3)]
    assert all(batch["x"].shape == (batch_size, 2) for batch in steps)
    stream = np.concatenate([batch["label"] for batch in steps]).reshape(-1, num)
    np.testing.assert_array_equal(np.sort(stream, axis=1), np.tile(np.arange(num), (len(stream), 1)))
    if not shuffle:
        np.testing.assert_array_equal(stream, np.tile(np.arange(num), (len(stream), 1)))


def test_arrays_stay_together():
    """Rows of all arrays are taken alike."""
    batch = Batches(arrays(20), 6).batch(5)
    np.testing.assert_array_equal(batch["x"][:, 0], batch["label"])


def test_epochs_and_seeds_differ():
    """Every epoch has its own order, and every seed."""
    orders = {tuple(Batches(arrays(20), 20, seed=s).indices(e)) for s in (0, 1) for e in range(3)}
    assert len(orders) == 6


def test_resume_is_exact():
    """A new object, asked for step s out of order, gives the batch of an uninterrupted run."""
    data = {"x": np.full((11, 4), 100, np.uint8)}
    options = {"seed": 3, "transforms": "dynamic_binarize", "levels": 256}
    whole = [Batches(data, 4, **options).batch(step)["x"] for step in range(12)]
    resumed = Batches(data, 4, **options)
    for step in (11, 2, 7):
        np.testing.assert_array_equal(resumed.batch(step)["x"], whole[step])
    for batch, step in zip(resumed.stream(5), range(5, 9), strict=False):
        np.testing.assert_array_equal(batch["x"], whole[step])


def test_random_transforms_are_redrawn():
    """The same example gets new noise every step, and the description says so."""
    data = {"x": np.full((4, 50), 128, np.uint8)}
    batches = Batches(data, 4, transforms="dynamic_binarize", levels=256)
    assert not np.array_equal(batches.batch(0)["x"], batches.batch(1)["x"])
    assert batches.levels == 2
    assert batches.transforms == ("binarization=dynamic (redrawn every step, seed=0)",)
    assert np.all(data["x"] == 128)


def test_batches_are_copies():
    """Writing into a batch does not touch the data."""
    data = arrays(4)
    Batches(data, 4, shuffle=False).batch(0)["x"][:] = -1
    assert data["x"].min() == 0


@pytest.mark.parametrize(("num", "sizes"), [(10, [4, 4, 2]), (8, [4, 4]), (3, [3])])
def test_sequential_drops_nothing(num, sizes):
    """All examples once, in order, the last batch possibly smaller."""
    batches = list(sequential(arrays(num), 4))
    assert [len(batch["x"]) for batch in batches] == sizes
    np.testing.assert_array_equal(np.concatenate([batch["label"] for batch in batches]), np.arange(num))


def test_errors(one_line_error):
    """Each error names the argument and its value."""
    one_line_error(ValueError, "batch_size must be .* got 0", Batches, arrays(2), 0)
    one_line_error(ValueError, "batch_size must be .* got 2.0", sequential, arrays(2), 2.0)
    one_line_error(ValueError, "seed must be .* got -1", Batches, arrays(2), 1, seed=-1)
    one_line_error(ValueError, "arrays must hold 'x'", Batches, {"y": np.zeros(3)}, 1)
    one_line_error(ValueError, "at least 1", Batches, {"x": np.zeros([0, 2])}, 1)
    uneven = {"x": np.zeros([3, 1]), "label": np.zeros(2)}
    one_line_error(ValueError, "'x': 3, 'label': 2", sequential, uneven, 1)
    one_line_error(ValueError, "step must be .* got -1", Batches(arrays(2), 1).batch, -1)
    one_line_error(ValueError, "levels=None", Batches, arrays(2), 1, transforms="binarize")


def test_stream_has_no_end():
    """More steps than an epoch has."""
    assert len(list(itertools.islice(Batches(arrays(2), 2).stream(), 5))) == 5
