"""Presets by name: the papers' architectures, and `tiny` and `small` ones of every model."""

from __future__ import annotations

import inspect
from typing import Any

from tfar import heads
from tfar.models import autoregressive

# Events and heads that presets of several models share.
MNIST: dict[str, Any] = {"event_shape": (28, 28, 1), "head": ("Bernoulli",)}
RGB: dict[str, Any] = {"event_shape": (32, 32, 3), "head": ("Categorical", 256)}
RGB_PIXELS: dict[str, Any] = {"event_shape": (32, 32, 3), "head": ("DiscretizedLogisticMixture", 10)}


def _classes() -> list[type[autoregressive.AutoregressiveModel]]:
    import tfar.models

    members: list[Any] = [getattr(tfar.models, name) for name in tfar.models.__all__]
    classes: list[Any] = [member for member in members if inspect.isclass(member)]
    return [member for member in classes if vars(member).get("PRESETS")]


def presets() -> dict[str, type[autoregressive.AutoregressiveModel]]:
    """Every preset name with the class that it builds.

    Example:
        >>> presets()["gated_pixel_cnn_tiny"].__name__
        'GatedPixelCNN'
    """
    return {name: cls for cls in _classes() for name in cls.PRESETS}


def from_preset(preset: str, **overrides: Any) -> autoregressive.AutoregressiveModel:
    """Builds the model of a preset.

    Args:
        preset: one of `presets()`.
        **overrides: constructor arguments that replace the preset's or are missing there (`event_shape`, `head`).

    Raises:
        ValueError: unknown preset, or `event_shape` or `head` is neither in the preset nor given.

    Example:
        >>> model = from_preset("gated_pixel_cnn_tiny", event_shape=(3, 3, 1), head=heads.Categorical(2))
        >>> model.event_shape
        (3, 3, 1)
    """
    known = presets()
    if preset not in known:
        raise ValueError(f"preset must be one of {sorted(known)}, got {preset!r}")
    arguments = {**known[preset].PRESETS[preset], **overrides}
    for name in ("event_shape", "head"):
        if name not in arguments:
            raise ValueError(f"{name} is needed: preset {preset!r} does not fix it")
    if isinstance(arguments["head"], tuple):
        kind, *values = arguments["head"]
        arguments["head"] = getattr(heads, kind)(*values)
    return known[preset](**arguments)
