"""The MADE benchmark: early stopping keeps the best weights; the limits are reached on the real data."""

import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

from benchmarks import made_datasets
from tests.commands import run
from tfar import heads, models

ROOT = pathlib.Path(__file__).parents[2]


def test_best_weights_are_kept_and_training_stops():
    rng = np.random.default_rng(0)
    x = (rng.random([40, 5]) < [0.9, 0.1, 0.5, 0.8, 0.3]).astype(np.int32)
    valid = (rng.random([40, 5]) < [0.9, 0.1, 0.5, 0.8, 0.3]).astype(np.int32)
    model = models.MADE((5,), heads.Bernoulli(), hidden=(30,))
    before = -np.mean(model.log_prob(valid))
    epochs, best = made_datasets.train(
        model,
        keras.optimizers.Adagrad(0.3, 1.0),
        x,
        valid,
        batch_size=16,
        look_ahead=5,
        max_epochs=200,
        seed=0,
    )
    assert 5 < epochs < 200, "forty examples are soon learned by heart"
    assert best < before
    np.testing.assert_allclose(-np.mean(model.log_prob(valid)), best, rtol=1e-5)


@pytest.mark.large
def test_limits_are_reached(tmp_path):
    folder = pathlib.Path(os.environ.get("TFAR_SHARED_DATA", ROOT.parent / "shared" / "data")) / "made"
    if not folder.exists():
        pytest.skip("the data sets of the MADE paper are not here: set TFAR_SHARED_DATA")
    file = tmp_path / "made.json"
    arguments = [sys.executable, "-m", "benchmarks.made_datasets", f"--data_dir={folder}", f"--json={file}"]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    written = json.loads(file.read_text())
    assert list(written["figures"]["likelihoods/made"]["values"]) == ["dna", "mushrooms", "nips"]
    for row in written["details"]:
        assert row["test_nats"] <= row["limit_nats"]
        assert row["train_seconds"] <= 60


def test_unknown_data_sets_are_named():
    code, _, err = run("benchmarks.made_datasets", "--datasets=adult")
    assert code == 2 and "error: --datasets must be some of dna, mushrooms, nips, got 'adult'" in err
