"""Incremental evaluation gives what the parallel pass gives."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfar.core.scope import Incremental, State, call_network, initial_state
from tfar.core.slicing import take
from tfar.models.autoregressive import AutoregressiveModel
from tfar.testing.inputs import full_condition, orders, random_events

MODES = ("eager", "function", "xla")
TOLERANCES = {"float64": 1e-10, "float32": 1e-4, "bfloat16": 0.25, "float16": 0.02}


def assert_incremental_matches_parallel(
    model_or_layer: keras.layers.Layer,
    x: Any = None,
    condition: Any = None,
    *,
    modes: Sequence[str] = MODES,
    blocks: Sequence[tuple[int, int]] | None = None,
    exclusive: bool | None = None,
    tolerance: float | None = None,
    seed: int = 0,
) -> float:
    """Asserts that a network gives the same outputs position by position as in parallel over all positions.

    A known event is fed step by step (rows and pixels of an image, elements of a sequence in the model's order)
    through the incremental scope, and every output is compared with the parallel pass, which is always the oracle.
    Further: a step changes neither keys nor shapes nor types of the state, and a block of known positions
    (`Incremental(..., length=n)`) gives the outputs and the state of n single steps.

    Args:
        model_or_layer: a model, or one causal layer of sequences [B, T, F] or images [B, H, W, F].
        x: for a model data values [B, *event_shape], random by default; for a layer its input.
        condition: for a model the condition, random by default; for a layer its second argument, if it takes one.
        modes: any of "eager", "function" (a plain graph) and "xla".
        blocks: pairs (first unit, number of units) to be advanced as a block: steps of a sequence, rows of an image.
            By default the first and the second half.
        exclusive: for a layer: whether it is given the element before (mask A) or the current one in a step; by
            default its attribute `exclusive`, else False. Models are given the element before.
        tolerance: allowed error, absolute and relative to the output; by default 1e-4 in float32, 1e-10 in float64,
            0.25 in bfloat16.
        seed: of the random event.

    Returns:
        The greatest absolute error.

    Raises:
        AssertionError: naming mode and position, or the entry of the state.
        ValueError: a layer without `x`, or an unknown mode.

    Example:
        >>> from tfar.layers import CausalConv1D
        >>> assert_incremental_matches_parallel(CausalConv1D(2, 3), tf.random.normal([1, 4, 2])) < 1e-4
        True
    """
    unknown = sorted(set(modes) - set(MODES))
    if unknown or not modes:
        raise ValueError(f"modes must be some of {MODES}, got {tuple(modes)}")
    walk = (
        Walk.of_model(model_or_layer, x, condition, seed)
        if isinstance(model_or_layer, AutoregressiveModel)
        else Walk.of_layer(model_or_layer, x, condition, exclusive)
    )
    if tolerance is None:
        tolerance = TOLERANCES[model_or_layer.compute_dtype]
    expected = walk.parallel()
    carry = walk.start(expected)
    worst = 0.0
    everything = (*carry, tf.constant(0), tf.constant(walk.units))
    advance: Callable[..., Any] = walk.advance
    for mode in modes:
        function = walk.advance
        if mode != "eager":
            compiled = tf.function(walk.advance, jit_compile=True if mode == "xla" else None, autograph=False)
            function = compiled.get_concrete_function(*everything)
        if mode == "function":
            advance = function  # the cheapest to run again, for the blocks below
        state, outputs = function(*everything)
        _compare_specs(carry[0], state, f"{mode}: all steps")
        worst = max(worst, walk.compare(outputs, expected, tolerance, mode))
    half = (walk.units + 1) // 2
    for begin, count in blocks or [(0, half), (half, walk.units - half)]:
        if count < 1:
            continue
        before, _ = advance(*carry, tf.constant(0), tf.constant(begin))
        single, _ = advance(before, carry[1], tf.constant(begin), tf.constant(begin + count))
        state, outputs = walk.block(before, begin, count)
        name = f"block of {count} from {begin}"
        _compare_specs(single, state, name)
        span = slice(begin * walk.width, (begin + count) * walk.width)
        worst = max(worst, walk.compare(outputs, expected[span], tolerance, name, begin * walk.width))
        for key in sorted(single):
            error = _error(state[key], single[key], tolerance)
            if error.max(initial=0) > 1:
                raise AssertionError(
                    f"{name}: state entry {key!r} differs from that of {count} single steps by "
                    f"{np.abs(_float64(state[key]) - _float64(single[key])).max():.3g}"
                )
    return worst


@dataclasses.dataclass(frozen=True)
class Walk:
    """A network, a known event, and the way through it unit by unit: rows of an image, steps of a sequence.

    Attributes:
        network: callable `network(x, context)`.
        cells: what the network sees of the event, [B, H, W, F] or [B, N, F], a sequence in the order of drawing.
        context: second argument of the network.
        before: True where a step is given the element before.
        groups: colours that the network orders, one pass of the pixel phase each.
        permutation: flat cell of every step, [B, N].
        grid: shape of the cells.
    """

    network: Callable[..., tf.Tensor]
    cells: tf.Tensor
    context: Any
    before: bool
    groups: int
    permutation: np.ndarray
    grid: tuple[int, ...]

    @classmethod
    def of_model(cls, model: AutoregressiveModel, x: Any = None, condition: Any = None, seed: int = 0) -> Walk:
        """Through a model and an event `x` [B, *event_shape], by default two random ones."""
        x = random_events(model, 2, seed) if x is None else np.asarray(x)
        context = model.context(full_condition(model, condition, len(x)))
        encoded, permutation = model.encode(x), orders(model, x, context)
        grid = tuple(encoded.shape[1:-1])
        cells = encoded if len(grid) == 2 else tf.gather(encoded, permutation, axis=1, batch_dims=1)
        return cls(model.network, cells, context, True, model.event.groups, permutation, grid)

    @classmethod
    def of_layer(cls, layer: keras.layers.Layer, x: Any, context: Any = None, exclusive: bool | None = None) -> Walk:
        """Through a single layer and an input `x`, [B, T, F] or [B, H, W, F]."""
        if x is None or len(np.shape(x)) not in (3, 4):
            raise ValueError(f"x must be [B, T, F] or [B, H, W, F] for a layer, got shape {np.shape(x)}")
        x = tf.convert_to_tensor(x)
        grid = tuple(x.shape[1:-1])
        before = getattr(layer, "exclusive", False) if exclusive is None else exclusive
        stored = np.broadcast_to(np.arange(int(np.prod(grid))), (x.shape[0], int(np.prod(grid))))
        return cls(layer, x, context, before, 1, stored, grid)

    @property
    def is_image(self) -> bool:
        """True where the cells have rows and columns."""
        return len(self.grid) == 2

    @property
    def units(self) -> int:
        """Number of rows or steps."""
        return self.grid[0]

    @property
    def width(self) -> int:
        """Cells of a unit."""
        return self.grid[1] if self.is_image else 1

    def parallel(self) -> tf.Tensor:
        """Outputs of the parallel pass, [N, B, P], in the order of drawing."""
        if self.is_image:
            return _cells_first(call_network(self.network, self.cells, self.context))
        stored = tf.gather(self.cells, np.argsort(self.permutation, 1), axis=1, batch_dims=1)
        outputs = call_network(self.network, stored, self.context)
        return _cells_first(tf.gather(outputs, self.permutation, axis=1, batch_dims=1))

    def start(self, outputs: tf.Tensor) -> tuple[State, tf.Tensor]:
        """The state before the first unit, and zeros in the shape of the outputs [N, B, P]."""
        features = self.cells.shape[-1]
        inputs: dict[str, tuple[int, ...]] = {"step": (1, features)}
        if self.is_image:
            inputs = {"row": (1, self.width, features), "pixel": (1, 1, features)}
        state = initial_state(self.network, self.cells.shape[0], inputs, self.context)
        return state, tf.zeros_like(outputs)

    def advance(self, state: State, outputs: tf.Tensor, start: tf.Tensor, stop: tf.Tensor) -> tuple[State, tf.Tensor]:
        """Feeds units start, ..., stop - 1 one by one; outputs [N, B, P] are written where they belong."""
        body = self._row if self.is_image else self._step
        _, state, outputs = tf.while_loop(lambda t, *_: t < stop, body, (start, state, outputs), parallel_iterations=1)
        return state, outputs

    def block(self, state: State, start: int, count: int) -> tuple[State, tf.Tensor]:
        """Feeds `count` units in one call; outputs [count * width, B, P]."""
        if not self.is_image:
            with Incremental(state, at=start, length=count) as scope:
                y = call_network(self.network, take(self._above(), 1, start, count), self.context)
            return scope.state, _cells_first(y)
        above, previous = (take(rows, 1, start, count) for rows in (self._above(), self._previous()))
        with Incremental(state, at=start, length=count, phase="row") as scope:
            call_network(self.network, above, self.context)
        now = take(self.cells, 1, start, count)
        with Incremental(scope.state, at=start, length=count, phase="pixel", now=now) as scope:
            y = call_network(self.network, previous, self.context)
        return scope.state, _cells_first(y)

    def compare(
        self, outputs: tf.Tensor, expected: tf.Tensor, tolerance: float, name: str, first_step: int = 0
    ) -> float:
        """Greatest absolute error; raises AssertionError naming the worst cell where it is too great."""
        relative = _error(outputs, expected, tolerance)
        if not relative.max() <= 1:
            step, row, output = np.unravel_index(np.nanargmax(np.nan_to_num(relative, nan=np.inf)), relative.shape)
            cell = tuple(int(i) for i in np.unravel_index(self.permutation[row, step + first_step], self.grid))
            wrong = sorted({int(i) + first_step for i in np.argwhere(relative > 1)[:, 0]})
            raise AssertionError(
                f"{name}: output {output} of cell {cell} (step {step + first_step}, example {row}) is "
                f"{_float64(outputs)[step, row, output]:.8g}, the parallel pass gives "
                f"{_float64(expected)[step, row, output]:.8g}; {len(wrong)} of {len(relative)} steps differ by more "
                f"than {tolerance:g}, the first is step {wrong[0] if wrong else step + first_step}"
            )
        return float(np.abs(_float64(outputs) - _float64(expected)).max())

    def _above(self) -> tf.Tensor:
        """What the row phase (or a step) is given: the rows (elements) before, or the current ones."""
        if not self.before:
            return self.cells
        return tf.pad(self.cells[:, :-1], [[0, 0], [1, 0], *[[0, 0]] * (len(self.grid))])

    def _previous(self) -> tf.Tensor:
        """What the pixel phase is given: the pixels before, across the ends of rows, or the current ones."""
        if not self.before:
            return self.cells
        pixels = tf.reshape(self.cells, [self.cells.shape[0], -1, self.cells.shape[-1]])
        return tf.reshape(tf.pad(pixels[:, :-1], [[0, 0], [1, 0], [0, 0]]), self.cells.shape)

    def _step(self, t: tf.Tensor, state: State, outputs: tf.Tensor) -> tuple[tf.Tensor, State, tf.Tensor]:
        with Incremental(state, at=t) as scope:
            y = call_network(self.network, take(self._above(), 1, t), self.context)
        _compare_specs(state, scope.state, "a step")
        return t + 1, scope.state, tf.tensor_scatter_nd_update(outputs, [[t]], y[None, :, 0])

    def _row(self, i: tf.Tensor, state: State, outputs: tf.Tensor) -> tuple[tf.Tensor, State, tf.Tensor]:
        above, previous, current = (take(rows, 1, i) for rows in (self._above(), self._previous(), self.cells))
        with Incremental(state, at=i, phase="row") as scope:
            call_network(self.network, above, self.context)
        _compare_specs(state, scope.state, "a row")

        def pixel(j: tf.Tensor, state: State, outputs: tf.Tensor) -> tuple[tf.Tensor, State, tf.Tensor]:
            now, parts = take(current, 2, j), []
            features, params = now.shape[-1] // self.groups, outputs.shape[-1] // self.groups
            for group in range(self.groups):
                # As in sampling: only the colours before this one are known.
                known = np.arange(now.shape[-1]) < features * group
                drawn = now * tf.constant(known, now.dtype) if self.groups > 1 else now
                with Incremental(state, at=(i, j), phase="pixel", now=drawn) as scope:
                    y = call_network(self.network, take(previous, 2, j), self.context)
                parts.append(y[:, 0, 0, group * params : (group + 1) * params])
            _compare_specs(state, scope.state, "a pixel")
            y = tf.concat(parts, -1)
            return j + 1, scope.state, tf.tensor_scatter_nd_update(outputs, [[i * self.width + j]], y[None])

        _, state, outputs = tf.while_loop(
            lambda j, *_: j < self.width, pixel, (tf.constant(0), scope.state, outputs), parallel_iterations=1
        )
        return i + 1, state, outputs


def _compare_specs(before: State, after: State, name: str) -> None:
    if set(before) != set(after):
        key = sorted(set(before) ^ set(after))[0]
        raise AssertionError(f"{name} {'adds' if key in after else 'removes'} the state entry {key!r}")
    for key in sorted(before):
        old, new = before[key], after[key]
        if old.dtype != new.dtype or not old.shape.is_compatible_with(new.shape):
            raise AssertionError(
                f"{name} changes the state entry {key!r} from {old.dtype.name} {old.shape} to {new.dtype.name} "
                f"{new.shape}"
            )


def _cells_first(y: tf.Tensor) -> tf.Tensor:
    """[B, *grid, P] -> [N, B, P]."""
    return tf.transpose(tf.reshape(y, [y.shape[0], -1, y.shape[-1]]), [1, 0, 2])


def _float64(x: tf.Tensor) -> np.ndarray:
    return tf.cast(x, tf.float64).numpy()


def _error(value: tf.Tensor, expected: tf.Tensor, tolerance: float) -> np.ndarray:
    """Errors in units of what is allowed; NaN counts as infinite."""
    value, expected = _float64(value), _float64(expected)
    error = np.abs(value - expected) / (tolerance * (1 + np.abs(expected)))
    return np.where(np.isnan(error), np.inf, error)
