"""Packages that parts of tfar need and that are installed on request, by extras such as `pip install 'tfar[tfds]'`."""

from __future__ import annotations

import importlib
from types import ModuleType


class MissingExtra(ImportError):
    """A package of an extra is not installed; the message says which extra has it."""


def load(module: str, extra: str, purpose: str) -> ModuleType:
    """Imports a package of an extra.

    Args:
        module: what is imported, such as "matplotlib.figure".
        extra: its name in pyproject.toml.
        purpose: what needs the package, the subject of the message.

    Returns:
        The module.

    Raises:
        MissingExtra: the package is not installed.

    Example:
        >>> load("json", "tfds", "A data set").dumps([1])
        '[1]'
        >>> load("no_such_package", "tfds", "A data set")
        Traceback (most recent call last):
        ...
        tfar.core.extras.MissingExtra: A data set needs no_such_package; install it: pip install 'tfar[tfds]'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if (error.name or "").partition(".")[0] != package:
            raise
        raise MissingExtra(
            f"{purpose} needs {package}; install it: pip install 'tfar[{extra}]'", name=package
        ) from error
