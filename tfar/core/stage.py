"""The driver: one network with its encoding, evaluated over an event, in parallel or unit by unit.

Outside of the core only a stage enters the incremental scope. The network advances by *units*: steps of a sequence (one
cell each), or rows of an image.

    params = stage.parallel(cells, context)                     all positions at once
    carry = stage.begin(batch, context)                         nothing drawn yet
    params, carry = stage.read(carry, cells, context)           a block of known units
    values, carry, aux = stage.draw(carry, choose, aux, context)    one unit; choose(params, site, aux) -> value, aux

`draw` is a loop over

    params, pending = stage.predict(carry, context)             one site: a cell, or a colour of it
    carry = stage.accept(pending, value)

which search and verification call themselves (of an image inside of a row: `open_row`, `close_row`). Cells are in the
order of drawing; a caller with cells in another order permutes them, see `Stage.order`. Only these methods, `take`
(selects examples of the batch) and `reset` (starts examples anew) change a carry.

A context is the `Request` of one call with features for its condition, see `tfar.core.request`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfar.core.carry import Carry, Choose, Pending, RowCarry, Site, StepCarry
from tfar.core.event import Event
from tfar.core.example_orders import inverse_order
from tfar.core.orderings import Ordering
from tfar.core.protocols import Network
from tfar.core.request import NOTHING, Request, call_network
from tfar.core.scope import Incremental, State, period
from tfar.core.sizes import batch_axis, batch_size
from tfar.core.slicing import put
from tfar.core.states import initial_state, state_spec


@dataclasses.dataclass(frozen=True)
class Stage:
    """A causal network, and how an event is fed to it.

    Attributes:
        network: layer `network(x, condition)` of encoded cells, causal in the order of drawing; run in parallel or in
            the incremental scope. Where it evaluates several orders it takes `order=` or `member=`, too.
        event: shapes and the head.
        orderings: over the cells of the grid, one for each member; empty where events have no length of their own.
        encode: data values [..., C] -> float input [..., F] of the network, cell by cell.
        guidance_scale: of classifier-free guidance: the network is asked with the condition and without,

                parameters = without + scale * (with - without)

            and both see the same values. Where parameters are logits this draws from
            p(x_i | x_<i) (p(x_i | x_<i, h) / p(x_i | x_<i))^scale, normalized; means and log-scales of a mixture are
            extrapolated likewise. 1 is the condition as it is, more exaggerates it, 0 leaves it out.

    References:
        Ho, Salimans, Classifier-Free Diffusion Guidance, 2022, equation 6 (with w = scale - 1).
    """

    network: Network
    event: Event
    orderings: tuple[Ordering, ...]
    encode: Callable[[tf.Tensor], tf.Tensor]
    guidance_scale: float = 1.0

    # Properties.

    @property
    def is_image(self) -> bool:
        """Whether units are rows of an image."""
        return len(self.event.grid) == 2

    @property
    def unit(self) -> str:
        """The unit by which the network advances: "row" or "step"."""
        return "row" if self.is_image else "step"

    @property
    def width(self) -> int:
        """Cells of a unit."""
        return self.event.image_shape[1] if self.is_image else 1

    @property
    def period(self) -> int:
        """The period of positions: examples whose positions agree modulo it advance together."""
        return period(self.network)

    @property
    def copies(self) -> int:
        """Number of examples in the network's batch for each example that is drawn: 2 under guidance, else 1."""
        return 1 if self.guidance_scale == 1.0 else 2

    @property
    def key(self) -> Any:
        """Identifies this stage among those of its model in the cache of compiled functions."""
        return self.guidance_scale

    def order(self, context: Request = NOTHING) -> tuple[Any, Any] | None:
        """Returns the order of drawing: the cell of every rank and the rank of every cell.

        Args:
            context: says which order or which member, where there are several.

        Returns:
            Two int32 [N] (or [B, N], where every example has its own order), or None where cells are drawn as stored.
        """
        if context.order is not None:
            return context.order, inverse_order(context.order)
        if not self.orderings:
            return None
        first = self.orderings[0]
        if all(ordering == first for ordering in self.orderings[1:]):
            return None if first.is_raster else (first.permutation, np.argsort(first.permutation).astype(np.int32))
        permutations = np.stack([ordering.permutation for ordering in self.orderings])
        cells, ranks = (tf.gather(table, context.member) for table in (permutations, np.argsort(permutations, 1)))
        return cells, tf.cast(ranks, tf.int32)

    def output_unit(self, context: Request = NOTHING) -> tuple[str, int]:
        """Returns the unit in which drawn values are returned, "row", "value" or "cell", and its number of cells."""
        if self.is_image:
            return "row", self.width
        if self.order(context) is not None:
            return "cell", 1
        if len(self.event.event_shape) == 3:
            return "row", self.event.num_cells // self.event.image_shape[0]
        return "value", 1

    # All positions at once.

    def run(self, x: tf.Tensor, context: Request = NOTHING, training: bool | None = None) -> tf.Tensor:
        """Outputs [B, ..., G * P] of the network for encoded cells [B, ..., F]."""
        options = {} if training is None else {"training": training}
        if self.copies == 1:
            return call_network(self.network, x, context, **options)
        both = tf.nest.map_structure(_twice, context._replace(free=None), context.without_condition())
        given, free = tf.split(call_network(self.network, self._copied(x), both, **options), 2)
        return free + self.guidance_scale * (given - free)

    def parallel(self, cells: tf.Tensor, context: Request = NOTHING, training: bool | None = None) -> tf.Tensor:
        """Outputs [B, *grid, G * P] for raw values [B, *grid, C], both as they are stored."""
        return self.run(self.encode(cells), context, training)

    # Unit by unit.

    def begin(self, batch: int | tf.Tensor, context: Request = NOTHING, *, per_example: bool = False) -> Carry:
        """Returns the carry before the first unit.

        Args:
            batch: number of examples.
            context: of the examples.
            per_example: count positions for every example, so that they may come to stand at different ones.
        """
        state = initial_state(self.network, batch * self.copies, self._inputs, context)
        position = tf.zeros([batch], tf.int32) if per_example else tf.constant(0)
        return Carry(state, tf.zeros([batch, *self._unit_shape], self.event.head.dtype), position)

    def spec(self, context: Request = NOTHING, *, per_example: bool = False) -> Carry:
        """Returns shapes and types of the result of `begin`; the axis of the batch is None, wherever it stands.

        The batch of an entry of the state is `copies` times that of the examples, one copy of all after the other.
        """
        last = tf.TensorSpec([None, *self._unit_shape], self.event.head.dtype)
        position = tf.TensorSpec([None] if per_example else [], tf.int32)
        return Carry(state_spec(self.network, self._inputs, context), last, position)

    def read(
        self,
        carry: Carry,
        cells: tf.Tensor,
        context: Request = NOTHING,
        training: bool | None = None,
        above: State | None = None,
    ) -> tuple[tf.Tensor, Carry]:
        """Advances by a block of known units in one call; the carry equals that of single units.

        Args:
            carry: of examples that all stand at one position. Where resolutions change and the graph does not know the
                position, it is taken to be a multiple of `period`, and so must be n.
            cells: raw values in the order of drawing, [B, n, C] or rows [B, n, W, C]; n is static.
            context: of the examples.
            training: whether dropout is on.
            above: result of `read_above`, where it is known already.

        Returns:
            Outputs [B, n, G * P] or [B, n, W, G * P], and the carry. The last site of the block has no part in them,
            nor in the carry's state.
        """
        x, length, at = self.encode(cells), cells.shape[1], _static(carry.position)
        before, _ = self._delayed(carry, x)
        if not self.is_image:
            with Incremental(carry.state, at=at, length=length) as scope:
                outputs = self.run(before, context, training)
        else:
            above = self.read_above(carry, cells, context, training) if above is None else above
            with Incremental(above, at=at, length=length, phase="pixel", now=self._copied(x)) as scope:
                outputs = self.run(before, context, training)
        return outputs, Carry(scope.state, cells[:, -1], carry.position + length)

    def read_above(
        self, carry: Carry, cells: tf.Tensor, context: Request = NOTHING, training: bool | None = None
    ) -> State:
        """The state after the phase of `read` that sees whole rows above; of one row it does not depend on `cells`."""
        _, above = self._delayed(carry, self.encode(cells))
        with Incremental(carry.state, at=_static(carry.position), length=cells.shape[1], phase="row") as scope:
            self.run(above, context, training)
        return scope.state

    def predict(self, carry: Carry | StepCarry | RowCarry, context: Request = NOTHING) -> tuple[tf.Tensor, Pending]:
        """Returns the head's parameters at the next site, [B, P] of `compute_dtype`; of an image inside of a row."""
        if not isinstance(carry, RowCarry):
            before = carry.before if isinstance(carry, StepCarry) else self._last_unit(carry)
            with Incremental(carry.state, at=self._place(carry)) as scope:
                params = self.run(before[:, None], context)[:, 0]
            return params, Pending(carry, scope.state)
        at, now = (self._place(carry), carry.column), self._now(carry)
        with Incremental(carry.state, at=at, phase="pixel", now=now) as scope:
            params = tf.squeeze(self.run(carry.before, context), [1, 2])
        if self.event.groups > 1:
            params = tf.reshape(params, [-1, self.event.groups, self.event.head.params_size])[:, len(carry.colours)]
        return params, Pending(carry, scope.state)

    def accept(self, pending: Pending, value: tf.Tensor) -> Any:
        """Returns the carry behind a site whose value is `value`: [B, C] of a whole cell, [B, 1] of a colour."""
        carry, state = pending
        if isinstance(carry, Carry):
            return Carry(state, value, carry.position + 1)
        if isinstance(carry, StepCarry):
            return StepCarry(state, carry.position + 1, self.encode(value))
        colours = (*carry.colours, value[:, 0])
        if len(colours) < self.event.groups:
            return carry._replace(colours=colours)
        value = value if self.event.groups == 1 else tf.stack(colours, -1)
        row, before = put(carry.row, carry.column, value), self.encode(value)[:, None, None]
        return RowCarry(state, row, before, carry.position, carry.column + 1)

    def open_steps(self, carry: Carry) -> StepCarry:
        """Returns the carry of a sequence in front of a loop over steps."""
        return StepCarry(carry.state, carry.position, self._last_unit(carry))

    def close_steps(self, carry: StepCarry, last: tf.Tensor) -> Carry:
        """Returns the carry of a sequence behind a loop over steps; `last` [B, C] are the last cell's raw values."""
        return Carry(carry.state, last, carry.position)

    def open_row(self, carry: Carry, context: Request = NOTHING) -> RowCarry:
        """Returns the carry before the first pixel of the next row: layers that see whole rows above advance here."""
        above = self._last_unit(carry)
        with Incremental(carry.state, at=self._place(carry), phase="row") as scope:
            self.run(above[:, None], context)
        row = tf.zeros([self.width, batch_size(above), self.event.channels], self.event.head.dtype)
        return RowCarry(scope.state, row, above[:, None, -1:], carry.position, tf.constant(0))

    def close_row(self, carry: RowCarry) -> Carry:
        """Returns the carry behind the last pixel of a row."""
        return Carry(carry.state, tf.transpose(carry.row, [1, 0, 2]), carry.position + 1)

    def draw(self, carry: Any, choose: Choose, aux: Any = (), context: Request = NOTHING) -> tuple[tf.Tensor, Any, Any]:
        """Draws one unit.

        Args:
            carry: before it; of a sequence also that of `open_steps`.
            choose: (params [B, P], site, aux) -> the value of the site ([B, C], or [B, 1] of a colour), and aux.
            aux: tensors that `choose` passes from site to site, in any nesting, of constant shapes.
            context: of the examples.

        Returns:
            Raw values [B, C] or [B, W, C] of the unit, the carry behind it, and aux.
        """
        if not self.is_image:
            params, pending = self.predict(carry, context)
            value, aux = choose(params, Site(carry.position, carry.position), aux)
            return value, self.accept(pending, value), aux

        def pixel(row: RowCarry, aux: Any) -> tuple[RowCarry, Any]:
            cell = row.position * self.width + row.column
            for group in range(self.event.groups):
                params, pending = self.predict(row, context)
                value, aux = choose(params, Site(row.position, cell, group), aux)
                row = self.accept(pending, value)
            return row, aux

        row, aux = tf.while_loop(
            lambda row, _: row.column < self.width, pixel, (self.open_row(carry, context), aux), parallel_iterations=1
        )
        carry = self.close_row(row)
        return carry.last, carry, aux

    # Other examples.

    def take(self, carry: Any, rows: tf.Tensor, context: Request = NOTHING) -> Any:
        """Selects examples of the batch, such as the beams that are continued; returns their carry.

        Args:
            carry: of B examples; or what `predict` left pending.
            rows: int32 [n], indices of the examples.
            context: as in `begin`, of any number of examples.
        """
        if isinstance(carry, Pending):
            return Pending(self.take(carry.carry, rows, context), self._take_state(carry.state, rows, context))
        position = carry.position if carry.position.shape.rank == 0 else tf.gather(carry.position, rows)
        return Carry(self._take_state(carry.state, rows, context), tf.gather(carry.last, rows), position)

    def _take_state(self, state: State, rows: tf.Tensor, context: Request) -> State:
        found, spec = {}, self.spec(context).state
        for key, value in state.items():
            axis = batch_axis(spec[key])
            if axis is None:
                found[key] = value
                continue
            size = tf.shape(value)[axis] // self.copies
            copied = tf.concat([rows + copy * size for copy in range(self.copies)], 0) if self.copies > 1 else rows
            found[key] = tf.gather(value, copied, axis=axis)
        return found

    def reset(self, carry: Carry, mask: tf.Tensor, context: Request = NOTHING) -> Carry:
        """Starts examples anew; returns the carry.

        Args:
            carry: of B examples.
            mask: bool, a scalar for all, or [B] where positions are counted for every example.
            context: as in `begin`, of any number of examples.
        """
        spec, mask = self.spec(context).state, tf.convert_to_tensor(mask)

        def cleared(x: tf.Tensor, axis: int | None, copies: int = 1) -> tf.Tensor:
            if mask.shape.rank == 0 or axis is None:
                return tf.where(mask, tf.zeros_like(x), x)
            flags = tf.tile(mask, [copies]) if copies > 1 else mask
            shape = [-1 if other == axis else 1 for other in range(x.shape.rank)]
            return tf.where(tf.reshape(flags, shape), tf.zeros_like(x), x)

        state = {key: cleared(x, batch_axis(spec[key]), self.copies) for key, x in carry.state.items()}
        return Carry(state, cleared(carry.last, 0), cleared(carry.position, 0 if carry.position.shape.rank else None))

    # The inputs of the network.

    @property
    def _unit_shape(self) -> list[int]:
        return [self.width, self.event.channels] if self.is_image else [self.event.channels]

    @property
    def _inputs(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the network's inputs by phase, without the batch."""
        features = self.encode(tf.zeros([1, self.event.channels], self.event.head.dtype)).shape[-1]
        if self.is_image:
            return {"row": (1, self.width, features), "pixel": (1, 1, features)}
        return {"step": (1, features)}

    def _last_unit(self, carry: Carry) -> tf.Tensor:
        """Returns the unit before, encoded: [B, F] or [B, W, F]; 0 before the first, which is not what a value 0 is."""
        x = self.encode(carry.last)
        some = tf.cast(carry.position > 0, x.dtype)
        return x * (tf.reshape(some, [-1, *[1] * (x.shape.rank - 1)]) if some.shape.rank else some)

    def _delayed(self, carry: Carry, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor | None]:
        """For a block of encoded units: the cell before every cell, and for images the row above every row."""
        above = tf.concat([self._last_unit(carry)[:, None], x[:, :-1]], 1)
        if not self.is_image:
            return above, None
        cells = tf.reshape(x, [batch_size(x), -1, x.shape[-1]])
        return tf.reshape(tf.concat([above[:, 0, -1:], cells[:, :-1]], 1), tf.shape(x)), above

    def _place(self, carry: Carry | StepCarry | RowCarry) -> tf.Tensor:
        """Returns the position; where examples have their own, one for each example of the network's batch."""
        return self._copied(carry.position) if carry.position.shape.rank else carry.position

    def _copied(self, x: tf.Tensor) -> tf.Tensor:
        """Repeats examples [B, ...] as often as the network sees them, [B * copies, ...]."""
        return x if self.copies == 1 else tf.concat([x] * self.copies, 0)

    def _now(self, carry: RowCarry) -> tf.Tensor | None:
        """Returns the current pixel, encoded, as far as its colours are drawn: the features of the others are 0.

        The pixel phase runs once for every colour on the same state; only the state of the last run is kept.
        """
        if self.event.groups == 1:
            return None
        drawn = len(carry.colours)
        missing = [tf.zeros_like(carry.row[0, :, 0])] * (self.event.channels - drawn)
        features = self.encode(tf.stack([*carry.colours, *missing], -1))
        mask = np.arange(features.shape[-1]) < drawn * (features.shape[-1] // self.event.channels)
        return self._copied((features * tf.constant(mask, features.dtype))[:, None, None])


def _twice(given: Any, free: Any) -> Any:
    """Joins both versions of a part of a request along the batch; a part shared by all examples stays as it is."""
    return given if given is None or not given.shape.rank else tf.concat([given, free], 0)


def _static(position: tf.Tensor) -> Any:
    """Returns the position as a number where the graph knows it: some layers then compute less."""
    known = tf.get_static_value(position)
    return position if known is None or np.ndim(known) else int(known)
