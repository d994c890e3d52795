"""Serves exported models over gRPC as TensorFlow Serving does, for development and tests.

python -m pipelines.serve --model_name=digits --model_base_path=runs/digits/export [--port=8500] [--demo]
python -m pipelines.serve --model_config_file=models.config --rest_api_port=8501
                          [--monitoring_config_file=monitoring.config] [--ssl_config_file=ssl.config] ...

The flags are those of tensorflow_model_server. It needs the extra `serving`. In production run
TensorFlow Serving itself: the same export, the same flags.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import logging
import signal

from absl import flags

from export.server.options import Options
from pipelines import command
from pipelines.start import quietly, start_tensorflow

# TensorFlow Serving's REST port in its container; --demo needs one.
_REST_PORT = 8501


def define_flags() -> None:
    """Defines the command's flags: the fields of `Options`."""
    helps = _helps()
    for field in dataclasses.fields(Options):
        name, default, text = field.name, field.default, helps[field.name]
        if name == "grpc_max_threads":
            flags.DEFINE_integer(name, None, text)
        elif default is None:
            flags.DEFINE_integer(name, 0, text)
        elif isinstance(default, bool):
            flags.DEFINE_bool(name, default, text)
        elif name.endswith("_wait_seconds"):
            flags.DEFINE_float(name, float(default), text)  # type: ignore[arg-type]
        elif isinstance(default, int):
            flags.DEFINE_integer(name, default, text)
        else:
            flags.DEFINE_string(name, default, text)  # type: ignore[arg-type]


def _helps() -> dict[str, str]:
    """Help texts of the flags, read from the docstring of `Options`."""
    lines = (Options.__doc__ or "").partition("Attributes:")[2].splitlines()
    helps: dict[str, str] = {}
    for line in filter(None, map(str.strip, lines)):
        name, colon, text = line.partition(": ")
        if colon and name.isidentifier():
            helps[name] = text
        else:
            helps[next(reversed(helps))] += f" {line}"
    return {name: text.replace("0 for any free one, None for none", "0 for none") for name, text in helps.items()}


def read_flags() -> Options:
    """Returns the options that the flags say; port 0 is none, as in tensorflow_model_server."""
    given = {field.name: flags.FLAGS[field.name].value for field in dataclasses.fields(Options)}
    given["port"] = given["port"] or None
    given["rest_api_port"] = given["rest_api_port"] or (_REST_PORT if given["demo"] else None)
    return Options(**given)


def main() -> int:
    """Serves until SIGINT or SIGTERM; returns the exit code.

    Raises:
        ValueError: a flag is wrong.
        RunFailed: the server cannot start.
    """
    options = read_flags()
    wrong = options.wrong()
    if wrong is not None:
        raise ValueError(wrong)
    for package, name in (("tensorflow_serving", "tensorflow-serving-api"), ("grpc_health", "grpcio-health-checking")):
        if importlib.util.find_spec(package) is None:
            raise command.RunFailed(f"serving needs {name}; install it: pip install 'tfar[serving]'")
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    logging.getLogger("tfar.serving").setLevel(logging.INFO)
    print("This server is for development and tests; in production run TensorFlow Serving with the same export.")
    print(f"loading {options.model_base_path or options.model_config_file}", flush=True)
    # TensorFlow takes seconds to import, which no mistyped flag should cost.
    serving = start_tensorflow("export.server.server")
    if not options.xla_cpu_compilation_enabled:
        quietly(importlib.import_module("export.server.compat").disable_xla)
    from export.client import ServingError

    server = serving.Server(options)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: server.request_stop())
    try:
        server.start()
    except ServingError as error:
        raise command.RunFailed(f"Failed to start server. Error: {error}") from error
    if server.port is not None:
        print(f"gRPC  {options.host}:{server.port}{' (TLS)' if options.ssl_config_file else ''}")
    if options.grpc_socket_path:
        print(f"gRPC  unix:{options.grpc_socket_path}")
    if server.rest_port is not None:
        print(f"HTTP  http://{options.host}:{server.rest_port}{'/demo/' if options.demo else ''}")
    print("ready", flush=True)
    server.wait()
    print("stopping", flush=True)
    server.stop()
    return 0


if __name__ == "__main__":
    command.run(main, define_flags)
