"""Finds run configurations: files of the user's own, and those that are installed with `pipelines`."""

from __future__ import annotations

import pathlib
from typing import Any

from absl import flags
from ml_collections import config_flags
from ml_collections.config_flags.config_flags import ConfigFileFlagParser

INSTALLED = pathlib.Path(__file__).resolve().parent / "configs"
_NO_RUNS = ("__init__", "defaults")


def names() -> list[str]:
    """Returns the names of the installed configurations."""
    return sorted(path.stem for path in INSTALLED.glob("*.py") if path.stem not in _NO_RUNS)


def find(name: str) -> str:
    """Returns the path of a configuration.

    Args:
        name: a file; or, where there is no such file, an installed configuration: digits, digits.py or
            pipelines/configs/digits.py. What follows a colon is the argument of its `get_config`, and is kept.

    Raises:
        ValueError: there is no such configuration.
    """
    path, colon, argument = name.partition(":")
    given = pathlib.PurePath(path)
    if not pathlib.Path(path).is_file():
        installed = given.parent in (pathlib.PurePath(), pathlib.PurePath("pipelines/configs"))
        stem = given.name.removesuffix(".py")
        if not installed or stem not in names():
            raise ValueError(f"no such file, and no installed configuration; those are {', '.join(names())}")
        path = str(INSTALLED / f"{stem}.py")
    return f"{path}{colon}{argument}"


class _Parser(ConfigFileFlagParser):
    """Reads the configuration that `find` finds."""

    def parse(self, argument: str) -> Any:
        """Returns what the `get_config` of the file returns."""
        return super().parse(find(argument))


def define_flag(default: str) -> None:
    """Defines the flag --config, and --config.NAME for its settings.

    Args:
        default: name of a configuration.
    """
    config_flags.DEFINE_config_file("config", None, "Run configuration: a file, or the name of an installed one.")
    flags.FLAGS["config"].parser = _Parser("config")
    flags.FLAGS.set_default("config", default)
