"""Runs an exported version as TensorFlow Serving does: in a v1 session, by the names of its signatures."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from export.client import parts
from pipelines.start import errors_only


class Runner(Protocol):
    """Answers requests: a version in a session of its own, or a server."""

    def run(self, signature: str, **inputs: Any) -> dict[str, np.ndarray]:
        """Answers one request."""


class InParts:
    """Asks for at most so many examples at a time.

    Args:
        runner: answers the requests.
        most: examples of a request.
    """

    def __init__(self, runner: Runner, most: int):
        self._runner, self._most = runner, most

    def run(self, signature: str, **inputs: Any) -> dict[str, np.ndarray]:
        """Answers one request; arrays have one example, or as many as the others."""
        return parts.join([self._runner.run(signature, **part) for part in parts.split(inputs, self._most)])


class Servable:
    """A version directory in a session; use it in a `with` statement.

    Args:
        directory: folder that holds saved_model.pb.
        config: of the session; TensorFlow's own by default.
    """

    def __init__(self, directory: str | Path, config: tf.compat.v1.ConfigProto | None = None):
        self.session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
        with errors_only(), self.session.graph.as_default():
            loaded = tf.compat.v1.saved_model.load(self.session, [tf.saved_model.SERVING], str(directory))
        self.signatures = {name: value for name, value in loaded.signature_def.items() if not name.startswith("__")}

    def __enter__(self) -> Servable:
        return self

    def __exit__(self, *error: Any) -> None:
        self.session.close()

    def run(self, signature: str, **inputs: Any) -> dict[str, np.ndarray]:
        """One request.

        Args:
            signature: name of a signature.
            **inputs: values by name; those with a default may be omitted.

        Returns:
            Every output of the signature.

        Raises:
            ValueError: an input is missing, unknown or of another type (nothing is cast).
            tf.errors.InvalidArgumentError: a check in the graph failed.
        """
        definition = self.signatures[signature]
        values = {name: tf.make_ndarray(value) for name, value in definition.defaults.items()} | inputs
        if set(values) != set(definition.inputs):
            raise ValueError(f"{signature} takes {sorted(definition.inputs)}, got {sorted(values)}")
        feeds = {}
        for name, value in values.items():
            value, dtype = np.asarray(value), tf.as_dtype(definition.inputs[name].dtype)
            if value.dtype != dtype.as_numpy_dtype:
                raise ValueError(f"{name} must be {dtype.name}, got {value.dtype}")
            feeds[definition.inputs[name].name] = value
        return self.session.run({name: info.name for name, info in definition.outputs.items()}, feeds)
