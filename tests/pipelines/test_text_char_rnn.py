"""The tiny text run from end to end, in this process."""

import json
import math

import numpy as np
import pytest

import tfar
from pipelines import evaluate, train
from pipelines import record as records
from pipelines import workdir as runs
from pipelines.configs import text_char_rnn
from tests.runs import TEXT, char_rnn
from tfar import training
from tfar.data import load_arrays


@pytest.fixture(scope="module")
def file(runs_bank):
    return runs_bank.file


@pytest.fixture(scope="module")
def workdir(runs_bank):
    return runs_bank.char_rnn()


def test_scores_are_in_bits_and_nats_per_character(workdir, file):
    score = json.loads((workdir / "test.json").read_text())
    _, info = load_arrays(f"text:{file}", "test")
    assert score["nats_per_char"] == pytest.approx(score["bits_per_char"] * math.log(2))
    assert score["examples"] == info.num_values == round(0.1 * len(TEXT)) and score["sequences"] == 1
    assert (
        score["nats_per_char"] < math.log(info.levels) - 0.3
        and score["how"] == "every element given all before it that the model sees"
    )
    records = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert {"train_bits_per_char", "train_nats_per_char"} <= set(records[0])
    assert {"valid_bits_per_char", "valid_nats_per_char"} <= set(records[-1])
    assert "bits/char" in (workdir / "report.html").read_text()


def test_evaluate_scores_every_character_of_the_saved_model(workdir, file):
    record, line = evaluate.evaluate(str(workdir), "valid")
    model = tfar.models.load(str(workdir / "model.keras"))
    arrays, info = load_arrays(f"text:{file}", "valid")
    assert record["nats_per_char"] == pytest.approx(-float(np.mean(model.score(arrays["x"]))), abs=1e-4)
    assert f"{info.num_values} characters in 1 sequence" in line and "nats/char" in line
    assert model.text_vocabulary.decode(arrays["x"][0]) in TEXT and record["model"] == "CharRNN"


def test_the_vocabulary_travels_with_the_run(workdir):
    run = runs.load_run(workdir)
    assert run.model.vocabulary == run.resolved["model"]["vocabulary"] == "".join(sorted(set(TEXT)))
    assert run.resolved["event_shape"] == [None]
    assert "offset" in runs.load_batches(run.config)[0].batch(0)  # the state is carried


@pytest.mark.large
def test_a_run_that_stopped_goes_on_as_if_it_had_not(workdir, file, tmp_path):
    assert train.train(char_rnn(file, steps=15), tmp_path) == 0
    config = char_rnn(file)
    assert train.train(config, tmp_path) == 0
    one, other = (training.Checkpoints(folder / "checkpoints").load(30) for folder in (workdir, tmp_path))
    assert set(one.carried) == set(other.carried) == {"last", "layers.0/h", "layers.0/c"}


def test_another_window_is_another_run(workdir, file):
    config = char_rnn(file)
    config["data"]["window"] = 8
    old = runs.read_config(workdir)
    record = runs.describe(config, old["resolved"], old["data"])
    with pytest.raises(ValueError, match="data.window is 16 there and 8 now"):
        records.compare(workdir, record)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("", "the text is empty"),
        ("hello", "split 'train' of 5 chars: window must be at most the length of a sequence, 5, got 16"),
        ("hello" * 30, "too short for 8 contiguous rows"),
    ],
)
def test_a_text_that_is_too_short_is_one_error(tmp_path, content, match):
    path = tmp_path / "short.txt"
    path.write_text(content)
    with pytest.raises(ValueError, match=match) as error:
        train.train(char_rnn(path), tmp_path / "run")
    assert "short.txt" in str(error.value) and "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.txt"):
        train.train(char_rnn(tmp_path / "nowhere.txt"), tmp_path / "run")


def test_a_window_must_be_given(file):
    config = char_rnn(file)
    config["data"]["window"] = None
    with pytest.raises(ValueError, match="config.data.window"):
        runs.load_batches(config)


def test_the_real_configuration_builds():
    config = text_char_rnn.get_config().to_dict()
    config["data"]["name"] = "text"
    batches, info = runs.load_batches(config)
    model = runs.build_model(runs.resolve_model(config, info))
    assert model.count_params() > 800_000 and batches.batch(0)["x"].shape == (64, 64)


@pytest.mark.large
def test_half_precision_trains_and_is_scored_in_single(file, tmp_path):
    assert train.train(char_rnn(file, precision="mixed_bfloat16"), tmp_path / "half") == 0
    model = tfar.models.load(str(tmp_path / "half" / "model.keras"))
    assert model.network.compute_dtype == "float32"
