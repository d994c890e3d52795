"""Cases of the registry: a tiny model, layer or head with its expected properties."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import keras

from tfar import heads
from tfar.models.autoregressive import AutoregressiveModel


@dataclasses.dataclass(frozen=True)
class ModelCase:
    """A tiny model and its expected properties.

    Attributes:
        name: identifier, "<class>_<variant>".
        build: constructs the model.
        enumerable: the space of events is small enough to sum over (at most 100,000 events).
        blind: flat positions (target, source) that the paper says are not seen although source precedes target;
            a callable of the model, or None where everything that precedes is visible.
        representative: the one case of its class whose whole samples are compared, and which is trained, in the default
            suite; the large tests do it for every case.
        runtimes: export it, and compare Python, the SavedModel, gRPC and LiteRT. At least one case of each class.
        exempt: checks that do not apply, by the name of the test, each with the reason.
        event_shape: of its events.
        head: of its events.
    """

    name: str
    build: Callable[[], AutoregressiveModel]
    enumerable: bool = False
    blind: Callable[[AutoregressiveModel], Any] | None = None
    representative: bool = False
    runtimes: bool = False
    exempt: Mapping[str, str] = dataclasses.field(default_factory=dict)
    event_shape: tuple[int, ...] = ()
    head: heads.Head | None = None


def tiny(model: type[AutoregressiveModel], **sizes: Any) -> Callable[..., ModelCase]:
    """Makes cases of one class that differ by variant and by arguments of the constructor and of `ModelCase`.

    Args:
        model: the class.
        **sizes: arguments of all of its cases, by default.

    Example:
        >>> import tfar
        >>> made = tiny(tfar.models.MADE, hidden=(4,))
        >>> case = made("binary", (3,), tfar.heads.Bernoulli(), enumerable=True)
        >>> case.name, case.enumerable, case.build().hidden
        ('MADE_binary', True, (4,))
    """
    expected = {field.name for field in dataclasses.fields(ModelCase)}
    build: Callable[..., AutoregressiveModel] = model  # subclasses begin with event_shape and head

    def case(variant: str, event_shape: tuple[int, ...], head: heads.Head, *args: Any, **kwargs: Any) -> ModelCase:
        given = {**sizes, **kwargs}
        own = {name: given.pop(name) for name in expected & set(given)}
        return ModelCase(
            f"{model.__name__}_{variant}",
            lambda: build(event_shape, head, *args, **given),
            event_shape=event_shape,
            head=head,
            **own,
        )

    return case


@dataclasses.dataclass(frozen=True)
class LayerCase:
    """A tiny layer.

    Attributes:
        name: identifier, "<class>_<variant>".
        build: constructs the layer.
        input_shape: without the batch, (T, F) or (H, W, F).
        context_shape: of the second argument without the batch; None where the layer takes one argument.
        incremental: whether the layer keeps a state of its own, which is then compared with the parallel pass.
    """

    name: str
    build: Callable[[], keras.layers.Layer]
    input_shape: tuple[int, ...]
    context_shape: tuple[int, ...] | None = None
    incremental: bool = True


@dataclasses.dataclass(frozen=True)
class HeadCase:
    """A small head.

    Attributes:
        name: identifier, "<class>_<variant>".
        build: constructs the head.
        channels: values per position where the head models whole pixels.
    """

    name: str
    build: Callable[[], heads.Head]
    channels: int = 1
