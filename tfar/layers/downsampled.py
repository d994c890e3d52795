"""A two-stack network at half the resolution, inside of one at full resolution."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfar.core import scope as scopes
from tfar.core.sizes import batch_size
from tfar.core.slicing import take


class CoarseScope(scopes.Incremental):
    """The scope of a network at half the resolution, whose call may stand in a branch of a `tf.cond`.

    A branch copies every tensor that it returns. Where a pixel replaces one column of an entry, the branch therefore
    returns the new column instead of the entry. `columns` holds these by the names of their entries, `every` the number
    of columns of this scope's grid for each.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.columns: dict[str, tf.Tensor] = {}
        self.every: dict[str, int] = {}

    @property
    def changes(self) -> scopes.State:
        """The entries that were replaced whole."""
        return {key: value for key, value in self.state.items() if value is not self.before.get(key)}

    def write_column(self, key: str, value: tf.Tensor, every: int = 1) -> None:
        """See `Incremental.write_column`; the entry stays as it is."""
        self.columns[key], self.every[key] = value, every


@keras.saving.register_keras_serializable("tfar")
class Downsampled(keras.layers.Layer):
    """down, inner, up: both stacks go to half the resolution, through a network, and back.

        vertical [B, H, W, C]   --- down --- +-------+ --- up ---> [B, H, W, F]
                                             | inner |
        horizontal [B, H, W, C] --- down --- +-------+ --- up ---> [B, H, W, F]

    Pixel (i', j') of the coarser grid sees the image up to (2i', 2j'), and gives the four pixels from there on. So
    the inner network is advanced at even rows, and in them at even columns, in a scope of its own in which every layer
    is at (i', j'); the four values are kept until they are due. Nothing at the coarser grid is computed twice, and the
    inner network may itself contain a `Downsampled`. Only links (of `HorizontalConv2D`, `Shortcut`), which take whole
    rows, may lead from the vertical output to the horizontal stack.

    Args:
        down: convolutions of strides 2 of the vertical and the horizontal stack.
        inner: layer `inner(vertical, horizontal, *context)` that returns both stacks.
        up: transposed convolutions of both stacks.

    Raises:
        ValueError: height or width is odd.
    """

    def __init__(self, down: list[Any], inner: keras.layers.Layer, up: list[Any], **kwargs: Any):
        super().__init__(**kwargs)
        self.down, self.inner, self.up = list(down), inner, list(up)

    @property
    def period(self) -> int:
        """The period of rows: examples whose rows agree modulo it advance together, see `tfar.core.scope.period`."""
        return 2 * scopes.period(self.inner)

    def build(self, vertical_shape: tuple[int | None, ...], *_: Any) -> None:
        """Checks that the image can be halved."""
        if any(size is not None and size % 2 for size in vertical_shape[1:3]):
            raise ValueError(f"height and width must be even to be halved, got {tuple(vertical_shape[1:3])}")

    def call(self, vertical: tf.Tensor, horizontal: tf.Tensor, *context: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """Both stacks, [B, H, W, C] each -> [B, H, W, F] each; the inner network also gets `context`."""
        v, h = self.down[0](vertical), self.down[1](horizontal)
        scope = scopes.current()
        if scope is None:
            v, h = self.inner(v, h, *context)
            return self.up[0](v), self.up[1](h)
        state = scope.state_of(self)
        if scope.phase == "row":
            # The pixels of the coarser grid write their values, [columns, 2, 2, B, F].
            shape = [vertical.shape[2] // 2, 2, 2, batch_size(h), self.up[1].filters]
            state.write("blocks", state.read("blocks", shape, h.dtype))
            out = self._rows_of_vertical(scope, state, v, h, context)
            return out, tf.zeros([batch_size(h), scope.length, vertical.shape[2], self.up[1].filters], h.dtype)
        state.read("pair")
        # As other parts of the vertical stack it is read by links, in whole rows.
        out = scope.only_rows(vertical, self.up[0].filters, lambda: v)
        return out, (self._rows if scope.whole_rows else self._pixel)(scope, state, v, h, context)

    def _rows_of_vertical(
        self, scope: scopes.Incremental, state: scopes.LayerState, v: tf.Tensor, h: tf.Tensor, context: Any
    ) -> tf.Tensor:
        """Row phase: returns rows of the vertical stack, of the pair that one row of the coarser grid becomes."""
        v, h, inner = v[:, :, ::2], h[:, :, ::2], _inner(state)
        pair = state.read("pair", [batch_size(v), 2, 2 * v.shape[2], self.up[0].filters], v.dtype)
        if scope.length > 1 or isinstance(scope.at, int):
            first, count, rows = _coarse_rows(scope)
            pairs, changes = pair, {}
            if count:
                with scope.inner(CoarseScope, inner, first, count) as coarse:
                    v, _ = self.inner(v[:, rows], h[:, rows], *context)
                pairs, changes = tf.concat([pair, self.up[0](v)], 1), coarse.changes
            scope.update(inner, changes)
            state.write("pair", pairs[:, -2:])
            return take(pairs, 1, 1 if _block_parity(scope) else 2, scope.length)

        def run() -> tuple[tf.Tensor, scopes.State]:
            with scope.inner(CoarseScope, inner, scope.at // 2) as coarse:
                y, _ = self.inner(v, h, *context)
            changed.update(coarse.changes)
            return self.up[0](y), coarse.changes

        changed: scopes.State = {}
        keep = lambda: (pair, {key: scope.entries(inner)[key] for key in changed})  # noqa: E731
        pair, changes = tf.cond(_parity(scope) == 0, run, keep)
        scope.update(inner, changes)
        state.write("pair", pair)
        return take(state.read("pair"), 1, _parity(scope))

    def _pixel(
        self, scope: scopes.Incremental, state: scopes.LayerState, v: tf.Tensor, h: tf.Tensor, context: Any
    ) -> tf.Tensor:
        """Pixel phase: one value of the horizontal stack."""
        inner, blocks = _inner(state), state.read("blocks")
        # The branch that runs returns its changes: whole entries, and one column of others, see `CoarseScope`.
        changed: scopes.State = {}
        every: dict[str, int] = {}

        def run() -> Any:
            with scope.inner(CoarseScope, inner, (scope.at // 2, scope.column // 2)) as coarse:
                _, y = self.inner(v, h, *context)
            block = tf.transpose(self.up[1](y), [1, 2, 0, 3])
            changed.update(coarse.changes)
            every.update({**coarse.every, state.key("blocks"): 1})
            return block[0, 0], coarse.changes, {**coarse.columns, state.key("blocks"): block}

        def keep() -> Any:
            place = [scope.column // 2, _parity(scope), scope.column % 2, 0, 0]
            value = tf.slice(blocks, place, [1, 1, 1, -1, self.up[1].filters])[0, 0, 0]
            entries = {**scope.entries(inner), state.key("blocks"): blocks}
            columns = {key: take(entries[key], 0, scope.column // (2 * n))[0] for key, n in every.items()}
            return value, {key: entries[key] for key in changed}, columns

        if scope.creating:
            value, changes, columns = run()
        else:
            value, changes, columns = tf.cond(tf.logical_and(_parity(scope) == 0, scope.column % 2 == 0), run, keep)
        scope.update(inner, changes)
        for key, column in columns.items():
            scope.write_column(key, column, 2 * every[key])
        return tf.ensure_shape(value, [None, self.up[1].filters])[:, None, None]

    def _rows(
        self, scope: scopes.Incremental, state: scopes.LayerState, v: tf.Tensor, h: tf.Tensor, context: Any
    ) -> tf.Tensor:
        """Pixel phase of whole rows."""
        inner, blocks = _inner(state), state.read("blocks")
        # [columns, 2, 2, B, F] -> [B, 2, 2 * columns, F]
        pairs = tf.transpose(blocks, [3, 1, 0, 2, 4])
        pairs = tf.reshape(pairs, [batch_size(h), 2, h.shape[2], self.up[1].filters])
        first, count, rows = _coarse_rows(scope)
        changes: scopes.State = {}
        if count:
            with scope.inner(CoarseScope, inner, first, count) as coarse:
                _, y = self.inner(v[:, rows, ::2], h[:, rows, ::2], *context)
            pairs, changes = tf.concat([pairs, self.up[1](y)], 1), coarse.changes
        scope.update(inner, changes)
        last = tf.reshape(pairs[:, -2:], [batch_size(h), 2, h.shape[2] // 2, 2, self.up[1].filters])
        state.write("blocks", tf.transpose(last, [2, 1, 3, 0, 4]))
        return take(pairs, 1, 1 if _block_parity(scope) else 2, scope.length)

    def compute_output_shape(self, *shapes: Any) -> Any:
        """Both stacks, [B, H, W, F]."""
        return tuple((*shape[:-1], up.filters) for shape, up in zip(shapes[:2], self.up, strict=True))


def _inner(state: scopes.LayerState) -> str:
    """Returns the prefix of the names of the inner network's entries."""
    return f"{state.path}.inner"


def _parity(scope: scopes.Incremental) -> Any:
    """0 in the rows in which the coarser grid advances; the same for all examples."""
    return (scope.at[0] if scope.varies else scope.at) % 2


def _block_parity(scope: scopes.Incremental) -> int:
    """`_parity` of the first row of a block; 0 where the graph does not know the row, see `Stage.read`."""
    at = scope.at if isinstance(scope.at, int) else tf.get_static_value(scope.at)
    return 0 if at is None else int(at) % 2


def _coarse_rows(scope: scopes.Incremental) -> tuple[Any, int, slice]:
    """The first row of the coarser grid that begins in the block of rows, how many do, and where they stand in it."""
    at = scope.at if isinstance(scope.at, int) else tf.get_static_value(scope.at)
    if at is None:
        if scope.length % 2:
            raise ValueError(
                "a block of rows must begin at a known row, or be even, where a network changes resolution, "
                f"got {scope.length} rows from {scope.at}"
            )
        return scope.at // 2, scope.length // 2, slice(0, None, 2)
    first, last = -(-int(at) // 2), (int(at) + scope.length - 1) // 2
    return first, last - first + 1, slice(2 * first - int(at), None, 2)
