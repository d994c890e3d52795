"""Serves exported models over gRPC as TensorFlow Serving does, for development and tests.

python -m pipelines.serve --model_name=digits --model_base_path=runs/digits/export [--port=8500] [--demo]
python -m pipelines.serve --model_config_file=models.config --rest_api_port=8501
                          [--monitoring_config_file=monitoring.config] [--ssl_config_file=ssl.config] ...

The flags are those of tensorflow_model_server, and --wait: a model without a version ends the command, unless it is
told to wait for one as tensorflow_model_server does. It needs the extra `serving`. In production run TensorFlow Serving
itself: the same export, the same flags.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import logging
import pathlib
import signal

from absl import flags

from export.client.errors import ServingError
from export.server.options import Options
from pipelines import command, program
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
        elif name.endswith("_seconds"):
            flags.DEFINE_float(name, float(default), text)  # type: ignore[arg-type]
        elif isinstance(default, int):
            flags.DEFINE_integer(name, default, text)
        else:
            flags.DEFINE_string(name, default, text)  # type: ignore[arg-type]
    flags.DEFINE_bool("wait", False, "Wait for models that have no version yet, instead of ending.")


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


def check_versions(options: Options) -> None:
    """Raises ValueError for a model without a version on disk, which the server would wait for."""
    configuration = importlib.import_module("export.server.configuration")
    if options.model_config_file:
        models = configuration.read_models(options.model_config_file).model_config_list.config
    else:
        models = configuration.single_model(options.model_name, options.model_base_path).model_config_list.config
    for model in models:
        flag = "model_config_file" if options.model_config_file else "model_base_path"
        where = f"--{flag}={getattr(options, flag)}"
        folder = pathlib.Path(model.base_path)
        if not folder.is_dir():
            missing = f": {folder} does not exist" if options.model_config_file else " does not exist"
        elif not any(child.name.isdigit() and child.is_dir() for child in folder.iterdir()):
            missing = f": {folder} holds no version, a folder that a number names"
        else:
            continue
        raise ValueError(f"{where}{missing}; {program.typed('export')} writes one, --wait waits for it")


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
    try:
        if not flags.FLAGS.wait:
            check_versions(options)
    except ServingError as error:
        raise command.RunFailed(f"Failed to start server. Error: {error}") from error
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    logging.getLogger("tfar.serving").setLevel(logging.INFO)
    print("This server is for development and tests; in production run TensorFlow Serving with the same export.")
    print(f"loading {options.model_base_path or options.model_config_file}", flush=True)
    # TensorFlow takes seconds to import, which no mistyped flag should cost.
    serving = start_tensorflow("export.server.server")
    if not options.xla_cpu_compilation_enabled:
        quietly(importlib.import_module("export.server.compat").disable_xla)
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
