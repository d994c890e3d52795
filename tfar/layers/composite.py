"""The base class of layers that consist of other layers."""

from __future__ import annotations

from typing import Any

import keras


class Composite(keras.layers.Layer):
    """A layer without weights of its own, whose layers create theirs when they are first called.

    Without a `build` Keras would trace `call` once more to find the shapes, at every level of a nested network.
    """

    def build(self, *shapes: Any) -> None:
        """Nothing to create."""
