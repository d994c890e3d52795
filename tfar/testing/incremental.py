"""Asserts that incremental evaluation equals the parallel pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfar.core.carry import Carry, Site
from tfar.core.request import Request, call_network
from tfar.core.slicing import take
from tfar.core.stage import Stage
from tfar.models.autoregressive import AutoregressiveModel
from tfar.models.density import Density
from tfar.sampling.inputs import cells_first, cells_in_order
from tfar.testing.inputs import Piece, full_request, pieces, random_events
from tfar.testing.layer_stage import LayerStage

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
    original: Density | None = None,
) -> float:
    """Asserts that a network gives the same outputs position by position as in parallel over all positions.

    A known event is drawn unit by unit by the driver that samplers use (`Stage.draw`, teacher forcing), and every
    output is compared with the parallel pass, which is always the oracle. Further: a unit changes neither keys nor
    shapes nor types of the state, and a block of known units (`Stage.read`) gives the outputs and the state of n single
    ones.

    Args:
        model_or_layer: a model, of a chain every part that is drawn unit by unit; or one causal layer of sequences
            [B, T, F] or images [B, H, W, F].
        x: for a model data values [B, *event_shape], random by default; for a layer its input.
        condition: for a model the condition or a `Request`, random by default; for a layer its second argument, if it
            takes one.
        modes: any of "eager", "function" (a plain graph) and "xla".
        blocks: pairs (first unit, number of units) to be advanced as a block: steps of a sequence, rows of an image.
            By default the first and the second half; () for none.
        exclusive: for a layer: whether it is given the element before (mask A) or the current one in a step; by
            default its attribute `exclusive`, else False. Models are given the element before.
        tolerance: allowed error, absolute and relative to the output; by default 1e-4 in float32, 1e-10 in float64,
            0.25 in bfloat16.
        seed: of the random event.
        original: for a model that was loaded from a file or is a copy otherwise: the model whose parallel pass is the
            oracle, and from whose first state the copy goes on. By default the model itself.

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
    if tolerance is None:
        tolerance = TOLERANCES[model_or_layer.compute_dtype]
    if not isinstance(model_or_layer, Density):
        forced = TeacherForcing.of_layer(model_or_layer, x, condition, exclusive)
        return _assert_parity(forced, forced, modes, blocks, tolerance)
    walks = TeacherForcing.of_parts(model_or_layer, x, condition, seed)
    firsts = walks if original is None else TeacherForcing.of_parts(original, x, condition, seed)
    return max(_assert_parity(*pair, modes, blocks, tolerance) for pair in zip(walks, firsts, strict=True))


def _assert_parity(
    forced: TeacherForcing,
    first: TeacherForcing,
    modes: Sequence[str],
    blocks: Sequence[tuple[int, int]] | None,
    tolerance: float,
) -> float:
    """Greatest error of `forced`; `first` gives the oracle and the carry to begin with."""
    expected = first.parallel()
    begun, outputs = first.begin(), tf.zeros_like(expected)
    half = (forced.units + 1) // 2
    pairs = [(0, half), (half, forced.units - half)] if blocks is None else blocks
    pairs = [(begin, count) for begin, count in pairs if count > 0]
    # Where a walk stops: the carries there are what blocks begin with, and are compared with.
    stops = sorted({unit for begin, count in pairs for unit in (begin, begin + count)} - {0} | {forced.units})
    worst, reached = 0.0, {0: begun}
    for mode in modes:
        advance: Callable[..., Any] = forced.advance
        if mode != "eager":
            compiled = tf.function(forced.advance, jit_compile=True if mode == "xla" else None, autograph=False)
            advance = compiled.get_concrete_function(begun, outputs, tf.constant(forced.units))
        carry, found = begun, outputs
        for stop in stops:
            carry, found = advance(carry, found, tf.constant(stop))
            reached[stop] = carry
        _compare_specs(begun, carry, f"{mode}: all units")
        worst = max(worst, forced.compare(found, expected, tolerance, mode))
    for begin, count in pairs:
        carry, found = forced.block(reached[begin], begin, count)
        name = f"block of {count} from {begin}"
        _compare_specs(reached[begin + count], carry, name)
        span = slice(begin * forced.width, (begin + count) * forced.width)
        worst = max(worst, forced.compare(found, expected[span], tolerance, name, begin * forced.width))
        _compare_states(reached[begin + count], carry, tolerance, name, count)
    return worst


def assert_positions_per_example(model: Density, x: Any = None, condition: Any = None, seed: int = 0) -> None:
    """Asserts that examples at different positions advance together as they do alone.

    Of two examples one begins anew now and then while the other goes on; every output of both is compared with the
    parallel pass. Where resolutions change (`Stage.period`), an example begins anew where positions agree.

    Args:
        model: the model.
        x: data values [2, *event_shape], random by default.
        condition: as in `assert_incremental_matches_parallel`.
        seed: of the random event.

    Raises:
        AssertionError: naming the position.
    """
    for forced in TeacherForcing.of_parts(model, x, condition, seed):
        _assert_at_positions(forced, TOLERANCES[model.compute_dtype])


def _assert_at_positions(forced: TeacherForcing, tolerance: float) -> None:
    expected, stage = forced.parallel(), forced.stage
    outputs, step = tf.zeros_like(expected), tf.function(forced.draw_unit, autograph=False)
    carry = stage.begin(2, forced.context, per_example=True)
    restarts = range(stage.period, forced.units, max(stage.period, 2))
    for unit in range(forced.units):
        if unit in restarts:
            carry = stage.reset(carry, tf.constant([True, False]), forced.context)
        carry, outputs = step(carry, outputs)
    last = max(restarts, default=0)
    cells = (forced.units - last) * forced.width
    forced.compare(outputs[:, 1:], expected[:, 1:], tolerance, "the example that goes on")
    forced.compare(outputs[:cells, :1], expected[:cells, :1], tolerance, "the example that begins anew")


@dataclasses.dataclass(frozen=True)
class TeacherForcing:
    """Draws a known event: every drawn value is replaced by that of the event.

    Attributes:
        stage: network and encoding.
        cells: raw values in the order of drawing, [N, B, C].
        context: the network's arguments besides its input.
        permutation: the flat cell of every rank, [B, N].
    """

    stage: Stage
    cells: tf.Tensor
    context: Request
    permutation: np.ndarray

    @classmethod
    def of_model(
        cls, model: AutoregressiveModel, x: Any = None, condition: Any = None, seed: int = 0
    ) -> TeacherForcing:
        """Of a model and an event `x` [B, *event_shape], by default two random ones."""
        (forced,) = cls.of_parts(model, x, condition, seed)
        return forced

    @classmethod
    def of_parts(cls, model: Density, x: Any = None, condition: Any = None, seed: int = 0) -> list[TeacherForcing]:
        """As `of_model`, of the parts of a chain that are drawn unit by unit; those of equal ranks have no units."""
        x = random_events(model, 2, seed) if x is None else np.asarray(x)
        found = pieces(model, x, full_request(model, condition, len(x)))
        return [cls.of_piece(piece) for piece in found if not any(each.has_ties for each in piece.model.orderings)]

    @classmethod
    def of_piece(cls, piece: Piece) -> TeacherForcing:
        """Of a model of one stage, its values and their context."""
        model, x, context = piece.model, np.asarray(piece.values), piece.context
        (stage,) = model.stages
        grid = model.event.to_grid(tf.cast(x, model.head.dtype))
        permutation = cells_in_order(stage, context, len(x), int(np.prod(grid.shape[1:-1])))
        stage = dataclasses.replace(stage, event=_closed(model.event, x.shape[1:]))
        return cls(stage, cells_first(grid, permutation), context, permutation)

    @classmethod
    def of_layer(
        cls, layer: keras.layers.Layer, x: Any, context: Any = None, exclusive: bool | None = None
    ) -> TeacherForcing:
        """Of a single layer and an input `x`, [B, T, F] or [B, H, W, F]."""
        if x is None or len(np.shape(x)) not in (3, 4):
            raise ValueError(f"x must be [B, T, F] or [B, H, W, F] for a layer, got shape {np.shape(x)}")
        x, request = tf.convert_to_tensor(x), Request(context)
        delay = getattr(layer, "exclusive", False) if exclusive is None else exclusive
        outputs = int(call_network(layer, x, request).shape[-1])
        cells = int(np.prod(x.shape[1:-1]))
        permutation = np.broadcast_to(np.arange(cells), (x.shape[0], cells))
        return cls(LayerStage.of(layer, x, delay, outputs), cells_first(x), request, permutation)

    @property
    def units(self) -> int:
        """Number of rows or steps."""
        return self.cells.shape[0] // self.width

    @property
    def width(self) -> int:
        """Cells of a unit."""
        return self.stage.width

    @property
    def grid(self) -> tuple[int, ...]:
        """Shape of the cells."""
        return self.stage.event.grid

    def parallel(self) -> tf.Tensor:
        """Outputs of the parallel pass, [N, B, G * P], in the order of drawing."""
        stored = tf.gather(tf.transpose(self.cells, [1, 0, 2]), np.argsort(self.permutation, 1), axis=1, batch_dims=1)
        stored = tf.reshape(stored, [stored.shape[0], *self.grid, stored.shape[-1]])
        return cells_first(self.stage.parallel(stored, self.context), self.permutation)

    def begin(self) -> Carry:
        """Returns the carry before the first unit."""
        return self.stage.begin(self.cells.shape[1], self.context)

    def advance(self, carry: Carry, outputs: tf.Tensor, stop: tf.Tensor) -> tuple[Carry, tf.Tensor]:
        """Draws units one by one up to unit stop - 1; outputs [N, B, G * P] are written where they belong."""
        return tf.while_loop(
            lambda carry, _: carry.position < stop, self.draw_unit, (carry, outputs), parallel_iterations=1
        )

    def draw_unit(self, carry: Carry, outputs: tf.Tensor) -> tuple[Carry, tf.Tensor]:
        """Draws one unit."""
        _, after, outputs = self.stage.draw(carry, self._choose, outputs, self.context)
        _compare_specs(carry, after, f"a {self.stage.unit}")
        return after, outputs

    def block(self, carry: Carry, start: int, count: int) -> tuple[Carry, tf.Tensor]:
        """Reads `count` units at once; outputs [count * width, B, G * P]."""
        cells = take(tf.transpose(self.cells, [1, 0, 2]), 1, start * self.width, count * self.width)
        shape = [cells.shape[0], count, *self.grid[1:], cells.shape[-1]]
        outputs, carry = self.stage.read(carry, tf.reshape(cells, shape), self.context)
        return carry, cells_first(outputs)

    def _choose(self, params: tf.Tensor, site: Site, outputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        batch, groups = self.cells.shape[1], self.stage.event.groups
        cell = tf.broadcast_to(site.cell, [batch])
        value = tf.gather_nd(self.cells, tf.stack([cell, tf.range(batch)], 1))
        if groups > 1:
            value = value[:, site.group : site.group + 1]
        size = outputs.shape[-1] // groups
        index = tf.stack([cell, tf.range(batch), tf.fill([batch], site.group)], 1)
        grouped = tf.reshape(outputs, [*outputs.shape[:2], groups, size])
        grouped = tf.tensor_scatter_nd_update(grouped, index, tf.cast(params, outputs.dtype))
        return value, tf.reshape(grouped, outputs.shape)

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


def _compare_states(single: Carry, carry: Carry, tolerance: float, name: str, count: int) -> None:
    """Raises AssertionError where a block of units leaves another state than `count` single ones."""
    for key in sorted(single.state):
        error = _error(carry.state[key], single.state[key], tolerance)
        if error.max(initial=0) > 1:
            raise AssertionError(
                f"{name}: state entry {key!r} differs from that of {count} single units by "
                f"{np.abs(_float64(carry.state[key]) - _float64(single.state[key])).max():.3g}"
            )


def _compare_specs(before: Carry, after: Carry, name: str) -> None:
    old, new = before.state, after.state
    if set(old) != set(new):
        key = sorted(set(old) ^ set(new))[0]
        raise AssertionError(f"{name} {'adds' if key in new else 'removes'} the state entry {key!r}")
    for key in sorted(old):
        if old[key].dtype != new[key].dtype or not old[key].shape.is_compatible_with(new[key].shape):
            raise AssertionError(
                f"{name} changes the state entry {key!r} from {old[key].dtype.name} {old[key].shape} to "
                f"{new[key].dtype.name} {new[key].shape}"
            )


def _closed(event: Any, shape: tuple[int, ...]) -> Any:
    """Returns the event with a length in place of any."""
    return event if None not in event.event_shape else type(event)(shape, event.head, event.layout)


def _float64(x: tf.Tensor) -> np.ndarray:
    return tf.cast(x, tf.float64).numpy()


def _error(value: tf.Tensor, expected: tf.Tensor, tolerance: float) -> np.ndarray:
    """Errors in units of what is allowed; NaN counts as infinite."""
    value, expected = _float64(value), _float64(expected)
    error = np.abs(value - expected) / (tolerance * (1 + np.abs(expected)))
    return np.where(np.isnan(error), np.inf, error)
