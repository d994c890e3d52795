"""The arguments of one call besides the event: a condition, and a factorization where a model has several."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import tensorflow as tf


class Request(NamedTuple):
    """The arguments of one call besides the event.

    `model.request(...)` makes it of checked values, `model.context(request)` replaces the condition by the features
    that the network takes. Features are computed once for a whole event, never once per position.

    Attributes:
        condition: values of the condition, [B, ...] in the nesting of the condition's kind; features in a context.
        order: int32 [B, N], the cell of every rank, where a network evaluates any order.
        member: int32 scalar or [B], the member of an ensemble.
        code: float [B, m], the code of an auto-encoder, instead of the image that it is computed from.
        auxiliary: values of the auxiliary parts of a chain, where they are known, one tensor for each.
        free: in a context, what takes the place of the features for guidance without the condition; None for zeros.
    """

    condition: Any = None
    order: Any = None
    member: Any = None
    code: Any = None
    auxiliary: Any = None
    free: Any = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is given."""
        return all(part is None for part in self)

    @property
    def choice(self) -> dict[str, Any]:
        """The arguments `order=` and `member=` that select a factorization, those that are not None."""
        return {name: value for name in ("order", "member") if (value := getattr(self, name)) is not None}

    def map(self, function: Callable[[Any], Any]) -> Request:
        """Returns the request with every tensor replaced."""
        return tf.nest.map_structure(lambda x: x if x is None else function(x), self)

    @property
    def tensors(self) -> list[Any]:
        """The tensors that are given, in a fixed order."""
        return [part for part in tf.nest.flatten(self) if part is not None]

    def with_tensors(self, tensors: Iterable[Any]) -> Request:
        """Returns the request with others in place of `tensors`."""
        others = iter(tensors)
        return self.map(lambda _: next(others))

    def without_condition(self) -> Request:
        """Returns the request with `free` or zeros in place of the condition's features, as in condition dropout."""
        if self.free is not None:
            return self._replace(condition=self.free, free=None)
        return self._replace(
            condition=tf.nest.map_structure(lambda x: x if x is None else tf.zeros_like(x), self.condition)
        )


NOTHING = Request()


def call_network(network: Callable[..., tf.Tensor], x: tf.Tensor, context: Any = None, **options: Any) -> tf.Tensor:
    """Calls `network(x, condition, order=, member=)` with the arguments that the context has.

    Args:
        network: the network.
        x: its input.
        context: a `Request` with features for its condition; anything else stands for such features alone.
        **options: further arguments, `training`.
    """
    if not isinstance(context, Request):
        context = Request(context)
    if context.condition is None and not context.choice:
        return network(x, **options)
    return network(x, context.condition, **context.choice, **options)
