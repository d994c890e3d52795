"""Arrays of a checkpoint by name, taken one by one, with errors that name what is missing or does not fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


class CheckpointArrays:
    """The arrays of a checkpoint, and the variables that take them.

    Args:
        arrays: arrays by name. Where some names begin with "w/", only those are weights.
        clean: makes the published name of a key without "w/".
        source: name of the reference, for errors.
    """

    def __init__(self, arrays: Mapping[str, Any], clean: Callable[[str], str], source: str):
        weights = {key[2:]: key for key in arrays if key.startswith("w/")} or {key: key for key in arrays}
        self._arrays = {clean(name): np.asarray(arrays[key]) for name, key in weights.items()}
        self._source = source
        self._used: set[str] = set()
        self._targets: list[tuple[Any, np.ndarray]] = []

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def names(self, prefix: str) -> list[str]:
        """Names that begin with `prefix`."""
        return [name for name in self._arrays if name.startswith(prefix)]

    def take(self, *names: str) -> np.ndarray:
        """Returns the array of the first of these names that is there, in float32.

        Raises:
            ValueError: none of them is.
        """
        for name in names:
            if name in self._arrays:
                self._used.add(name)
                return self._arrays[name].astype(np.float32)
        raise ValueError(
            f"arrays must hold {' or '.join(map(repr, names))} of {self._source}; there are "
            f"{', '.join(sorted(self._arrays)[:8])}, ... ({len(self._arrays)} arrays)"
        )

    def skip(self, *names: str) -> None:
        """Counts names as used."""
        self._used.update(names)

    def put(self, variable: Any, value: np.ndarray, name: str, argument: str) -> None:
        """Plans that a variable gets a value.

        Args:
            variable: of the model.
            value: of the shape of the variable.
            name: where the value is from.
            argument: arguments of the model that decide on the shape.

        Raises:
            ValueError: the shapes differ.
        """
        if tuple(variable.shape) != value.shape:
            raise ValueError(
                f"array {name!r} of {self._source} gives {value.shape}, the model's weight {variable.path!r} has "
                f"{tuple(variable.shape)}; build the model with another {argument}"
            )
        self._targets.append((variable, value))

    def assign(self, ignored: tuple[str, ...] = ()) -> None:
        """Writes all that was planned.

        Args:
            ignored: parts of names that belong to no weight (slots of optimizers and so on).

        Raises:
            ValueError: an array was used nowhere; the model then is not the checkpoint's.
        """
        rest = [n for n in self._arrays if n not in self._used and not any(part in n for part in ignored)]
        if rest:
            raise ValueError(
                f"array {sorted(rest)[0]!r} of {self._source} belongs nowhere in the model ({len(rest)} such arrays); "
                "does the model have the checkpoint's layers, biases and conditions?"
            )
        for variable, value in self._targets:
            variable.assign(value)


def check_argument(name: str, value: Any, expected: Any, source: str) -> None:
    """Raises ValueError where a model's argument is not what the reference's wiring means."""
    same = abs(value - expected) < 1e-6 if isinstance(expected, float) else value == expected
    if not same:
        raise ValueError(f"{name} must be {expected} in a model for weights of {source}, got {value}")
