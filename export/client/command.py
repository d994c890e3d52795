"""Shows what a server serves, calls it, and compares it with the model in Python.

python -m export.client --server=localhost:8500 [--model_name=digits]                     # what is served
python -m export.client --server=localhost:8500 --call=sample --inputs='{"seed": [[0, 1]], "condition": [3]}'
python -m export.client --server=localhost:8500 --verify --model=model.keras  # draws it what Python does?

Inputs and outputs of a call are JSON, names with nested lists; strings of a model travel as base64.
The comparison needs tfar and TensorFlow; everything else needs grpcio, protobuf and NumPy alone.
"""

from __future__ import annotations

import argparse
import base64
import importlib
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

from export.client.client import Client
from export.client.errors import Code, ServingError
from pipelines import program


class Flag(NamedTuple):
    """A flag that selects the server and the connection; `python -m pipelines.sample` has the same ones."""

    name: str
    help: str
    kind: type = str
    default: Any = None


CONNECTION = (
    Flag("server", "HOST:PORT of a server; TensorFlow Serving listens on 8500."),
    Flag("model_name", "Name of the model where it is served."),
    Flag("version_label", "Label of the version, such as stable or canary."),
    Flag("timeout", "Seconds that a call may take.", float, 60.0),
    Flag("tls_ca", "PEM file of the authority that signed the server's certificate; switches TLS on."),
    Flag("tls_cert", "PEM file of the own certificate, where the server asks for one."),
    Flag("tls_key", "PEM file of the own key."),
)


def describe(client: Client) -> str:
    """Describes the signatures and sessions of a server, for people."""
    signatures = client.signatures  # first: it asks the server, which tells the version
    lines = [f"{client.model_name} version {client.answered} at {client.server}"]
    for name, signature in signatures.items():
        lines.append(f"  {name}")
        for direction, tensors in (("in ", signature.inputs), ("out", signature.outputs)):
            lines += [f"    {direction} {key}: {tensor}" for key, tensor in tensors.items()]
    limits = client.limits
    if limits.examples is not None:
        open_ended = None in client.event_shape
        also = f" and {limits.positions} positions together" if open_ended else ""
        lines.append(f"at most {limits.examples} examples{also} in a call; the client splits larger requests")
    if "session_stats" in signatures:
        stats = client.session_stats()
        lines.append(f"{stats['active']:g} of {stats['slots']:g} session slots in use")
    return "\n".join(lines)


def connect(values: Mapping[str, Any], default_name: str = "default") -> Client:
    """Makes the client that the flags describe.

    Args:
        values: by the names in `CONNECTION`.
        default_name: name of the model where "model_name" is None.

    Raises:
        ValueError: a flag is out of range, or a file is not there.
    """
    pems: dict[str, bytes | None] = {}
    for name in ("tls_ca", "tls_cert", "tls_key"):
        path = values[name]
        try:
            pems[name] = None if path is None else Path(path).read_bytes()
        except OSError as error:
            raise ValueError(f"--{name}={path} cannot be read: {error.strerror}") from error
    return Client(
        values["server"],
        values["model_name"] or default_name,
        label=values["version_label"],
        timeout=values["timeout"],
        root_certificates=pems["tls_ca"],
        private_key=pems["tls_key"],
        certificate_chain=pems["tls_cert"],
    )


def explain(error: ServingError, client: Client) -> str:
    """Formats an error as one line for a person at a shell."""
    where = f"{client.model_name} at {client.server}"
    hints = {
        Code.UNAVAILABLE: f"{program.typed('serve')} starts one",
        Code.NOT_FOUND: "--model_name says which model is asked",
        Code.DEADLINE_EXCEEDED: "--timeout gives it more time",
    }
    hint = f" ({hints[error.code]})" if error.code in hints else ""
    return f"{where}: {error.code.name}: {' '.join(error.message.split())}{hint}"


class _Parser(argparse.ArgumentParser):
    """Prints a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        print(f"error: {message}", file=sys.stderr)
        sys.exit(2)


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns the exit code: 0, 2 for wrong flags, 1 for calls that failed.

    A reader of the output that has read enough, such as `head`, ends it without an error.
    """
    try:
        try:
            return _run(arguments)
        finally:  # of --help, too
            sys.stdout.flush()
    except BrokenPipeError:
        # Python writes out what is left once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(arguments: Sequence[str]) -> int:
    parser = _Parser(program.typed("client"), description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    for flag in CONNECTION:
        parser.add_argument(f"--{flag.name}", type=flag.kind, default=flag.default, help=flag.help)
    parser.add_argument("--call", metavar="SIGNATURE", help="Call a signature and print its outputs.")
    parser.add_argument("--inputs", metavar="JSON", default="{}", help="call: values by the names of the inputs.")
    parser.add_argument("--verify", action="store_true", help="Compare the server with the model in Python.")
    parser.add_argument("--model", help="verify: the .keras file that was exported.")
    values = parser.parse_args(arguments)
    try:
        if values.server is None:
            raise ValueError("--server=HOST:PORT must be given")
        if values.verify != (values.model is not None):
            raise ValueError("--verify and --model=FILE.keras go together")
        inputs = _read(values.inputs)
        with connect(vars(values)) as client:
            try:
                if values.call is not None:
                    print(call(client, values.call, inputs))
                else:
                    print(_verify(client, values.model) if values.verify else describe(client))
            except ServingError as error:
                print(f"error: {explain(error, client)}", file=sys.stderr)
                return 1
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _read(text: str) -> dict[str, Any]:
    try:
        inputs = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"--inputs is no JSON: {error}") from None
    if not isinstance(inputs, dict):
        raise ValueError(f"--inputs must be a JSON object, values by names, got {text}")
    return inputs


def call(client: Client, name: str, inputs: Mapping[str, Any]) -> str:
    """Calls a signature.

    Args:
        client: of the model.
        name: of the signature.
        inputs: numbers and nested lists by the names of the inputs, strings as base64.

    Returns:
        The outputs as JSON.

    Raises:
        ServingError: the call failed.
        ValueError: there is no such signature or input, or a value does not fit.
    """
    known = client.signatures[name].inputs if name in client.signatures else {}
    strings = {key for key, tensor in known.items() if tensor.dtype == np.object_}
    given = {key: _each(_decode, value) if key in strings else value for key, value in inputs.items()}
    outputs = client.predict(name, given)
    lists = {key: value.tolist() for key, value in outputs.items()}
    for key in (key for key, value in outputs.items() if value.dtype == np.object_):
        lists[key] = _each(lambda item: base64.b64encode(item).decode(), lists[key])
    return json.dumps(lists)


def _decode(item: Any) -> bytes:
    try:
        return base64.b64decode(str(item), validate=True)
    except ValueError as error:
        raise ValueError(f"strings must be base64, got {item!r}: {error}") from None


def _each(change: Callable[[Any], Any], value: Any) -> Any:
    """Changes the items of nested lists."""
    return [_each(change, item) for item in value] if isinstance(value, list) else change(value)


def _verify(client: Client, path: str) -> str:
    """Compares by name of the module: a client has no library where it only calls."""
    try:
        served = importlib.import_module("pipelines.start").start_tensorflow("export.writer.served")
    except ModuleNotFoundError as error:
        raise ValueError(f"--verify needs tfar with all that it depends on: {error}") from error
    return served.verify(client, path)
