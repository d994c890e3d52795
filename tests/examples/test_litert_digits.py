import ast
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tfar
from examples import litert_digits
from export.litert import converter

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A tiny untrained model of labelled grey images, four at a time, and its file."""
    model = tfar.models.MADE((3, 4, 1), tfar.heads.Categorical(17), hidden=(8,), condition=tfar.conditions.Label(2))
    tfar.testing.randomize_weights(model)
    path, _ = converter.export(model, tmp_path_factory.mktemp("digits") / "digits.tflite", batch_size=4)
    return model, path


def test_it_needs_the_runtime_numpy_and_pillow_alone():
    tree = ast.parse((ROOT / "examples" / "litert_digits.py").read_text(encoding="utf-8"))
    found = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    found |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    others = {name.partition(".")[0] for name in found} - set(sys.stdlib_module_names)
    assert others == {"ai_edge_litert", "numpy", "PIL"}


def test_rows_are_those_of_one_call_and_of_python(digits):
    model, path = digits
    sampler = litert_digits.Sampler(path)
    noise = litert_digits.uniform(np.random.default_rng(3), sampler.facts["noise"]["shape"])
    assert noise.shape == (4, 12, 1) and 0 < noise.min() and noise.max() < 1
    rows = sampler.rows(noise, 0.9, label=1)
    np.testing.assert_array_equal(rows, sampler.whole(noise, 0.9, label=1))
    expected = model.sample(4, np.int32([1] * 4), temperature=0.9, noise=noise, jit_compile=False)
    np.testing.assert_array_equal(rows, expected)
    assert sampler.brightness(np.array([0, 8, 16])).tolist() == [0, 128, 255]


def test_the_command(digits, tmp_path, capsys):
    out = tmp_path / "digits.png"
    for arguments, size in (([], (408, 72)), (["--label=1"], (408, 40))):
        litert_digits.main([f"--model={digits[1]}", f"--out={out}", *arguments])
        picture = Image.open(out)
        assert picture.size == size and len(np.unique(np.asarray(picture))) > 10
    assert "10 images by MADE, float32 weights" in capsys.readouterr().out
    again = np.asarray(Image.open(out))
    litert_digits.main([f"--model={digits[1]}", f"--out={out}", "--label=1"])
    np.testing.assert_array_equal(np.asarray(Image.open(out)), again)


@pytest.mark.parametrize("channels", [1, 3])
def test_bright_pixels_are_bright(channels):
    images = [np.full([2, 3, channels], value, np.uint8) for value in (0, 200)]
    picture = np.asarray(litert_digits.sheet(images, 2))
    assert picture[12, 12].max() == 0 and picture[12, 48].min() == 200  # inside of the first and of the second


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--label=2"], "--label must be from 0 to 1, got 2"),
        (["--model=nowhere.tflite"], "--model=nowhere.tflite cannot be read: No such file"),
    ],
)
def test_mistakes_cost_one_line(digits, tmp_path, arguments, message):
    with pytest.raises(SystemExit, match=message):
        litert_digits.main([f"--model={digits[1]}", f"--out={tmp_path / 'x.png'}", *arguments])
    assert not list(tmp_path.iterdir())
