"""Numbers and images of a run for TensorBoard."""

from __future__ import annotations

import importlib.util
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

# Folder of a work directory.
EVENTS = "tensorboard"


class EventFiles:
    """Writes event files; nothing, after one line on stderr, where TensorBoard is not installed.

    Args:
        folder: of the files.
    """

    def __init__(self, folder: pathlib.Path):
        self._writer = None
        if importlib.util.find_spec("tensorboard") is None:
            print(f"{folder} is not written: TensorBoard is missing: pip install 'tfar[reports]'", file=sys.stderr)
        else:
            self._writer = tf.summary.create_file_writer(str(folder))

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """Writes the floats among `values`, by their names."""
        if self._writer is not None:
            with self._writer.as_default(step):
                for key, value in values.items():
                    if isinstance(value, float):
                        tf.summary.scalar(key, value)

    def write_image(self, step: int, name: str, image: Any) -> None:
        """Writes a uint8 image [1, H, W, C]."""
        if self._writer is not None:
            with self._writer.as_default(step):
                tf.summary.image(name, image)

    def close(self) -> None:
        """Closes the files."""
        if self._writer is not None:
            self._writer.close()
