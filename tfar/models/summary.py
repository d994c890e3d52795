"""Prints the layers of a model as a table, nested, with output shapes and parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from tfar.core import compat
from tfar.core.paths import layers_by_path

_DEPTH = 2  # levels that are shown by default: the network, and its parts


def print_summary(
    model: Any,
    line_length: int | None = None,
    positions: Any = None,
    print_fn: Callable[[str], Any] | None = None,
    expand_nested: bool = False,
    show_trainable: bool = False,
    layer_range: Any = None,
) -> None:
    """Prints a model's layers; the model is called once on an example, which tells the shapes.

        Layer (type)                        Output shape       Params
        network (CausalConvNetwork)         (1, 6, 4)             124
          blocks.0 (CausalConvBlock)        (1, 6, 4)              36

    Args:
        model: a `Density`.
        line_length: characters of a line; as many as are needed by default.
        positions: not read, as tables of Keras's models have it.
        print_fn: called with every line; `print` by default.
        expand_nested: show the layers inside of the blocks, too.
        show_trainable: say whether the weights are trained.
        layer_range: not read.
    """
    del positions, layer_range
    write = print if print_fn is None else print_fn
    with _recorded_shapes(model) as shapes:
        model.complete_construction()
    rows = [("Layer (type)", "Output shape", "Params", "Trained" if show_trainable else "")]
    for path, depth, layer in _layers(model):
        if depth < _DEPTH or expand_nested:
            trained = ("yes" if layer.trainable and layer.trainable_weights else "no") if show_trainable else ""
            name = f"{'  ' * depth}{path} ({type(layer).__name__})"
            rows.append((name, shapes.get(id(layer), "-"), f"{layer.count_params() if layer.built else 0:,}", trained))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    widths[0] = max(widths[0], (line_length or 0) - sum(widths[1:]) - 6)
    write(f"{type(model).__name__} {model.name!r}: {model.event_shape}, {model.head!r}, condition={model.condition!r}")
    for row in rows:
        line = f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]}"
        write(line.rstrip())
    trainable = sum(weight.value.shape.num_elements() for weight in model.trainable_weights)
    total = model.count_params()
    write(f"{total:,} parameters, {trainable:,} of them trained, {total - trainable:,} not")


def _layers(model: keras.layers.Layer) -> Iterator[tuple[str, int, keras.layers.Layer]]:
    """Lists every layer inside of a model: its name in the layer around it, depth, layer."""
    parents: list[str] = []
    for path, layer in layers_by_path(model).items():
        if layer is model:
            continue
        while parents and not path.startswith(f"{parents[-1]}."):
            parents.pop()
        yield path.removeprefix(f"{parents[-1]}." if parents else ""), len(parents), layer
        parents.append(path)


@contextmanager
def _recorded_shapes(model: Any) -> Iterator[dict[int, str]]:
    """Records the output shapes of the model's layers called in the block, by the identity of the layer."""
    shapes: dict[int, str] = {}
    layers = [layer for layer in compat.all_layers(model) if layer is not model]

    def recorder(layer: keras.layers.Layer) -> Callable[..., Any]:
        call = layer.call

        def recorded(*args: Any, **kwargs: Any) -> Any:
            outputs = call(*args, **kwargs)
            found = [str(tuple(part.shape)) for part in tf.nest.flatten(outputs) if tf.is_tensor(part)]
            shapes[id(layer)] = ", ".join(found) or "-"
            return outputs

        return recorded

    for layer in layers:
        vars(layer)["call"] = recorder(layer)
    try:
        yield shapes
    finally:
        for layer in layers:
            del vars(layer)["call"]
