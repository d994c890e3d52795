"""Builds the models that `benchmarks.serving` serves, exports them, and draws reference samples in Python."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import serving_checks as checks
from benchmarks.serving_reference import Reference
from pipelines import record

TTL = 10.0  # seconds
_TEXT_LENGTH = 48


@dataclasses.dataclass
class Scene:
    """Models, their exports, and reference samples that Python draws.

    Attributes:
        models: in Python, by the names that they are served by; "next" is version 2 of "texts".
        exports: folders that hold version 1, by the same names.
        references: by the same names.
    """

    models: dict[str, Any]
    exports: dict[str, Path]
    references: dict[str, Reference]

    @staticmethod
    def build(
        folder: Path, workdir: str | None, clients: int, num: int, tiny: bool = False, batch_calls: bool = True
    ) -> Scene:
        """Makes or loads the models, exports those that the folder does not hold, and draws from all.

        Raises:
            ExportError: a model has no such export.
        """
        from export.writer import saved_model
        from export.writer.options import Options

        slots = max(16, 2 * clients)  # the replicas are asked for eight rows
        made: dict[str, tuple[Any, Options]] = {}
        pictures = pictures_of(folder, workdir, tiny)
        made["pictures"] = pictures, Options(slots=slots, ttl=TTL)
        if batch_calls:
            made["batched"] = pictures, Options(slots=slots, ttl=TTL, batch_calls=True)
        for name in ("texts", "next"):
            made[name] = _kept(folder / f"{name}.keras", _texts), Options(slots=slots, ttl=TTL)
        scene = Scene({}, {}, {})
        for name, (model, options) in made.items():
            out = folder / "exports" / name
            if not (out / "1").exists():
                print(f"exporting {name}", file=sys.stderr, flush=True)
                saved_model.export(model, out, options, name)
            scene.models[name], scene.exports[name] = model, out
            known = scene.references.get("pictures") if name == "batched" else None
            scene.references[name] = dataclasses.replace(
                known or reference_of(model, num), name="texts" if name == "next" else name, batched=name == "batched"
            )
        return scene


def _kept(path: Path, build: Callable[[], Any]) -> Any:
    """Builds a model once; later calls read it."""
    import tfar
    from export.writer.saved_model import load_model

    if not path.exists():
        model = build()
        tfar.testing.randomize_weights(model, seed=sum(path.name.encode()))
        path.parent.mkdir(parents=True, exist_ok=True)
        model.save(path)
    return load_model(path)


def pictures_of(folder: Path, workdir: str | None = None, tiny: bool = False) -> Any:
    """Makes or loads the model of images: that of a work directory, or a GatedPixelCNN of 8 x 8 with labels."""
    import tfar
    from export.writer.saved_model import load_model

    if workdir is not None:
        record.path_of(workdir)
        model = load_model(Path(workdir) / "model.keras")
        if len(model.event_shape) != 3:
            raise ValueError(f"--workdir must hold a model of images, got events {model.event_shape}")
        return model
    head, condition = tfar.heads.Categorical(4), tfar.conditions.Label(10)
    sizes: dict[str, Any] = {"filters": 2, "num_blocks": 1} if tiny else {"filters": 16, "num_blocks": 2}
    shape = (4, 4, 1) if tiny else (8, 8, 1)
    return _kept(
        folder / "pictures.keras",
        lambda: tfar.models.GatedPixelCNN(shape, head, first_kernel_size=3, condition=condition, **sizes),
    )


def _texts() -> Any:
    import tfar

    return tfar.models.CharRNN(
        (None,), tfar.heads.Categorical(8), vocabulary="abcdefg ", units=16, num_layers=1, cell="gru"
    )


def reference_of(model: Any, num: int) -> Reference:
    """Events that Python draws, each from a seed of its own."""
    from export.writer import examples

    endless = None in model.event_shape
    given = examples.inputs(model, examples.condition(model, num))
    seed = np.stack([np.full([num], 7), np.arange(num)], 1).astype(np.int64)
    empty = np.zeros([0])
    reference = Reference("", "value" if len(model.event_shape) == 1 else "row", empty, seed, given)
    reference.length, reference.explicit = _TEXT_LENGTH if endless else None, len(model.event_shape) == 1
    reference.samples = checks.draw(model, reference, seed, given)
    return reference
