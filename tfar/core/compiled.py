"""A cache of compiled functions, keyed by the structure, shapes and types of their arguments."""

from __future__ import annotations

import collections
import contextlib
import functools
import itertools
import threading
from collections.abc import Callable, Hashable
from typing import Any

import tensorflow as tf

from tfar.core.evaluation import evaluating, evaluation
from tfar.core.kept_graphs import KeptGraphs, forget_programs

_serials = itertools.count()
CAPACITY = 64  # functions of a model; a text client of any habits does not fill the memory


def for_xla() -> bool:
    """Returns whether XLA is certain to compile the graph that is traced now, which may then use XLA's own operations.

    False outside of `CompiledFunctions`: other callers may or may not compile the graph with XLA.
    """
    return evaluation().target == "xla"


def updates_slices() -> bool:
    """Returns whether the graph that is traced now may write a slice with `XlaDynamicUpdateSlice`.

    XLA has it, and LiteRT has a built-in operator for it, where a scatter becomes several that copy everything.
    """
    return evaluation().target in ("xla", "litert")


def tracing_for_litert() -> contextlib.AbstractContextManager[None]:
    """Context in which graphs are traced for LiteRT's converter; they run nowhere else."""
    return evaluating(target="litert")


class CompiledFunctions:
    """Functions of tensors in compiled form, each traced once per name, structure, shapes and types of its arguments.

    The functions that were not called for longest are forgotten beyond `capacity`. Threads may call at the same time;
    one traces a function while the others that need it wait.

    Args:
        model: whose weights the functions read. Where a cache directory is set (see `tfar.core.kept_graphs`), their
            graphs are kept there for the next process.
        capacity: functions that are remembered.

    Example:
        >>> compiled = CompiledFunctions()
        >>> int(compiled.run("double", lambda x: 2 * x, tf.constant(4)))
        8
    """

    def __init__(self, model: Any = None, capacity: int = CAPACITY) -> None:
        self.serial = next(_serials)  # tells the functions of several models of a process apart
        self._capacity = capacity
        self._entries: collections.OrderedDict[Any, _Entry] = collections.OrderedDict()
        self._lock = threading.Lock()
        self._kept = None if model is None else KeptGraphs(model)

    def __len__(self) -> int:
        return len(self._entries)

    def run(self, name: Hashable, function: Callable[..., Any], *arguments: Any, jit_compile: bool = False) -> Any:
        """`function(*arguments)`; op by op under `tf.config.run_functions_eagerly(True)`, as any `tf.function`.

        Args:
            name: identifies the function, with all that it depends on besides its arguments.
            function: of tensors in any nesting of tuples, lists and dictionaries; None stands for a missing one.
            *arguments: its arguments.
            jit_compile: compile with XLA.
        """
        return self.prepare(name, function, *arguments, jit_compile=jit_compile)()

    def prepare(
        self, name: Hashable, function: Callable[..., Any], *arguments: Any, jit_compile: bool = False
    ) -> Callable[[], Any]:
        """Returns the call that `run` makes: the function is traced here, and may run in another thread."""
        if tf.config.functions_run_eagerly():
            return functools.partial(function, *arguments)
        key = (name, jit_compile, _structure(arguments))
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            self._entries.move_to_end(key)
            if len(self._entries) > self._capacity:
                self._entries.popitem(last=False)
        with entry.lock:
            if entry.function is None:
                entry.function = self._compile(key, function, arguments, jit_compile)
        return functools.partial(_call, entry, function, arguments, jit_compile)

    def _compile(self, key: Any, function: Callable[..., Any], arguments: Any, jit_compile: bool) -> Callable[..., Any]:
        if self._kept is None or not jit_compile:
            return _trace(function, arguments, jit_compile)
        return self._kept.load_or_trace(key, lambda: _trace(function, arguments, jit_compile))


def _call(entry: _Entry, function: Callable[..., Any], arguments: Any, jit_compile: bool) -> Any:
    """Calls a traced function; if XLA finds a damaged program, traces it anew and calls that."""
    traced: Any = entry.function
    try:
        return traced(*arguments)
    except tf.errors.OpError:
        with entry.lock:
            if entry.function is traced:  # otherwise another thread has done it
                if not (jit_compile and forget_programs()):
                    raise
                # A function anew: TensorFlow remembers that it could not compile the other one.
                entry.function = _trace(function, arguments, jit_compile)
    anew: Any = entry.function
    return anew(*arguments)


def _trace(function: Callable[..., Any], arguments: Any, jit_compile: bool) -> Any:
    compiled = tf.function(function, autograph=False, jit_compile=jit_compile or None)
    with evaluating(target="xla" if jit_compile else None):
        return compiled.get_concrete_function(*arguments)


class _Entry:
    """A function, None before it is traced, and the lock that is held while it is traced."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.function: Callable[..., Any] | None = None


def _structure(x: Any) -> Any:
    """Nesting, shapes and types of arguments, as a hashable value that is written alike in every process."""
    if x is None:
        return None
    if isinstance(x, dict):
        return "dict", *((key, _structure(x[key])) for key in sorted(x))
    if isinstance(x, tuple | list):
        return type(x).__name__, *(_structure(item) for item in x)
    return tuple(x.shape), tf.as_dtype(x.dtype).name
