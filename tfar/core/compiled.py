"""A cache of compiled functions, keyed by shape."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable
from typing import Any

import tensorflow as tf

from tfar.core.evaluation import evaluating, evaluation


def for_xla() -> bool:
    """Whether what is traced now is compiled by XLA for certain, so that operations which only XLA has may be used.

    False outside of `CompiledFunctions`: a function that somebody else compiles with XLA uses what works everywhere.
    """
    return evaluation().target == "xla"


def updates_slices() -> bool:
    """Whether what is traced now may write a slice with `XlaDynamicUpdateSlice`.

    XLA has it, and LiteRT has a built-in operator for it, where a scatter becomes several that copy everything.
    """
    return evaluation().target in ("xla", "litert")


def tracing_for_litert() -> contextlib.AbstractContextManager[None]:
    """What is traced in here is converted for LiteRT, and runs nowhere else."""
    return evaluating(target="litert")


class CompiledFunctions:
    """Functions of tensors in compiled form; each is traced once per name, shapes and types of its arguments.

    Example:
        >>> compiled = CompiledFunctions()
        >>> int(compiled.run("double", lambda x: 2 * x, tf.constant(4)))
        8
    """

    def __init__(self) -> None:
        self._functions: dict[Any, Any] = {}

    def run(self, name: Hashable, function: Callable[..., Any], *arguments: Any, jit_compile: bool = False) -> Any:
        """`function(*arguments)`; op by op under `tf.config.run_functions_eagerly(True)`, as any `tf.function`.

        Args:
            name: identifies the function, with all that it depends on besides its arguments.
            function: of tensors in any nesting; None stands for a missing one.
            *arguments: its arguments.
            jit_compile: compile with XLA.
        """
        if tf.config.functions_run_eagerly():
            return function(*arguments)
        key = (name, jit_compile, *(_signature(x) for x in tf.nest.flatten(arguments)))
        if key not in self._functions:
            compiled = tf.function(function, autograph=False, jit_compile=jit_compile or None)
            with evaluating(target="xla" if jit_compile else None):
                self._functions[key] = compiled.get_concrete_function(*arguments)
        return self._functions[key](*arguments)


def _signature(x: Any) -> Any:
    return x if x is None else (tuple(x.shape), x.dtype)
