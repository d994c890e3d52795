"""Finds the versions in a model's folder, and those of them that its policy selects."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from tensorflow_serving.config import model_server_config_pb2

logger = logging.getLogger("tfar.serving")


class Folders:
    """Looks at the folders of models every second; logs each oddity once."""

    def __init__(self) -> None:
        self._warned: set[str] = set()

    def find_versions(self, model: model_server_config_pb2.ModelConfig) -> dict[int, Path] | None:
        """Folders of the versions that the policy asks for, by number.

        Args:
            model: with its base path and policy; without a policy the latest version is meant.

        Returns:
            None where the folder cannot be read, which should change nothing.
        """
        try:
            children = {_number(child.name): child for child in Path(model.base_path).iterdir() if child.is_dir()}
        except OSError as error:
            self._warn(f"Could not find base path {model.base_path} for servable {model.name}: {error.strerror}")
            return None
        children.pop(None, None)
        if not children:
            self._warn(
                f"No versions of servable {model.name} found under base path {model.base_path}. Did you forget to "
                "name your leaf directory as a number (eg. '/1/')?"
            )
        policy = model.model_version_policy
        kind = policy.WhichOneof("policy_choice")
        if kind == "all":
            numbers = list(children)
        elif kind == "specific":
            numbers = [number for number in policy.specific.versions if number in children]
            for number in set(policy.specific.versions) - set(numbers):
                self._warn(f"Version {number} of servable {model.name}, which its policy names, was not found")
        else:
            numbers = sorted(children)[-max(policy.latest.num_versions, 1) :]
        return {number: children[number] for number in numbers}

    def _warn(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            logger.warning(message)


def _number(name: str) -> int | None:
    """Returns the version number that a folder's name is; leading zeros are allowed."""
    if not re.fullmatch(r"[+-]?[0-9]+", name):
        return None
    number = int(name)
    return number if -(2**63) <= number < 2**63 else None
