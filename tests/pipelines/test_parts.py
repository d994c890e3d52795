"""A chain goes the way of all models by the same commands, and its parts can be trained in runs of their own."""

import json

import numpy as np
import pytest

import tfar
from tests.commands import run

FLAGS = (
    "--config=digits_multiscale",
    "--config.train.steps=4",
    "--config.train.eval_every=4",
    "--config.train.batch_size=8",
    "--config.model.filters=4",
    "--config.model.num_blocks=1",
    "--config.model.upscaler_filters=4",
    "--config.model.upscaler_blocks=1",
    "--config.report.num_samples=4",
    "--config.report.num_images=2",
    "--config.report.sample_batch_size=4",
)


def trained(folder, *flags):
    code, stdout, stderr = run("pipelines.train", *FLAGS, f"--workdir={folder}", *flags)
    assert code == 0, stderr
    return tfar.models.load(folder), stdout


@pytest.mark.large
def test_parts_are_trained_alone_and_merged(tmp_path):
    runs = {name: trained(tmp_path / name, f"--config.train.part={name}")[0] for name in ("base", "8x8_11")}
    for name, model in runs.items():
        others = [part for part in model.parts if part.name != name]
        fresh, own = runs["8x8_11" if name == "base" else "base"], model.part(name).get_weights()
        assert any((a != b).any() for a, b in zip(own, fresh.part(name).get_weights(), strict=True))
        for part in others[1:2]:  # trained by neither
            for a, b in zip(part.get_weights(), fresh.part(part.name).get_weights(), strict=True):
                np.testing.assert_array_equal(a, b)
    folders = tuple(str(tmp_path / name) for name in runs)
    merged, stdout = trained(
        tmp_path / "all",
        f"--config.train.parts_from={folders!r}",
        "--config.train.steps=1",
        "--config.train.learning_rate=1e-9",
    )
    for name, model in runs.items():
        for a, b in zip(merged.part(name).get_weights(), model.part(name).get_weights(), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)
    assert "bits/dim" in stdout and (tmp_path / "all" / "report.html").is_file()
    code, _, stderr = run("pipelines.sample", f"--workdir={tmp_path / 'all'}", "--num=2", f"--out={tmp_path / 's.png'}")
    assert code == 0, stderr
    scores = tmp_path / "test.json"
    code, _, stderr = run("pipelines.evaluate", f"--workdir={tmp_path / 'all'}", f"--json={scores}")
    assert code == 0 and json.loads(scores.read_text()), stderr
    code, _, stderr = run(
        "pipelines.train", *FLAGS, f"--workdir={tmp_path / 'x'}", f"--config.train.parts_from=('{tmp_path / 'all'}',)"
    )
    assert code == 2 and "config.train.parts_from must name runs with a config.train.part" in stderr
