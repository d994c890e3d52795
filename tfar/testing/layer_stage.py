"""A single layer in place of a network."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import keras
import tensorflow as tf

from tfar.core.carry import Carry, Pending, RowCarry
from tfar.core.request import NOTHING, Request
from tfar.core.slicing import take
from tfar.core.stage import Stage


@dataclasses.dataclass(frozen=True)
class LayerStage(Stage):
    """A stage around one causal layer, whose input is known.

    Attributes:
        known: input of the layer, [B, T, F] or [B, H, W, F]; it stands for the raw values of an event.
        delay: whether a step is given the element before, as the first layer of a network is (mask A); otherwise it is
            given the current one, as the others are.
    """

    known: tf.Tensor = None
    delay: bool = True

    @classmethod
    def of(cls, layer: keras.layers.Layer, x: tf.Tensor, delay: bool, outputs: int) -> LayerStage:
        """Returns the stage of a layer with `outputs` features on the input `x`."""
        head = SimpleNamespace(dtype=x.dtype, params_size=outputs)
        grid = tuple(x.shape[1:-1])
        event: Any = SimpleNamespace(grid=grid, image_shape=grid, channels=x.shape[-1], groups=1, head=head)
        return cls(layer, event, (), lambda x: x, known=x, delay=delay)

    def open_row(self, carry: Carry, context: Request = NOTHING) -> RowCarry:
        """See `Stage.open_row`."""
        row = super().open_row(carry, context)
        return row if self.delay else row._replace(before=self._pixel(row))

    def accept(self, pending: Pending, value: tf.Tensor) -> Any:
        """See `Stage.accept`."""
        carry = super().accept(pending, value)
        return carry if self.delay or isinstance(carry, Carry) else carry._replace(before=self._pixel(carry))

    def _pixel(self, carry: RowCarry) -> tf.Tensor:
        """Returns the current pixel, [B, 1, 1, F]; behind the last one that one."""
        return take(self._unit(carry)[:, None], 2, tf.minimum(carry.column, self.width - 1))

    def _unit(self, carry: Carry | RowCarry) -> tf.Tensor:
        """Returns the current unit, [B, F] or [B, W, F]."""
        if carry.position.shape.rank:
            return tf.gather(self.known, carry.position, axis=1, batch_dims=1)
        return tf.squeeze(take(self.known, 1, carry.position), 1)

    def _last_unit(self, carry: Carry) -> tf.Tensor:
        return super()._last_unit(carry) if self.delay else self._unit(carry)

    def _delayed(self, carry: Carry, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor | None]:
        return super()._delayed(carry, x) if self.delay else (x, x)

    def _now(self, carry: RowCarry) -> tf.Tensor | None:
        return self._pixel(carry)
