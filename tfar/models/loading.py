"""Models from files: `.keras` files, and the work directories of training runs."""

from __future__ import annotations

import importlib
import json
import os
import pathlib
import zipfile
import zlib

import keras

from tfar.models.autoregressive import AutoregressiveModel
from tfar.models.density import Density

# Of a work directory, see `pipelines.train`.
_MODEL, _RUN = "model.keras", "config.json"
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError)


def load(path: str | os.PathLike) -> AutoregressiveModel:
    """Loads a model that `model.save(path)` has written, or that a run has left in its work directory.

    Args:
        path: a `.keras` file, or a work directory, whose model.keras holds the averaged weights of the best checkpoint.
            Modules with classes of the user's own that the run's configuration names are imported; for a file beside
            no configuration import them first.

    Returns:
        The model.

    Raises:
        FileNotFoundError: no such file, or the directory holds no finished run.
        ValueError: the file is damaged or holds no model of tfar, or a class of it is not known.

    Example:
        >>> import tempfile, tfar
        >>> folder = tempfile.TemporaryDirectory()
        >>> tfar.models.ToyHistogram((2,), tfar.heads.Categorical(3)).save(f"{folder.name}/model.keras")
        >>> load(folder.name).event_shape
        (2,)
        >>> folder.cleanup()
    """
    path = pathlib.Path(path)
    if path.is_dir():
        if not (path / _MODEL).is_file():
            raise FileNotFoundError(f"{path} holds no {_MODEL}, which a run of pipelines.train writes when it ends")
        path = path / _MODEL
    if not path.is_file():
        raise FileNotFoundError(f"path must be a .keras file or a work directory, there is no {path}")
    if path.suffix != ".keras":
        raise ValueError(f"path must be a .keras file or a work directory, got {path}")
    _import_own(path.parent / _RUN)
    try:
        model = keras.saving.load_model(path)
    except Exception as error:  # Keras raises whatever its readers of zip, JSON and HDF5 raise
        raise ValueError(f"{path} {_fault(path, error)}") from error
    if not isinstance(model, Density):
        raise ValueError(f"{path} must hold a model of tfar, got {type(model).__name__}")
    return model


def _import_own(record: pathlib.Path) -> None:
    """Imports the modules of classes that a run names as `package.module:Class`."""
    try:
        resolved = json.loads(record.read_text())["resolved"]
        names = [str((resolved[what] or {}).get("name")) for what in ("model", "head", "condition")]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return  # another configuration, or none
    for name in names:
        module, colon, _ = name.partition(":")
        if colon:
            try:
                importlib.import_module(module)
            except ImportError as error:
                raise ValueError(f"{record} names {name}, which cannot be imported: {error}") from error


def _fault(path: pathlib.Path, error: Exception) -> str:
    """Returns the reason why Keras does not load a file: damage, a class that nobody has imported, or its own error."""
    if not zipfile.is_zipfile(path):
        return "is damaged, or no .keras file: it is no zip archive"
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
            description = dict(json.loads(archive.read("config.json")))
    except _DAMAGE as found:
        return f"is damaged: {found}"
    if broken:
        return f"is damaged: {broken} in it is not what was written"
    module, name = description.get("module"), description.get("registered_name")
    if name and keras.saving.get_registered_object(name) is None:
        return f"holds a {description.get('class_name')}; import {module} before, which defines it"
    lines = str(error).strip().splitlines()
    return f"cannot be loaded: {lines[0] if lines else type(error).__name__}"
