import html.parser
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

import tfar
from pipelines import evaluations, report
from pipelines import record as records
from pipelines import workdir as runs
from tests.commands import run
from tests.runs import digits_command
from tfar import training
from tfar.data import load_arrays


@pytest.fixture(scope="module")
def workdir(trained):
    return trained["workdir"]


def test_the_last_lines_say_the_score_and_where_things_are(trained, workdir):
    lines = trained["stdout"].splitlines()
    assert re.fullmatch(
        r"digits test: \d\.\d{3} bits/dim \(95% CI \d\.\d{3} to \d\.\d{3}\), [\d.]+ nats per image \(95% CI .*\), "
        r"180 images, averaged weights, single model",
        lines[-5],
    )
    assert lines[-1] == f"curves:  tensorboard --logdir='{workdir / 'tensorboard'}'"
    for line, name in zip(lines[-4:-1], ("report.html", "samples.png", "model.keras"), strict=True):
        assert line.endswith(str(workdir / name)) and (workdir / name).stat().st_size > 500
    stderr = trained["stderr"]
    assert "90/90" in stderr and "bits/dim" in stderr and "Traceback" not in stderr


def test_the_work_directory(workdir):
    names = {path.name for path in workdir.iterdir()}
    assert names == {
        "checkpoints", "config.json", "evaluations", "metrics.jsonl", "model.keras", "report.html", "samples.png",
        "tensorboard", "test.json", "timings.jsonl",
    }  # fmt: skip
    record = json.loads((workdir / "config.json").read_text())
    assert record["config"]["train"]["steps"] == 90 and record["resolved"]["head"]["levels"] == 17
    keys = [set(json.loads(line)) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert {"step", "train_bits_per_dim", "gradient_norm", "learning_rate"} in keys
    assert not any("second" in key for line in keys for key in line)


def test_the_score_beats_the_untrained_model_and_is_that_of_model_keras(workdir):
    score = json.loads((workdir / "test.json").read_text())
    model = tfar.models.load(str(workdir / "model.keras"))
    arrays, info = load_arrays("digits", "test", condition="label")
    assert np.mean(model.bits_per_dim(arrays["x"], arrays["condition"])) == pytest.approx(
        score["bits_per_dim"], abs=1e-5
    )
    untrained = runs.build_model(runs.read_config(workdir)["resolved"])
    start = float(np.mean(untrained.bits_per_dim(arrays["x"], arrays["condition"])))
    assert score["bits_per_dim"] < start - 0.5
    assert score["examples"] == info.num_examples == 180 and score["fingerprint"] == info.fingerprint
    assert "pipelines.train" in score["command"] and score["parameters"] == model.count_params()


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.sources, self.open, self.tags = [], [], set()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.sources += [value for key, value in attributes if key in ("src", "href", "xlink:href", "data")]
        if tag not in ("meta", "img", "br", "link", "path", "use", "rect", "line"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.sources += [value for key, value in attributes if key in ("src", "href", "data")]

    def handle_endtag(self, tag):
        if tag in self.open:
            assert self.open.pop() == tag


def test_the_report_opens_offline(workdir):
    text = (workdir / "report.html").read_text()
    page = Page()
    page.feed(text)
    assert page.open == [] and {"h1", "table", "img", "svg", "figcaption"} <= page.tags
    assert len([source for source in page.sources if source.startswith("data:image/png;base64,")]) == 3 + 2
    assert all(source.startswith(("data:", "#")) for source in page.sources) and "@import" not in text
    for part in ("Samples", "What each pixel costs", "Completions", "Learning curves", "bits/dim", "nats per image",
                 "180, all of the split", "averaged", "parameters", "pipelines.train", "Samples over time",
                 "seconds of training", "tensorboard --logdir="):  # fmt: skip
        assert part in text
    assert "prefers-color-scheme: dark" in text and "var(--ink)" in text and "#010203" not in text


def test_samples_over_time(workdir):
    files = evaluations.kept(workdir, 90)
    assert [step for step, _ in files] == [45, 90]
    assert evaluations.kept(workdir, 89) == files[:1]  # an earlier run was longer
    pixels = [np.asarray(Image.open(path)) for _, path in files]
    assert pixels[0].shape == pixels[1].shape and (pixels[0] != pixels[1]).any()
    seconds = evaluations.clock(workdir)
    assert 0 == seconds(0) < seconds(45) < seconds(90)
    assert [line.count("<figcaption>step ") for line in [(workdir / "report.html").read_text()]] == [2]


def test_the_first_and_the_last_samples_are_shown(tmp_path):
    for step in range(0, 100, 3):
        evaluations.keep(tmp_path, step, b"", "png")
    shown = [step for step, _ in evaluations.kept(tmp_path, 98)]
    assert len(shown) == 6 and shown[0] == 0 and shown[-1] == 96
    left = tmp_path / "evaluations" / ".step-00000099.png.7.tmp"
    left.touch()
    evaluations.remove_temporary(tmp_path)
    assert not left.exists() and evaluations.kept(tmp_path / "none", 9) == []


def test_the_picture_of_samples(workdir):
    with Image.open(workdir / "samples.png") as picture:
        image = np.asarray(picture)
    assert image.shape[1] > 400 and 0 in image and 255 in image


def test_examples_take_the_labels_in_turn():
    arrays, info = load_arrays("digits", "test", condition="label")
    rows = report._examples(arrays, info, 12)
    assert arrays["condition"][rows].tolist() == [*range(10), 0, 1]


def test_a_run_killed_by_sigkill_ends_as_one_that_was_not(runs_bank, workdir, tmp_path):
    victim = runs_bank.killed()
    assert victim["code"] == -9, "the run had ended before it was killed"
    assert not (victim["workdir"] / "report.html").exists()
    killed = tmp_path / "run"
    shutil.copytree(victim["workdir"], killed)
    code, stdout, stderr = run(*digits_command(killed))
    assert code == 0, stderr
    assert "going on from step" in stdout
    assert (killed / "metrics.jsonl").read_bytes() == (workdir / "metrics.jsonl").read_bytes(), victim["newest"]
    a, b = (training.Checkpoints(folder / "checkpoints").load() for folder in (workdir, killed))
    assert a.state["step"] == b.state["step"] == 90
    for group in ("weights", "averages", "optimizer"):
        for left, right in zip(getattr(a, group), getattr(b, group), strict=True):
            np.testing.assert_array_equal(left, right)
    score, again = (json.loads((folder / "test.json").read_text()) for folder in (workdir, killed))
    assert score["nats"] == again["nats"]


def test_a_config_of_another_architecture_is_refused_in_one_line(workdir):
    record = runs.read_config(workdir)
    other = json.loads(json.dumps(record))
    other["resolved"]["model"]["filters"] = 9
    with pytest.raises(ValueError, match="model.filters is 8 there and 9 now.*another --workdir") as error:
        records.compare(workdir, other)
    assert "\n" not in str(error.value)


def test_more_steps_are_welcome_and_noted(workdir, tmp_path):
    record = runs.read_config(workdir)
    runs.write_config(tmp_path, record)
    record["config"]["train"]["steps"] = 500
    assert records.compare(tmp_path, record) == ["train.steps: 90 -> 500"]
    record["config"]["train"]["batch_size"] = 7
    with pytest.raises(ValueError, match="train.batch_size is 32 there"):
        records.compare(tmp_path, record)


def test_a_truncated_checkpoint_is_named(workdir, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(workdir, copy)
    newest = training.Checkpoints(copy / "checkpoints").path(90)
    newest.write_bytes(newest.read_bytes()[:1000])
    with pytest.raises(
        ValueError, match="step-00000090.ckpt is truncated.*delete it, and the run goes on from"
    ) as error:
        runs.load_run(copy)
    assert "\n" not in str(error.value)
