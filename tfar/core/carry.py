"""The state of a partly drawn batch, between two units or two sites: named tuples of tensors, see `tfar.core.stage`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from tfar.core.scope import State


class Carry(NamedTuple):
    """The state of a partly drawn batch between two units.

    Attributes:
        state: of the network; empty where there is no network.
        last: raw values of the last unit, [B, C] of a cell or [B, W, C] of a row; 0 before the first.
        position: units so far, int32: a scalar, or [B] where every example stands at its own.
    """

    state: State
    last: tf.Tensor
    position: tf.Tensor


class StepCarry(NamedTuple):
    """A `Carry` of a sequence inside of a loop over steps; it holds the last cell encoded instead of its raw values.

    The step that draws a cell also encodes it, so the network's first product waits for one operation less.

    Attributes:
        state: of the network.
        position: units so far, a scalar or [B].
        before: the last cell, encoded, [B, F]; 0 before the first.
    """

    state: State
    position: tf.Tensor
    before: tf.Tensor


class RowCarry(NamedTuple):
    """The state of a partly drawn batch inside of a row of an image.

    Attributes:
        state: of the network.
        row: raw values of the row so far, [W, B, C].
        before: the pixel before, encoded, [B, 1, 1, F].
        position: the row, a scalar or [B].
        column: pixels of the row so far, a scalar.
        colours: the values [B] of the current pixel so far, where the network orders them.
    """

    state: State
    row: tf.Tensor
    before: tf.Tensor
    position: tf.Tensor
    column: tf.Tensor
    colours: tuple[tf.Tensor, ...] = ()


class Site(NamedTuple):
    """The place of a value in the order of drawing.

    Attributes:
        position: the unit, a scalar or [B].
        cell: the cell in the order of drawing, likewise.
        group: the colour that the network orders, an int; 0 where it has no order.
    """

    position: tf.Tensor
    cell: tf.Tensor
    group: int = 0


class Pending(NamedTuple):
    """A site whose parameters are known and whose value is not.

    Attributes:
        carry: before the site.
        state: of the network behind the cell.
    """

    carry: Carry | StepCarry | RowCarry
    state: State


Choose = Callable[[tf.Tensor, Site, Any], tuple[tf.Tensor, Any]]
