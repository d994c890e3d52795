"""Graphs of traced functions on disk: the next process reads a graph instead of tracing it again.

    TFAR_CACHE_DIR=DIR     keeps graphs below DIR/graphs; "off", empty or not set: nothing is kept

The commands of `pipelines` and `export` set the variable to a folder of the user's cache directory, where XLA's own
programs lie too (`pipelines/disk_cache.py`). A file's name is a digest of all that the graph depends on: the function,
the structure of its arguments, the model's configuration and the shapes of its weights, the versions of TensorFlow and
Keras, and the source of this library. Weights are not kept; a graph reads those of the model that runs it.

Only samplers are kept, the functions that XLA compiles: a graph from a file has no gradient, and samplers need none.
Whatever cannot be kept is traced as always: models with classes from outside of this library, whose source is
not known, and models whose weights lie on several devices. So is what cannot be read: a file carries a checksum.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import json
import logging
import os
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfar.core import compat
from tfar.core.files import write_atomically

logger = logging.getLogger("tfar")

_DIGEST = hashlib.sha256
_SIZE = _DIGEST().digest_size
_OURS = ("tfar.", "keras.")


def folder() -> pathlib.Path | None:
    """Folder of the graphs of this version; None where no graphs are kept."""
    chosen = os.environ.get("TFAR_CACHE_DIR", "off")
    return None if chosen in ("", "off") else pathlib.Path(chosen) / "graphs" / _version()


@functools.cache
def _version() -> str:
    """Digest of versions, devices and source: all that a graph depends on besides the model."""
    digest = _DIGEST(f"{tf.__version__} {keras.__version__} {tf.config.list_physical_devices('GPU')}".encode())
    root = pathlib.Path(__file__).parents[1]
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]


class KeptGraphs:
    """The graphs of one model's functions.

    Args:
        model: the model; complete before its first function is loaded.
    """

    def __init__(self, model: Any):
        self._model = model

    def load_or_trace(self, key: Any, trace: Callable[[], Any]) -> Callable[..., Any]:
        """Loads the function from its file, or traces it and writes the file.

        Args:
            key: of plain values; identifies the function and the structure of its arguments.
            trace: returns a concrete function that XLA compiles.
        """
        place = folder()
        if place is None or not self._known:
            return trace()
        path = place / _DIGEST(f"{self._identity} {key!r}".encode()).hexdigest()[:32]
        graph = _read(path)
        if graph is None:
            traced = trace()
            graph = self._graph(traced)
            if graph is None:
                return traced
            _write(path, graph)
        # The function runs in the form of the file in this process too: XLA then finds its program the next time.
        return self._function(graph)

    @functools.cached_property
    def _known(self) -> bool:
        """Whether the model's graphs depend on nothing but its configuration and this library."""
        layers = compat.all_layers(self._model)
        parts = [self._model.head, *layers] + ([self._model.condition] if self._model.condition else [])
        ours = all(type(part).__module__.startswith(_OURS) for part in parts)
        return ours and self._config is not None and len(self._handles) == len(self._model.variables)

    @functools.cached_property
    def _config(self) -> str | None:
        """The model's configuration; None where a layer has none, as networks of parts that their chain makes."""
        try:
            return json.dumps(keras.saving.serialize_keras_object(self._model), sort_keys=True, default=str)
        except NotImplementedError:
            return None

    @functools.cached_property
    def _identity(self) -> str:
        """Digest of the model's configuration and of shapes and types of its weights."""
        weights = [(tuple(variable.shape), str(variable.dtype)) for variable in self._model.variables]
        return _DIGEST(f"{self._config} {weights} {keras.config.floatx()}".encode()).hexdigest()

    @functools.cached_property
    def _handles(self) -> list[tf.Tensor]:
        """The resource of every weight; fewer than weights where some lie on several devices."""
        values = [variable.value for variable in self._model.variables]
        return [value.handle for value in values if type(value).__name__ == "ResourceVariable"]

    def _graph(self, traced: Any) -> Any:
        """Returns the function as a message; None where it reads something that is neither a weight nor a constant.

        Functions stand in its library, the traced one last. Its nodes are what the function captures, in order, and a
        last one for the structure of its outputs.
        """
        graph = traced.graph.as_graph_def()
        del graph.node[:]
        graph.library.function.append(traced.function_def)
        graph.library.function[-1].attr["_XlaMustCompile"].b = True
        _rename(graph.library)
        places = {id(handle): index for index, handle in enumerate(self._handles)}
        for captured in traced.captured_inputs:
            node = graph.node.add(op="captured")
            if captured.dtype != tf.resource:
                node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(captured.numpy()))
            elif id(captured) in places:
                node.attr["weight"].i = places[id(captured)]
            else:
                return None
        graph.node.add(op="outputs").attr["structure"].s = json.dumps(_encode(traced.structured_outputs)).encode()
        return graph

    def _function(self, graph: Any) -> Callable[..., Any]:
        """Calls the graph with the model's weights.

        XLA knows its program by the function's name, which is the same in every process.
        """
        for definition in graph.library.function:
            compat.add_function(definition)
        main = graph.library.function[-1].signature
        captured = [
            self._handles[node.attr["weight"].i] if "weight" in node.attr else tf.constant(_value(node))
            for node in graph.node[:-1]
        ]
        structure = json.loads(graph.node[-1].attr["structure"].s)
        types = [tf.as_dtype(output.type) for output in main.output_arg]

        def call(*arguments: Any) -> Any:
            given = [tf.convert_to_tensor(x) for x in tf.nest.flatten(arguments) if x is not None]
            if tf.executing_eagerly():
                outputs = compat.call_function(main.name, [*given, *captured], len(types))
            else:
                outputs = tf.raw_ops.StatefulPartitionedCall(args=[*given, *captured], Tout=types, f=main.name)
            return _decode(structure, iter(outputs))

        return call


def _value(node: Any) -> np.ndarray:
    """Returns the constant that a function captured."""
    return tf.make_ndarray(node.attr["value"].tensor)


# === XLA's programs ===


def forget_programs() -> bool:
    """Removes XLA's compiled programs from disk, at most once in a process; returns whether there were any.

    TensorFlow gives up a call where it cannot read a program (a damaged file) or write one (a full disk). Without the
    files it compiles again.
    """
    global _forgotten
    kept = re.search(r"--tf_xla_persistent_cache_directory=(\S+)", os.environ.get("TF_XLA_FLAGS", ""))
    files = list(pathlib.Path(kept[1]).glob("xla_compile_cache__*")) if kept and not _forgotten else []
    for path in files:
        path.unlink(missing_ok=True)
    _forgotten = _forgotten or bool(files)
    return bool(files)


_forgotten = False


# === Files ===


def _read(path: pathlib.Path) -> Any:
    """Returns the graph in a file; None where there is none, or it is not whole."""
    try:
        content = path.read_bytes()
        os.utime(path)  # the oldest files go first where the cache is full
    except OSError:
        return None
    if _DIGEST(content[_SIZE:]).digest() != content[:_SIZE]:
        return None
    return tf.compat.v1.GraphDef.FromString(content[_SIZE:])


def _write(path: pathlib.Path, graph: Any) -> None:
    """Writes a graph behind its checksum; a folder that cannot be written costs a warning."""
    content = graph.SerializeToString()
    try:
        write_atomically(path, _DIGEST(content).digest() + content)
    except OSError as error:
        logger.warning("a traced graph was not kept in %s: %s", path.parent, error.strerror)


# === Messages ===


def _rename(library: Any) -> None:
    """Gives functions names that no other graph has, the same function traced anew included.

    A process knows one function by a name.
    """
    prefix = f"kept_{_DIGEST(library.SerializeToString(deterministic=True)).hexdigest()[:16]}"
    names = {f.signature.name: f"{prefix}_{index}" for index, f in enumerate(library.function)}
    for function in library.function:
        function.signature.name = names[function.signature.name]
        for node in function.node_def:
            node.op = names.get(node.op, node.op)
            for value in node.attr.values():
                # Only what is there is touched: to set one field of a value clears the others.
                for called in [value.func] if value.HasField("func") else value.list.func:
                    called.name = names.get(called.name, called.name)


def _encode(x: Any) -> Any:
    """Returns the nesting of outputs as JSON; 0 stands for a tensor."""
    if x is None:
        return None
    if isinstance(x, dict):
        return {"dict": [[key, _encode(x[key])] for key in sorted(x)]}
    if isinstance(x, tuple | list):
        kind = type(x)
        named = f"{kind.__module__}:{kind.__qualname__}" if hasattr(x, "_fields") else None
        return {"named": named, "list": isinstance(x, list), "items": [_encode(item) for item in x]}
    return 0


def _decode(structure: Any, tensors: Iterator[tf.Tensor]) -> Any:
    """Returns the nesting with tensors in it."""
    if structure is None:
        return None
    if structure == 0:
        return next(tensors)
    if "dict" in structure:
        return {key: _decode(item, tensors) for key, item in structure["dict"]}
    items = [_decode(item, tensors) for item in structure["items"]]
    if structure["named"]:
        module, name = structure["named"].split(":")
        kind: Any = functools.reduce(getattr, name.split("."), importlib.import_module(module))
        return kind(*items)
    return items if structure["list"] else tuple(items)
