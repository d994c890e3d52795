"""Names the layers of a network; their state is stored under these names."""

from __future__ import annotations

from typing import Any

import keras


def layers_by_path(root: keras.layers.Layer) -> dict[str, keras.layers.Layer]:
    """Returns the layers of a network by the path of attributes that leads to them; "." for the network itself.

    A path depends on the code of the model alone, so it survives a `.keras` file and the process, unlike Keras's
    automatic names.
    """
    layers: dict[str, keras.layers.Layer] = {}
    seen: set[int] = set()

    def visit(value: Any, path: str) -> None:
        if isinstance(value, keras.layers.Layer):
            if id(value) in seen:
                return
            seen.add(id(value))
            layers[path or "."] = value
            for name, child in vars(value).items():
                if not name.startswith("_"):
                    visit(child, f"{path}.{name}" if path else name)
        elif isinstance(value, list | tuple):
            for index, child in enumerate(value):
                visit(child, f"{path}.{index}")
        elif isinstance(value, dict):
            for name, child in value.items():
                visit(child, f"{path}.{name}")

    visit(root, "")
    return layers


def attribute_paths(root: keras.layers.Layer) -> dict[int, str]:
    """Returns the path of every layer by its id, see `layers_by_path`."""
    return {id(layer): path for path, layer in layers_by_path(root).items()}
