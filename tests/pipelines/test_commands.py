import json

import numpy as np
import pytest
from PIL import Image

from pipelines import evaluate, sample
from pipelines import workdir as runs
from tests.commands import run


@pytest.fixture(scope="module")
def workdir(trained):
    return trained["workdir"]


def test_evaluate_agrees_with_the_run(workdir):
    record, line = evaluate.evaluate(workdir, "test", batch_size=77)
    score = json.loads((workdir / "test.json").read_text())
    assert record["nats"] == pytest.approx(score["nats"], abs=1e-4)
    assert record["examples"] == 180 and record["weights"] == "averaged" and "single model" in line
    low, high = record["bits_per_dim_interval"]
    assert low < record["bits_per_dim"] < high
    raw, line = evaluate.evaluate(workdir, "test", weights="raw")
    assert raw["nats"] != record["nats"] and "raw weights" in line


def test_shuffled_conditions_are_worth_less(workdir):
    record, line = evaluate.evaluate(workdir, "test", shuffle_conditions=True)
    assert record["conditions"] == "shuffled" and line.endswith(", conditions shuffled")
    assert record["nats"] != json.loads((workdir / "test.json").read_text())["nats"]


def test_two_runs_are_compared_example_by_example(workdir):
    same, line = evaluate.evaluate(workdir, "test", compare=str(workdir))
    assert same["difference"]["bits_per_dim"] == 0 and same["difference"]["better"] == 0
    record, line = evaluate.evaluate(workdir, "test", shuffle_conditions=True, compare=str(workdir))
    right = json.loads((workdir / "test.json").read_text())
    found = record["difference"]
    assert found["bits_per_dim"] == pytest.approx(record["bits_per_dim"] - right["bits_per_dim"], abs=1e-5)
    low, high = found["bits_per_dim_interval"]
    assert low < found["bits_per_dim"] < high and found["examples"] == 180
    assert len(line.splitlines()) == 3 and line.splitlines()[2].startswith(f"difference: {found['bits_per_dim']:+.4f}")


def test_sample_is_a_function_of_the_seed(workdir, tmp_path):
    out = tmp_path / "a.png"
    first = sample.sample(workdir, 5, str(out), seed=3)
    again = sample.sample(workdir, 7, str(out), seed=3, columns=7)
    np.testing.assert_array_equal(first, again[:5])
    assert not np.array_equal(first, sample.sample(workdir, 5, str(out), seed=4))
    with Image.open(out) as picture:
        assert picture.size[0] > 64
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_low_temperature_and_label(workdir, tmp_path):
    out = str(tmp_path / "a.png")
    cold = sample.sample(workdir, 3, out, label=3, temperature=1e-6)
    assert (cold == cold[:1]).all()  # the limit draws the most probable value everywhere


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num": 0}, "--num must be at least 1, got 0"),
        ({"temperature": 0.0}, "--temperature must be a positive number, got 0.0"),
        ({"temperature": -1.0}, "--temperature must be a positive number"),
        ({"temperature": float("nan")}, "--temperature must be a positive number"),
        ({"seed": -1}, "--seed must be at least 0"),
        ({"label": 10}, "--label must lie in 0 to 9, got 10"),
        ({"label": -1}, "--label must lie in 0 to 9"),
        ({"out": "a.jpg"}, "--out must end in .png"),
        ({"workdir": "nowhere"}, "--workdir=nowhere holds no run"),
    ],
)
def test_bad_arguments_write_nothing(workdir, tmp_path, arguments, message):
    arguments = {"workdir": workdir, "num": 2, "out": str(tmp_path / "a.png")} | arguments
    with pytest.raises(ValueError, match=message) as error:
        sample.sample(**arguments)
    assert "\n" not in str(error.value) and not list(tmp_path.iterdir())


def test_a_label_without_a_label_condition(workdir, tmp_path):
    record = runs.read_config(workdir)
    record["resolved"]["condition"] = None
    with pytest.raises(ValueError, match="--label=3 was given, but the model .* has no Label condition"):
        sample.conditions_of(workdir, record, 3, 2)


def test_a_bad_flag_is_one_line_and_exit_code_2(tmp_path):
    out = tmp_path / "a.png"
    code, stdout, stderr = run("pipelines.sample", "--num=0", f"--out={out}")
    assert code == 2 and stdout == "" and stderr == "error: --num must be at least 1, got 0\n"
    code, _, stderr = run("pipelines.evaluate", f"--workdir={tmp_path}")
    assert code == 2 and len(stderr.splitlines()) == 1 and "holds no run" in stderr
    code, _, stderr = run("pipelines.train", "--config.train.stepz=3", f"--workdir={tmp_path / 'run'}")
    assert code == 2 and len(stderr.splitlines()) == 1 and "stepz" in stderr
    assert not list(tmp_path.iterdir())
