"""Draws digits from a .tflite file, as an app does: LiteRT, numpy and Pillow, without TensorFlow and without tfar.

    python -m pipelines.train --workdir=runs/digits
    python -m export --workdir=runs/digits --format=litert --out=digits.tflite
    python examples/litert_digits.py --model=digits.tflite --out=digits.png               # a row for every digit
    python examples/litert_digits.py --model=digits.tflite --label=3 --seed=7             # threes

On another machine this file and the model are all that is needed: pip install ai-edge-litert numpy pillow. What the
model is, how its noise is made and what its values stand for is read from the metadata of the file. Images come row by
row, as `step` draws them; `sample` draws the same ones at once.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

_COLUMNS = 10
_SCALE = 8  # screen pixels of a pixel
_GAP = 1  # pixels between two images


def read_metadata(content: bytes) -> dict[str, Any]:
    """Reads the JSON called "tfar" from the file's metadata."""
    model = schema.Model.GetRootAs(content, 0)
    for entry in (model.Metadata(index) for index in range(model.MetadataLength())):
        if entry.Name() == b"tfar":
            return json.loads(model.Buffers(entry.Buffer()).DataAsNumpy().tobytes())
    raise SystemExit("error: the file was not written by tfar, it has no metadata of that name")


def uniform(random: np.random.Generator, shape: list[int]) -> np.ndarray:
    """Noise in the open interval (0, 1), which float32 holds exactly."""
    return ((random.integers(0, 2**23, shape) + 0.5) / 2**23).astype(np.float32)


class Sampler:
    """A model that draws images.

    Args:
        path: the .tflite file.

    Attributes:
        facts: the metadata of the file.
    """

    def __init__(self, path: str):
        with open(path, "rb") as file:
            content = file.read()
        self.facts = read_metadata(content)
        self._interpreter = Interpreter(model_content=content)
        self._start, self._step, self._sample = map(self._interpreter.get_signature_runner, ("start", "step", "sample"))

    def condition(self, label: int) -> dict[str, np.ndarray]:
        """Returns the label as an input; nothing for a model that takes none."""
        inputs = {item["input"]: item for item in self.facts["condition"]}
        if any(item["kind"] != "Label" for item in inputs.values()):
            raise SystemExit(f"error: the model must be told {[item['meaning'] for item in inputs.values()]}")
        for item in inputs.values():
            if not 0 <= label < item["num_labels"]:
                raise SystemExit(f"error: --label must be from 0 to {item['num_labels'] - 1}, got {label}")
        return {name: np.full(item["shape"], label, np.int32) for name, item in inputs.items()}

    def rows(self, noise: np.ndarray, temperature: float, label: int) -> np.ndarray:
        """Images [B, H, W, C] drawn row by row, each of which could be shown at once."""
        facts = self.facts["step"]
        heat = np.full(self.facts["temperature"]["shape"], temperature, np.float32)
        carry, rows = self._start(**self.condition(label)), []
        for part in np.split(noise, facts["num_units"], axis=1):
            outputs = self._step(noise=part, temperature=heat, **carry)
            rows.append(outputs.pop("chunk"))
            carry.update(outputs)
        return np.stack(rows, 1)

    def whole(self, noise: np.ndarray, temperature: float, label: int) -> np.ndarray:
        """Returns the same images from one call."""
        heat = np.full(self.facts["temperature"]["shape"], temperature, np.float32)
        return self._sample(noise=noise, temperature=heat, **self.condition(label))["samples"]

    def brightness(self, images: np.ndarray) -> np.ndarray:
        """Values as 8-bit brightness."""
        return np.round(images * self.facts["values"]["brightness_per_level"]).astype(np.uint8)


def sheet(images: list[np.ndarray], columns: int) -> Image.Image:
    """Images [H, W, C] of 8 bits side by side, enlarged, as bright as they are."""
    height, width = images[0].shape[:2]
    rows = -(-len(images) // columns)
    canvas = np.full(
        [rows * (height + _GAP) + _GAP, columns * (width + _GAP) + _GAP, images[0].shape[2]], 128, np.uint8
    )
    for index, image in enumerate(images):
        top, left = (
            _GAP + place * (size + _GAP) for place, size in zip(divmod(index, columns), (height, width), strict=True)
        )
        canvas[top : top + height, left : left + width] = image
    picture = Image.fromarray(canvas[..., 0] if canvas.shape[2] == 1 else canvas)
    return picture.resize((picture.width * _SCALE, picture.height * _SCALE), Image.Resampling.NEAREST)


def main(arguments: list[str] | None = None) -> None:
    """Draws and writes the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="digits.tflite", help="the .tflite file")
    parser.add_argument("--out", default="litert_digits.png", help="PNG file to write")
    parser.add_argument("--label", type=int, default=None, help="what to draw; by default a row of every label")
    parser.add_argument("--seed", type=int, default=0, help="equal seeds give equal pictures")
    parser.add_argument("--temperature", type=float, default=1.0, help="below 1 draws likelier images")
    given = parser.parse_args(arguments)
    try:
        sampler = Sampler(given.model)
    except OSError as error:
        raise SystemExit(f"error: --model={given.model} cannot be read: {error.strerror}") from error
    facts = sampler.facts
    if facts["values"].get("mode") not in ("grey", "rgb") or facts["step"]["unit"] != "row":
        raise SystemExit(f"error: this example draws images row by row, --model={given.model} does not")
    random, images = np.random.default_rng(given.seed), []
    every = range(facts["condition"][0].get("num_labels", 1)) if facts["condition"] else [0]
    for label in every if given.label is None else [given.label]:
        drawn: list[np.ndarray] = []
        while len(drawn) < _COLUMNS:
            noise = uniform(random, facts["noise"]["shape"])
            drawn.extend(sampler.brightness(sampler.rows(noise, given.temperature, label)))
        images += drawn[:_COLUMNS]
    sheet(images, _COLUMNS).save(given.out)
    print(f"{given.out}: {len(images)} images by {facts['model']}, {facts['quantization']} weights")


if __name__ == "__main__":
    main()
