"""Reads an object's configuration from its constructor's signature, so that each argument is written once."""

from __future__ import annotations

import dataclasses
import inspect
import types
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tfar.core.orderings import Ordering

# Kinds of parameters that have a name of their own.
NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class Configured:
    """Base of what is saved by the arguments of its constructor: `get_config` reads the signature of `__init__`.

    The constructor keeps every argument, checked and with its default resolved, in an attribute of the same name, or
    of that name behind an underscore where the plain name means something else (a layer, say). It names each argument
    that it passes on to another constructor of this library; `**kwargs` is for those of `keras.layers.Layer`.

    Example:
        >>> class Scale(Configured, keras.layers.Layer):
        ...     def __init__(self, factor=2.0, **kwargs):
        ...         super().__init__(**kwargs)
        ...         self.factor = factor
        >>> Scale().get_config()["factor"]
        2.0
    """

    def get_config(self) -> dict[str, Any]:
        """Arguments that make an equal object."""
        base: dict[str, Any] = getattr(super(), "get_config", dict)()  # of Keras: name, dtype, ...
        return {**base, **{name: serialized(self._argument(name)) for name in self.arguments()}}

    @classmethod
    def arguments(cls) -> list[str]:
        """Names of the constructor's arguments, which a configuration holds."""
        _, *parameters = inspect.signature(cls.__init__).parameters.values()  # type: ignore[misc]
        return [parameter.name for parameter in parameters if parameter.kind in NAMED]

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Returns the object with these arguments, those that are objects rebuilt."""
        arguments = {name: rebuilt(value) for name, value in config.items()}
        of_keras = getattr(super(), "from_config", None)
        return cls(**arguments) if of_keras is None else of_keras(arguments)

    def _argument(self, name: str) -> Any:
        kept = vars(self)
        if f"_{name}" not in kept and not hasattr(self, name):
            raise TypeError(f"{type(self).__name__} must keep its argument {name!r} in an attribute of this name")
        return kept.get(f"_{name}") if f"_{name}" in kept else getattr(self, name)


def rebuilt(value: Any) -> Any:
    """Returns objects of their serialized form, also those inside of lists; other values as they are."""
    if isinstance(value, list):
        return [rebuilt(item) for item in value]
    if isinstance(value, dict) and {"class_name", "config"} <= set(value):
        return keras.saving.deserialize_keras_object(value)
    return value


def serialized(value: Any) -> Any:
    """Converts a value for JSON, or for Keras to convert: tuples, arrays and orderings become lists."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Ordering):
        return value.ranks.tolist()
    if isinstance(value, tuple | list):
        return [serialized(item) for item in value]
    if isinstance(value, Mapping):
        return {key: serialized(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, types.FunctionType):
        return keras.activations.serialize(value)
    return keras.saving.serialize_keras_object(value)
