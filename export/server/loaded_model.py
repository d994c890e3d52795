"""A version of a model in a v1 session, as the released server runs it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from export.client.errors import Code, ServingError
from export.server import compat
from pipelines.start import errors_only


class LoadedModel:
    """The graph of a version, restored and initialized.

    `tf.compat.v1.Session.run` casts what it is fed and refuses shapes that differ from the placeholder's. The released
    server does neither, so `run` calls what lies below, `compat.run_session`.

    Args:
        path: folder that holds saved_model.pb.
        config: of the session, such as its numbers of threads.

    Raises:
        ServingError: it cannot be loaded.
    """

    def __init__(self, path: str | Path, config: tf.compat.v1.ConfigProto | None = None):
        self.path = Path(path)
        self._outputs: dict[str, object] = {}
        self.session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
        try:
            with errors_only(), self.session.graph.as_default():
                loaded = tf.compat.v1.saved_model.load(self.session, [tf.saved_model.SERVING], str(path))
            compat.extend_session(self.session)
        except Exception as error:  # Whatever reads a broken file raises; it must not end the server.
            self.session.close()
            if isinstance(error, tf.errors.OpError):
                raise ServingError(Code(error.error_code), error.message) from error
            code = Code.NOT_FOUND if isinstance(error, OSError) else Code.INTERNAL
            raise ServingError(code, str(error) or type(error).__name__) from error
        self.signatures = {name: loaded.signature_def[name] for name in loaded.signature_def}

    def run(
        self, feeds: Sequence[tuple[str, np.ndarray]], fetches: Sequence[str], timeout_ms: int = 0
    ) -> list[np.ndarray]:
        """One `Session::Run`; thread-safe.

        Args:
            feeds: names of tensors and their values. Types and shapes go as they are: TensorFlow refuses a wrong type,
                and only a kernel a wrong shape.
            fetches: names of tensors.
            timeout_ms: milliseconds after which a loop is stopped; 0 for never.

        Raises:
            ServingError: with the code and the words of TensorFlow.
        """
        try:
            given = {self._output(name): value for name, value in feeds}
            return compat.run_session(self.session, given, [self._output(name) for name in fetches], timeout_ms)
        except tf.errors.OpError as error:
            raise ServingError(Code(error.error_code), error.message) from error
        except UnicodeDecodeError as error:
            # The message of the status quotes bytes of the request.
            message = bytes(error.object).decode(errors="replace")
            raise ServingError(Code.INVALID_ARGUMENT, message) from error

    def _output(self, name: str) -> object:
        """The handle of a tensor, whether or not the operation has such an output: that is for TensorFlow to say."""
        found = self._outputs.get(name)
        if found is None:
            operation, _, index = name.partition(":")
            try:
                found = compat.tensor_handle(self.session.graph, operation, int(index or 0))
            except (KeyError, ValueError) as error:
                raise ServingError(Code.NOT_FOUND, f"FetchOutputs node {name}: not found") from error
            self._outputs[name] = found
        return found

    def close(self) -> None:
        """Frees the session and its variables; no call may be running."""
        self.session.close()
        self._outputs.clear()
