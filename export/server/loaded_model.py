"""A version of a model in a v1 session, as the released server runs it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from export.client.errors import Code, ServingError
from export.server import compat
from export.server.cancellation import Watch, draws_together
from pipelines.start import errors_only


class LoadedModel:
    """The graph of a version, restored and initialized.

    `tf.compat.v1.Session.run` casts what it is fed and refuses shapes that differ from the placeholder's. The released
    server does neither, so `run` calls what lies below, `compat.run_session`.

    Args:
        path: folder that holds saved_model.pb.
        config: of the session, such as its numbers of threads.
        watched: calls at once that a client may cancel; 0 for none.

    Raises:
        ServingError: it cannot be loaded.
    """

    def __init__(self, path: str | Path, config: tf.compat.v1.ConfigProto | None = None, watched: int = 0):
        self.path = Path(path)
        self._watch: Watch | None = None
        # By the operation from which all fetches come: what ends its watch.
        self._releases: dict[str, object] = {}
        self._outputs: dict[str, object] = {}
        self.session = tf.compat.v1.Session(graph=tf.Graph(), config=_with_threads(config, watched))
        try:
            with errors_only(), self.session.graph.as_default():
                loaded = tf.compat.v1.saved_model.load(self.session, [tf.saved_model.SERVING], str(path))
            if watched and not draws_together(loaded.graph_def):
                self._watch = Watch(self.session, watched)
                self._releases = self._find_releases(loaded.signature_def, self._watch)
            compat.extend_session(self.session)
            if self._watch is not None:
                self._watch.prepare()
        except Exception as error:  # Whatever reads a broken file raises; it must not end the server.
            self.session.close()
            if isinstance(error, tf.errors.OpError):
                raise ServingError(Code(error.error_code), error.message) from error
            code = Code.NOT_FOUND if isinstance(error, OSError) else Code.INTERNAL
            raise ServingError(code, str(error) or type(error).__name__) from error
        self.signatures = {name: loaded.signature_def[name] for name in loaded.signature_def}

    def _find_releases(self, signatures: Mapping[str, Any], watch: Watch) -> dict[str, object]:
        """Operations from which all outputs of a signature come, as those of functions do, and what ends a watch."""
        found: dict[str, object] = {}
        for signature in signatures.values():
            names = {info.name.partition(":")[0] for info in signature.outputs.values()}
            inputs = {info.name.partition(":")[0] for info in signature.inputs.values()}
            if len(names) == 1 and not names & inputs:
                (name,) = names
                if name not in found and compat.has_operation(self.session.graph, name):
                    found[name] = watch.release(name)
        return found

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
            ServingError: with the code and the words of TensorFlow, or CANCELLED.
        """
        try:
            given = {self._output(name): value for name, value in feeds}
            operations = {name.partition(":")[0] for name in fetches}
            release = self._releases.get(next(iter(operations))) if len(operations) == 1 else None
            if release is not None and self._watch is not None:
                return self._watch.run(given, [self._output(name) for name in fetches], release, timeout_ms)
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


def _with_threads(config: tf.compat.v1.ConfigProto | None, watched: int) -> tf.compat.v1.ConfigProto | None:
    """Adds threads to a configuration: a watch must begin although all other calls are in loops."""
    if not watched or (config is not None and config.inter_op_parallelism_threads):
        return config
    made = tf.compat.v1.ConfigProto()
    if config is not None:
        made.CopyFrom(config)
    made.session_inter_op_thread_pool.add(num_threads=max(watched + 1, os.cpu_count() or 1))
    return made
