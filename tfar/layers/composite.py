"""The base class of layers that consist of other layers."""

from __future__ import annotations

from typing import Any

import keras

from tfar.core.policies import Typed


class Composite(keras.layers.Layer, metaclass=Typed):
    """A layer without weights of its own, whose layers create theirs when they are first called.

    Without a `build` Keras would trace `call` once more to find the shapes, at every level of a nested network. Its
    layers have its `dtype`, unless they are given one of their own.
    """

    def build(self, *shapes: Any) -> None:
        """Nothing to create."""
