"""The text files that tensorflow_model_server reads: models, TLS, monitoring."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from google.protobuf.message import Message
from tensorflow_serving.config import model_server_config_pb2

from export.server.errors import invalid

PLATFORM = "tensorflow"


def read_models(path: str) -> model_server_config_pb2.ModelServerConfig:
    """Reads a --model_config_file.

    Raises:
        ServingError: it cannot be read.
    """
    return _read(path, model_server_config_pb2.ModelServerConfig(), "tensorflow.serving.ModelServerConfig")


def read_ssl(path: str) -> Any:
    """Reads an --ssl_config_file: `server_key`, `server_cert`, `custom_ca` hold PEM texts, `client_verify` is a bool.

    Raises:
        ServingError: it cannot be read.
    """
    return _read(path, _MESSAGES["SSLConfig"](), "tensorflow.serving.SSLConfig")


def read_monitoring(path: str) -> Any:
    """Reads a --monitoring_config_file: `prometheus_config { enable: true, path: "..." }`.

    Raises:
        ServingError: it cannot be read.
    """
    return _read(path, _MESSAGES["MonitoringConfig"](), "tensorflow.serving.MonitoringConfig")


def single_model(name: str, base_path: str) -> model_server_config_pb2.ModelServerConfig:
    """Returns the configuration that --model_name and --model_base_path describe."""
    config = model_server_config_pb2.ModelServerConfig()
    config.model_config_list.config.add(name=name, base_path=base_path, model_platform=PLATFORM)
    return config


def check(
    new: model_server_config_pb2.ModelServerConfig, old: model_server_config_pb2.ModelServerConfig | None
) -> dict[str, model_server_config_pb2.ModelConfig]:
    """Returns the models of a configuration by name.

    Args:
        new: configuration to serve.
        old: the one served so far.

    Raises:
        ServingError: the released server refuses it, too.
    """
    models: dict[str, Any] = {}
    for model in new.model_config_list.config:
        if model.name in models:
            raise invalid(f"Illegal to list model {model.name} multiple times in config list")
        models[model.name] = model
    for model in models.values():
        if not model.base_path.startswith("/"):
            raise invalid(
                f"Expected model {model.name} to have an absolute path or URI; got base_path()={model.base_path}"
            )
    for model in old.model_config_list.config if old else ():
        if model.name in models:
            before, after = _platform(model), _platform(models[model.name])
            if before != after:
                raise invalid(
                    f"Illegal to change a model's platform. For model {model.name} platform was {before} and new "
                    f"platform requested is {after}"
                )
    for model in models.values():
        if _platform(model) != PLATFORM:
            raise invalid(f"Model {model.name} requests unsupported platform {_platform(model)}")
    return models


def _platform(model: model_server_config_pb2.ModelConfig) -> str:
    if model.model_type:
        if model.model_platform:
            raise invalid(
                "Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform."
            )
        if model.model_type != model_server_config_pb2.TENSORFLOW:
            raise invalid(f"ModelServerConfig::model_type choice {model.model_type} not supported.")
        return PLATFORM
    if not model.model_platform:
        raise invalid(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform."
        )
    return model.model_platform


def _read(path: str, message: Any, name: str) -> Any:
    try:
        text = Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise invalid(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    try:
        return text_format.Parse(text, message)
    except text_format.ParseError as error:
        raise invalid(f"Error parsing text-format {name}: {path}: {error}") from error


def _build(fields: dict[str, list[tuple[str, int, str]]]) -> dict[str, type[Message]]:
    """Message classes made at run time: the wheel of tensorflow-serving-api does not hold these."""
    file = descriptor_pb2.FileDescriptorProto(name="tfar/serving_config.proto", package="tfar", syntax="proto3")
    kinds = {"string": 9, "bool": 8}
    for message, entries in fields.items():
        definition = file.message_type.add(name=message)
        for name, number, kind in entries:
            field = definition.field.add(name=name, number=number, label=1, type=kinds.get(kind, 11))
            if kind not in kinds:
                field.type_name = f".tfar.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"tfar.{name}")) for name in fields}


_MESSAGES = _build(
    {
        "SSLConfig": [
            ("server_key", 1, "string"),
            ("server_cert", 2, "string"),
            ("custom_ca", 3, "string"),
            ("client_verify", 4, "bool"),
        ],
        "PrometheusConfig": [("enable", 1, "bool"), ("path", 2, "string")],
        "MonitoringConfig": [("prometheus_config", 1, "PrometheusConfig")],
    }
)
