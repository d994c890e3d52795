"""Precision of nested layers: a layer takes the policy of the layer that makes it."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any

import keras


@contextlib.contextmanager
def default_policy(dtype: Any) -> Iterator[None]:
    """Gives layers made in the block this `dtype`, unless they name their own; None leaves Keras's default.

    Example:
        >>> with default_policy("float64"):
        ...     layer = keras.layers.Dense(2)
        >>> layer.compute_dtype
        'float64'
    """
    if dtype is None:
        yield
        return
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(keras.dtype_policies.get(dtype))
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


class Typed(type(keras.layers.Layer)):  # type: ignore[misc]
    """Class of layers whose constructors make other layers, which then have the same `dtype`."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """The layer, made under its own policy."""
        with default_policy(kwargs.get("dtype")):
            return super().__call__(*args, **kwargs)

    @property
    def __signature__(cls) -> inspect.Signature:
        """The constructor's signature, for `help` and `inspect`, which would show that of `__call__`."""
        _, *parameters = inspect.signature(cls.__init__).parameters.values()  # type: ignore[misc]
        return inspect.Signature(parameters)
