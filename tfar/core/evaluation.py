"""The evaluation mode of a thread: parallel or incremental, the compiler aimed at, and values that layers share.

One immutable object per thread; `evaluating` replaces parts of it for the length of a `with` block.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfar.core.scope import Incremental

_thread = threading.local()


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The mode that layers and operations read; by default a parallel pass that runs on any device and compiler.

    Attributes:
        scope: positions and state of an incremental evaluation; None: all positions in parallel.
        initializing: whether a parallel pass sets weights by its data first, see `data_dependent_initialization`.
        target: what is traced runs there alone, "xla" or "litert"; None: anywhere.
        invariants: the graph around a loop and values of weights that were computed in it, see `invariants`.
        activations: results by input and function, see `tfar.layers.gated_resnet.shared_activations`.
    """

    scope: Incremental | None = None
    initializing: bool = False
    target: str | None = None
    invariants: tuple[Any, dict[Any, Any]] | None = None
    activations: dict[Any, Any] | None = None


_DEFAULT = Evaluation()


def evaluation() -> Evaluation:
    """Returns the evaluation of this thread."""
    return getattr(_thread, "evaluation", _DEFAULT)


@contextlib.contextmanager
def evaluating(**changes: Any) -> Iterator[None]:
    """Changes attributes of this thread's evaluation inside of a `with` block.

    Example:
        >>> with evaluating(target="xla"):
        ...     evaluation().target
        'xla'
    """
    outer = evaluation()
    _thread.evaluation = dataclasses.replace(outer, **changes)
    try:
        yield
    finally:
        _thread.evaluation = outer
