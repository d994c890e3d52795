"""What `python -m export.client` does: shows what a server serves, and compares it with the model in Python."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from absl import app, flags

from export.client import Client
from export.client_signatures import Signature, Tensor
from export.quiet import set_log_level, start_tensorflow
from export.serving.errors import Code, ServingError


class _Served:
    """A running server in place of a version on disk."""

    def __init__(self, client: Client):
        self._client = client

    def run(self, signature: str, **inputs: Any) -> dict[str, np.ndarray]:
        import tensorflow as tf

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
        ExportError: the file holds no model, or the server disagrees with it; the message says where.
    """
    saved_model = start_tensorflow("export.saved_model")
    from export.errors import ExportError
    from export.signatures import Options, Signatures

    model = saved_model.load_model(path)
    shape = tuple(model.event_shape)
    if client.event_shape != shape:
        raise ExportError(f"the server's events are of shape {client.event_shape}, those of {path} of {shape}")
    signatures = Signatures(model, Options(sessions="session_begin" in client.signatures))
    import tensorflow as tf

    try:
        report = saved_model.check(_Served(client), model, signatures)
    except tf.errors.InvalidArgumentError as error:
        raise ExportError(f"the server refuses what {path} takes: {error.message}") from error
    return (
        f"{client.model_name} version {client.answered} agrees with {path}: {report.num_samples} events equal "
        f"({report.num_ties} ties of rounding), log_prob within {report.log_prob_difference:.1e}"
    )


def describe(client: Client) -> str:
    """Signatures and sessions of a server, for people."""
    lines = []
    for name, signature in client.signatures.items():
        lines += [f"  {name}", *_tensors(signature)]
    lines.insert(0, f"{client.model_name} version {client.answered} at {client.server}")
    if "session_stats" in client.signatures:
        stats = client.session_stats()
        lines.append(f"{stats['active']:g} of {stats['slots']:g} session slots in use")
    return "\n".join(lines)


def _tensors(signature: Signature) -> list[str]:
    directions = (("in ", signature.inputs), ("out", signature.outputs))
    return [
        f"    {direction} {name}: {_text(tensor)}"
        for direction, tensors in directions
        for name, tensor in tensors.items()
    ]


def _text(tensor: Tensor) -> str:
    dtype = "string" if tensor.dtype == np.object_ else tensor.dtype.name
    sizes = [
        "B" if size is None and not axis else "any" if size is None else str(size)
        for axis, size in enumerate(tensor.shape or ())
    ]
    behind = "" if tensor.default is None else f", by default {tensor.default[0].tolist() or 'empty'}"
    return f"{dtype}{f' [{chr(44).join(sizes)}]' if sizes else ''}{behind}".replace(",", ", ").replace(",  ", ", ")


def define_connection_flags() -> None:
    """The flags that say which server is asked."""
    flags.DEFINE_string("server", None, "HOST:PORT of a server; TensorFlow Serving listens on 8500.")
    flags.DEFINE_string("model_name", None, "Name of the model where it is served.")
    flags.DEFINE_string("version_label", None, "Label of the version, such as stable or canary.")
    flags.DEFINE_float("timeout", 60.0, "Seconds that a call may take.")
    flags.DEFINE_string(
        "tls_ca", None, "PEM file of the authority that signed the server's certificate; switches TLS on."
    )
    flags.DEFINE_string("tls_cert", None, "PEM file of the own certificate, where the server asks for one.")
    flags.DEFINE_string("tls_key", None, "PEM file of the own key.")


def connect(default_name: str = "default") -> Client:
    """A client as the flags say.

    Raises:
        ValueError: a flag is out of range, or a file is not there.
    """
    values = flags.FLAGS
    for name in ("tls_ca", "tls_cert", "tls_key"):
        path = values[name].value
        try:
            if path is not None:
                open(path, "rb").close()
        except OSError as error:
            raise ValueError(f"--{name}={path} cannot be read: {error.strerror}") from error
    return Client(
        values.server,
        values.model_name or default_name,
        label=values.version_label,
        timeout=values.timeout,
        root_certificates=values.tls_ca,
        private_key=values.tls_key,
        certificate_chain=values.tls_cert,
    )


def explain(error: ServingError, client: Client) -> str:
    """One line for a person at a shell."""
    where = f"{client.model_name} at {client.server}"
    hints = {
        Code.UNAVAILABLE: "is the server running? python -m pipelines.serve starts one",
        Code.NOT_FOUND: "--model_name says which model is asked",
        Code.DEADLINE_EXCEEDED: "--timeout gives it more time",
    }
    hint = f" ({hints[error.code]})" if error.code in hints else ""
    return f"{where}: {error.code.name}: {' '.join(error.message.split())}{hint}"


def main() -> None:
    """Runs the command under absl."""
    set_log_level()
    define_connection_flags()
    flags.DEFINE_boolean("verify", False, "Compare the server with the model in Python.")
    flags.DEFINE_string("model", None, "verify: the .keras file that was exported.")
    app.run(_run)


def _run(arguments: list[str]) -> int:
    values = flags.FLAGS
    message = None
    if len(arguments) > 1:
        message = f"no arguments are expected besides flags, got {arguments[1]!r}"
    elif values.server is None:
        message = "--server=HOST:PORT must be given"
    elif values.verify != (values.model is not None):
        message = "--verify and --model=FILE.keras go together"
    if message is None:
        from export.errors import ExportError

        try:
            with connect() as client:
                try:
                    print(verify(client, values.model) if values.verify else describe(client))
                    return 0
                except ServingError as error:
                    message = explain(error, client)
        except (ExportError, ValueError) as error:
            message = str(error)
    print(f"error: {message}", file=sys.stderr)
    return 1
