"""Compares the draws of a running server with the model in Python, by the checks of an export."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from export.client.client import Client
from export.client.errors import Code, ServingError
from export.writer import saved_model
from export.writer.errors import ExportError
from export.writer.options import Options
from export.writer.signatures import Signatures


class _Served:
    """A running server in place of a version on disk."""

    def __init__(self, client: Client):
        self._client = client

    def run(self, signature: str, **inputs: Any) -> dict[str, np.ndarray]:
        try:
            return self._client.predict(signature, inputs)
        except ServingError as error:
            if error.code != Code.INVALID_ARGUMENT:
                raise
            # The same refusal as a session's of its own.
            raise tf.errors.InvalidArgumentError(None, None, error.message) from error


def verify(client: Client, path: str) -> str:
    """Checks that a server draws, completes, steps and scores as a model in Python does.

    Args:
        client: of the server.
        path: .keras file of the model.

    Returns:
        One line for people.

    Raises:
        ServingError: a call failed.
        ValueError: the file holds no model, or the server disagrees with it; the message says where.
    """
    try:
        model = saved_model.load_model(path)
        shape = tuple(model.event_shape)
        if client.event_shape != shape:
            raise ValueError(f"the server's events are of shape {client.event_shape}, those of {path} of {shape}")
        sessions = "session_begin" in client.signatures
        signatures = Signatures(model, Options(sessions=sessions, max_examples=client.limits.examples))
        report = saved_model.check(_Served(client), model, signatures)
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(f"the server refuses what {path} takes: {error.message}") from error
    except ExportError as error:
        raise ValueError(str(error)) from error
    return (
        f"{client.model_name} version {client.answered} agrees with {path}: {report.num_samples} events equal "
        f"({report.num_ties} ties of rounding), log_prob within {report.log_prob_difference:.1e}"
    )
