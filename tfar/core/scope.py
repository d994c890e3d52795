"""The scope that decides how a causal network is evaluated: in parallel, or incrementally from a cache.

A network is written once, as an ordinary Keras `call`. Outside of a scope it sees all positions at once. Inside of

    with Incremental(state, at=t) as scope:
        params = network(x_previous)
    state = scope.state

the same call computes position `t` alone: every causal layer reads what it needs of the past from its own part of
`state` and leaves its contribution for the next position. The scope is functional (it never changes the dictionary
that it was given), belongs to one thread, and holds no tensors after it is left except `scope.state`.

Three phases:

    "step"    sequences:  x is [B, n, C], the elements before t, ..., t + n - 1     -> outputs at t, ..., t + n - 1
    "row"     images:     x is [B, n, W, C], the rows before i, ..., i + n - 1      -> the vertical stack computes rows
    "pixel"   images:     x is [B, 1, 1, C], the pixel before (i, j)                -> everything else at (i, j);
                          without a column x is [B, n, W, C]: rows i, ..., i + n - 1 delayed by one pixel

The input of a step is the *previous* element. A layer that is exclusive (mask A: sees strictly before) therefore
takes it as it comes, and an inclusive layer (mask B) takes hidden features, which already belong to the current
position. Where colour channels are ordered inside of a pixel, `now` holds the channels of the current pixel that
are already drawn, the others being 0.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, Self, TypeVar

import keras
import numpy as np
import tensorflow as tf

from tfar.core import compat
from tfar.core.evaluation import evaluating, evaluation
from tfar.core.paths import attribute_paths, layers_by_path
from tfar.core.protocols import Network
from tfar.core.slicing import put, take, varies

State = dict[str, tf.Tensor]
Inner = TypeVar("Inner", bound="Incremental")

PHASES = ("step", "row", "pixel")

NO_STATE = (
    "the network kept no state: no causal layer was called inside of the scope "
    "(a tf.function that was traced outside of it ignores the scope)"
)


def current() -> Incremental | None:
    """Returns the scope that this thread is in, or None where networks are evaluated in parallel."""
    return evaluation().scope


class Incremental:
    """Evaluates the causal network called inside of the scope at one position, or at a block of known positions.

    Args:
        state: dictionary of tensors from `initial_state` or from `scope.state` of the scope before. None creates
            the state: layers see zeros where they would read, so the result has the right shapes.
        at: position: an int or a scalar tensor (the step, or the row), or a pair `(row, column)` for one pixel. The
            step or the row may be int32 [B]: every example stands at a position of its own, the column is common.
        length: number of positions (rows in the phases of images) that are advanced in one call.
        phase: "step", "row" or "pixel".
        now: encoded current element(s), [B, 1, 1, C] with undrawn channels 0, or [B, n, W, C] for whole rows.

    Raises:
        ValueError: the phase is unknown, the length is not positive, or a block begins at a position per example.
        RuntimeError: on leaving the scope, when a part of the state was not consumed or no layer kept any.

    Example:
        >>> import tensorflow as tf
        >>> from tfar.core import Incremental, initial_state
        >>> from tfar.layers import CausalConv1D
        >>> layer = CausalConv1D(4, kernel_size=2)
        >>> x = tf.random.normal([1, 3, 2])
        >>> y = layer(x)
        >>> state = initial_state(layer, batch=1, inputs={"step": (1, 2)})
        >>> with Incremental(state, at=0) as scope:
        ...     y0 = layer(x[:, :1])
        >>> bool(tf.reduce_all(tf.abs(y0 - y[:, :1]) < 1e-6))
        True
    """

    def __init__(
        self,
        state: Mapping[str, tf.Tensor] | None,
        at: Any,
        length: int = 1,
        *,
        phase: str = "step",
        now: tf.Tensor | None = None,
    ):
        if phase not in PHASES:
            raise ValueError(f"phase must be one of {PHASES}, got {phase!r}")
        if length < 1:
            raise ValueError(f"length must be at least 1, got {length}")
        self.at, self.column = at if isinstance(at, tuple) else (at, None)
        self.varies = varies(self.at)
        if self.varies and (length > 1 or (phase == "pixel" and self.column is None)):
            raise ValueError(f"at must be a scalar for a block of positions (length {length}), got {self.at}")
        self.length, self.phase, self.now = length, phase, now
        self._shared: dict[Hashable, Any] = {}
        self.creating = state is None  # then every layer has to be called once in every phase
        self.before: State = dict(state or {})
        self._new: State = dict(self.before)
        self._touched: set[str] = set()
        self._calls: dict[str, int] = {}
        self._paths: dict[int, str] | None = None

    @property
    def state(self) -> State:
        """The state after the positions of this scope."""
        return self._new

    @property
    def called(self) -> bool:
        """Whether a causal layer was called inside of the scope."""
        return bool(self._calls)

    @property
    def first(self) -> Any:
        """The first position: a scalar, or [B, 1] where every example has its own."""
        return self.at[:, None] if self.varies else self.at

    @property
    def positions(self) -> Any:
        """All positions, t, ..., t + n - 1: [n], or [B, 1] where every example has its own."""
        return self.first + np.arange(self.length, dtype=np.int32)

    def shared(self, name: Hashable, compute: Callable[[], Any]) -> Any:
        """Returns `compute()`, or its earlier result for another layer in the same scope and graph (index tensors)."""
        key = (name, None if tf.executing_eagerly() else id(tf.compat.v1.get_default_graph()))
        if key not in self._shared:
            self._shared[key] = compute()
        return self._shared[key]

    @property
    def whole_rows(self) -> bool:
        """Whether this is the pixel phase of a block of complete rows."""
        return self.phase == "pixel" and self.column is None

    def __enter__(self) -> Self:
        self._entered = evaluating(scope=self)
        self._entered.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._entered.__exit__(None, None, None)
        if kind is not None:
            return
        unused = sorted(set(self.before) - self._touched)
        if unused:
            raise RuntimeError(
                f"the network did not consume its state: {unused[0]!r} ({len(unused)} of {len(self.before)} entries) "
                "was not read; was a traced tf.function called inside of the scope, or is this another network's state?"
            )
        # Convolutions of one tap keep nothing; while the state is created, a phase may leave none.
        if not self._new and not self.called and not self.creating:
            raise RuntimeError(NO_STATE)

    def state_of(self, layer: keras.layers.Layer) -> LayerState:
        """Returns the part of the state that belongs to this call of `layer`."""
        if self._paths is None:
            root = compat.entry_layer(layer)
            self._paths = attribute_paths(root)
        path = self._paths.get(id(layer))
        if path is None:
            raise RuntimeError(
                f"causal layer {layer.name!r} cannot be reached through attributes of the network, so its state has "
                "no name; subclass keras.layers.Layer and keep layers in attributes, lists or dictionaries "
                "(functional and Sequential models of causal layers are not supported)"
            )
        count = self._calls.get(path, 0)
        self._calls[path] = count + 1
        return LayerState(self, f"{path}#{count}" if count else path)

    # A network inside of the network may advance at other positions than the layers around it. It is called in a scope
    # of its own, over the entries whose names begin with its name; `update` writes that scope's state back. These are
    # two methods because the call may stand in a branch of a `tf.cond`, which returns the changes.

    def inner(self, kind: type[Inner], prefix: str, at: Any, length: int = 1) -> Inner:
        """Returns a scope of the same phase for a network inside of the network.

        Args:
            kind: the class of the scope.
            prefix: the prefix of the names of its entries, which belong to the layers that are called in this scope.
            at: its position, as for the constructor.
            length: number of positions.
        """
        scope = kind(self.entries(prefix), at, length, phase=self.phase)
        scope.creating, scope._paths, scope._calls = self.creating, self._paths, self._calls
        return scope

    def entries(self, prefix: str) -> State:
        """Returns the entries whose names begin with `prefix`."""
        return {key: value for key, value in self._new.items() if key.startswith(prefix)}

    def update(self, prefix: str, changes: State) -> None:
        """Replaces entries whose names begin with `prefix`; the others of these stay as they are."""
        self._new.update(changes)
        self._touched.update(self.entries(prefix))

    def write_column(self, key: str, value: tf.Tensor, every: int = 1) -> None:
        """Pixel phase: replaces the current column of the entry `key` [columns, ...].

        Args:
            key: name of the entry.
            value: [...].
            every: columns of this scope to one of the entry.
        """
        self._new[key] = put(self._new[key], self.column // every if every > 1 else self.column, value)

    def within_row(self, x: tf.Tensor) -> tf.Tensor:
        """Pixel phase: the input [B, n, 1 or W, C] of an exclusive layer, 0 where the pixel before is in the row above.

        The previous element of the first pixel of a row is the last one of the row above; a convolution along the
        row sees the border there.
        """
        if self.whole_rows:
            return tf.pad(x[:, :, 1:], [[0, 0], [0, 0], [1, 0], [0, 0]])
        return x * tf.cast(self.column > 0, x.dtype)

    def only_rows(self, x: tf.Tensor, filters: int, compute: Callable[[], tf.Tensor]) -> tf.Tensor:
        """Computes a value of the vertical stack for whole rows; NaN in the pixel phase, which exposes a wrong reader.

        Args:
            x: of the value's shape but for the channels.
            filters: channels of the value.
            compute: as in `per_row`.
        """
        if self.phase == "row":
            return compute()
        return x[..., :1] * tf.constant(float("nan"), x.dtype, [filters])

    def per_row(self, state: LayerState, name: str, compute: Callable[[], tf.Tensor]) -> tf.Tensor:
        """Computes a value of the vertical stack for whole rows; the pixel phase returns it column by column.

        Args:
            state: of the calling layer.
            name: the entry.
            compute: returns [B, n, W, C] (or [B, n, 1, C]: the same for all columns) in the row phase.
        """
        ahead = f"{name}_ahead"
        if self.phase == "row":
            value = compute()
            state.write(name, value, transient=self.length > 1)
            if value.shape[2] != 1:
                state.write(ahead, value[:, -1:, :1])
            return value
        if self.phase != "pixel":
            raise RuntimeError(f"layer {state.path!r} belongs to the vertical stack of an image and has no step phase")
        rows = state.read(name)
        if rows.shape[2] == 1 and not self.whole_rows:
            return rows
        if self.whole_rows:
            if rows.shape[2] != 1:
                state.read(ahead)
                state.write(ahead, rows[:, -1:, -1:])
            state.write(name, rows[:, -1:], transient=True)
            return rows
        # A pixel finds its column taken out by the pixel before: XLA would fuse a slice that starts at the current
        # column with the gate that reads it, and the compiler for CPUs does not vectorize such a gate.
        value = state.read(ahead)
        state.write(ahead, take(rows, 2, tf.minimum(self.column + 1, rows.shape[2] - 1)))
        return value


class LayerState:
    """The named tensors that one call of one layer keeps between positions."""

    def __init__(self, scope: Incremental, path: str):
        self.scope, self.path = scope, path

    def read(self, name: str, shape: Any = None, dtype: tf.DType = tf.float32) -> tf.Tensor:
        """Returns the entry `name`; zeros of `shape` while the state is being created.

        Args:
            name: the entry.
            shape: shape of the entry; None where an earlier phase has written it.
            dtype: type of the entry.

        Raises:
            KeyError: the state belongs to another network.
        """
        key, scope = self.key(name), self.scope
        scope._touched.add(key)
        if key not in scope._new:
            if not scope.creating or shape is None:
                raise KeyError(f"the state has no entry {key!r}; it belongs to another network")
            scope._new[key] = tf.zeros(shape, dtype)
        return scope._new[key]

    def write(self, name: str, value: tf.Tensor, *, transient: bool = False) -> None:
        """Replaces the entry `name`.

        Raises:
            ValueError: the shape or the type differs from what the state holds.
        """
        key, scope = self.key(name), self.scope
        scope._touched.add(key)
        old = scope._new.get(key)
        if old is not None and not transient:
            if old.dtype != value.dtype or not old.shape.is_compatible_with(value.shape):
                raise ValueError(
                    f"state entry {key!r} is {old.dtype.name} {old.shape}, a step would change it to "
                    f"{value.dtype.name} {value.shape}"
                )
            value = tf.ensure_shape(value, old.shape)
        scope._new[key] = value

    def key(self, name: str) -> str:
        """Name of the entry in the state."""
        return f"{self.path}/{name}"

    def write_column(self, name: str, value: tf.Tensor) -> None:
        """Replaces the current column of the entry `name` [W, ...] in the pixel phase."""
        self.read(name)
        self.scope.write_column(self.key(name), value)

    def keep_unchanged(self) -> None:
        """Leaves the state of this layer and of the layers inside of it unchanged, so that they need not be called."""
        own = (f"{self.path}/", f"{self.path}.")
        self.scope._touched.update(key for key in self.scope._new if key.startswith(own))


def period(network: Network) -> int:
    """Examples whose positions agree modulo this number may advance in one call; 1: any.

    It is the largest `period` of a layer; what changes the resolution has one.
    """
    return max((layer.period for layer in layers_by_path(network).values() if hasattr(layer, "period")), default=1)
