"""The gated residual block of PixelCNN++ and PixelSNAIL, and its shortcut connection."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfar.core import scope as scopes
from tfar.core.configured import Configured
from tfar.core.evaluation import evaluating, evaluation
from tfar.core.invariants import invariant
from tfar.layers.block_sparse import BlockSparsity
from tfar.layers.causal_conv2d import CausalConv2D
from tfar.layers.composite import Composite
from tfar.layers.conditional_bias import ConditionalBias
from tfar.layers.pointwise import Pointwise
from tfar.layers.previous import Previous
from tfar.layers.stacks import VerticalConv2D
from tfar.layers.unmasked_conv import UnmaskedConv2D
from tfar.layers.weight_norm import KernelLayer, multiply


def concat_elu(x: tf.Tensor) -> tf.Tensor:
    """elu([x, -x]): twice the channels.

    Reference: Shang et al., Understanding and Improving Convolutional Neural Networks via CReLU, 2016.
    """
    return tf.nn.elu(tf.concat([x, -x], -1))


NONLINEARITIES: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "concat_elu": concat_elu,
    "elu": tf.nn.elu,
    "relu": tf.nn.relu,
}


def get_nonlinearity(name: str) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the non-linearity of this name.

    Raises:
        ValueError: there is none.
    """
    if name not in NONLINEARITIES:
        raise ValueError(f"nonlinearity must be one of {sorted(NONLINEARITIES)}, got {name!r}")
    return NONLINEARITIES[name]


def shared_activations() -> contextlib.AbstractContextManager[None]:
    """Lets blocks and shortcuts share the non-linearity of one tensor, in parallel passes inside of the block.

    In PixelCNN++ a block, its mirror image and the other stack read f of the same features: a training step of one
    resolution took 6 to 9% less processor time. Eager calls compute it each time, because the store would keep all
    activations until the end.
    """
    return evaluating(activations={} if tf.inside_function() and scopes.current() is None else None)


def _activate(function: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor) -> tf.Tensor:
    """Returns `function(x)`, or its earlier result inside of the same `shared_activations`."""
    store = evaluation().activations
    if store is None:
        return function(x)
    key = (id(x), function)
    if key not in store:
        store[key] = (x, function(x))  # with x itself, whose id would else be given to another tensor
    return store[key][1]


@keras.saving.register_keras_serializable("tfar")
class Shortcut(KernelLayer):
    """nin(f([vertical, horizontal])): features of other layers, joined, on their way into a residual block.

    Sampling computes the part of the vertical stack once a row.

    Args:
        filters: number of output features.
        nonlinearity: f, a name of `NONLINEARITIES`.
        weight_norm: parametrize the kernel as g V / ||V||, see `KernelLayer`.
        vertical: True where the first input belongs to the vertical stack; False where there is no such input.
        hand_out: whether the pixel phase returns it column by column, see `VerticalConv2D`.

    Input shape `[B, H, W, C]`, and as a second input `[B, H, W, D]` of the horizontal stack where the first is of the
    vertical one; output shape `[B, H, W, filters]`.
    """

    def __init__(
        self,
        filters: int,
        nonlinearity: str = "concat_elu",
        weight_norm: bool = False,
        vertical: bool = False,
        hand_out: bool = True,
        **kwargs: Any,
    ):
        super().__init__(True, weight_norm, **kwargs)
        self.filters, self.nonlinearity, self.vertical, self.hand_out = filters, nonlinearity, vertical, hand_out
        self._function = get_nonlinearity(nonlinearity)

    def build(self, first_shape: tuple[int | None, ...], second_shape: tuple[int | None, ...] | None = None) -> None:
        """Creates the kernel [f(C + D), filters] and the bias."""
        sizes = [shape[-1] for shape in (first_shape, second_shape) if shape is not None]
        # The rows of the kernel that belong to each input: f may give several parts, each of the joined channels.
        total = sum(sizes)
        parts = self._function(tf.zeros([1, total])).shape[-1] // total
        self._sizes, self._parts = sizes, parts
        self.add_kernel((parts * total, self.filters))

    def call(self, first: tf.Tensor, second: tf.Tensor | None = None) -> tf.Tensor:
        """[B, H, W, C] and [B, H, W, D] or None -> [B, H, W, filters]."""
        scope = scopes.current()
        if scope is None or not self.vertical:
            # Each by itself: what is joined here has been activated for other layers, too.
            inputs = [_activate(self._function, x) for x in (first, second) if x is not None]

            def product(kernel: tf.Tensor) -> tf.Tensor:
                return tf.add_n([multiply(x, self._rows(kernel, index)) for index, x in enumerate(inputs)])

            return self.transform(product, first.dtype)
        from_vertical = lambda: self.add_bias(self._multiply(first, 0))  # noqa: E731
        if not self.hand_out:
            return scope.only_rows(first, self.filters, from_vertical)
        y = scope.per_row(scope.state_of(self), "vertical", from_vertical)
        return y if second is None or scope.phase == "row" else y + self._multiply(second, 1)

    def _multiply(self, x: tf.Tensor, index: int) -> tf.Tensor:
        """Returns the part of the product that belongs to one input."""
        rows = invariant(self, (index, x.dtype), lambda: self._rows(self.used_kernel(x.dtype), index))
        return multiply(self._function(x), rows)

    def _rows(self, kernel: tf.Tensor, index: int) -> tf.Tensor:
        """Returns the rows of the kernel that belong to one input."""
        parts = tf.split(kernel, self._sizes * self._parts)
        return tf.concat(parts[index :: len(self._sizes)], 0)

    def compute_output_shape(self, first_shape: tuple[int | None, ...], *_: Any) -> tuple[int | None, ...]:
        """[B, H, W, filters]."""
        return (*first_shape[:-1], self.filters)


KINDS = ("vertical", "causal", "pointwise", "unmasked")
_KERNEL_SIZES = {"vertical": (2, 3), "causal": (2, 2), "pointwise": (1, 1), "unmasked": (3, 3)}


@keras.saving.register_keras_serializable("tfar")
class GatedResnet(Configured, Composite):
    r"""x + a * sigmoid(b), where [a, b] = conv(dropout(f(conv(f(x)) + nin(f(shortcut))))) + V h.

    Args:
        filters: feature maps p.
        kind: of both convolutions: "vertical" (`VerticalConv2D`, 2 x 3), "causal" (`CausalConv2D`, 2 x 2), "pointwise"
            (1 x 1), or "unmasked" (`UnmaskedConv2D`, 3 x 3), for networks of what is known before.
        nonlinearity: f, a name of `NONLINEARITIES`.
        dropout: rate.
        weight_norm: for all kernels but V.
        vertical_shortcut: True where the first shortcut belongs to the vertical stack.
        delayed: True where in a step the input is that of the pixel before (it went through `Previous`); features of a
            map as condition are then delayed as well.
        sparsity: which blocks of channels both convolutions connect, see `tfar.layers.block_sparse`; None for all.
            Their layouts differ.
        kernel_size: (rows, columns) of both convolutions where they are vertical or causal; by default as above.

    Input shape `[B, H, W, p]`; shortcuts `[B, H, W, C]`; a condition [B, d] or [B, H, W, d]. Output shape as the input.

    References:
        Salimans et al., PixelCNN++, 2017, sections 2.3 to 2.5. There is no tanh on a, unlike in Gated PixelCNN.
    """

    def __init__(
        self,
        filters: int,
        kind: str = "causal",
        nonlinearity: str = "concat_elu",
        dropout: float = 0.0,
        weight_norm: bool = True,
        vertical_shortcut: bool = False,
        delayed: bool = False,
        sparsity: BlockSparsity | Mapping[str, Any] | None = None,
        kernel_size: Sequence[int] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {KINDS}, got {kind!r}")
        if kernel_size is not None and kind not in ("vertical", "causal"):
            raise ValueError(f"kernel_size must be None for kind {kind!r}, got {tuple(kernel_size)}")
        self.kernel_size = None if kernel_size is None else tuple(kernel_size)
        self.filters, self.kind, self.nonlinearity = filters, kind, nonlinearity
        self._dropout, self.weight_norm, self.vertical_shortcut = dropout, weight_norm, vertical_shortcut
        self.delayed, self.previous = delayed, Previous() if delayed else None
        self.sparsity = BlockSparsity(**sparsity) if isinstance(sparsity, Mapping) else sparsity
        self._function = get_nonlinearity(nonlinearity)
        self.first = self._convolution(filters, 1.0, 0)
        hand_out = kind != "vertical"
        self.shortcut = Shortcut(filters, nonlinearity, weight_norm, vertical_shortcut, hand_out)
        self.dropout = keras.layers.Dropout(dropout)
        self.second = self._convolution(2 * filters, 0.1, 1)
        self.bias = ConditionalBias(keras.initializers.RandomNormal(stddev=0.05), hand_out)

    def _convolution(self, filters: int, init_scale: float, index: int) -> KernelLayer:
        options: dict[str, Any] = {"weight_norm": self.weight_norm, "init_scale": init_scale}
        if self.sparsity is not None:
            options["sparsity"] = dataclasses.replace(self.sparsity, seed=2 * self.sparsity.seed + index)
        size = self.kernel_size or _KERNEL_SIZES[self.kind]
        if self.kind == "vertical":
            return VerticalConv2D(filters, size, hand_out=False, **options)
        if self.kind == "causal":
            return CausalConv2D(filters, size, **options)
        return Pointwise(filters, **options) if self.kind == "pointwise" else UnmaskedConv2D(filters, **options)

    def call(
        self,
        x: tf.Tensor,
        shortcut: tf.Tensor | None = None,
        horizontal_shortcut: tf.Tensor | None = None,
        condition: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """[B, H, W, p] -> [B, H, W, p]."""
        f, scope = self._function, scopes.current()
        if scope is not None and self.kind == "vertical" and scope.phase == "pixel":
            scope.state_of(self).keep_unchanged()
            return scope.only_rows(x, self.filters, lambda: x)
        y = self.first(_activate(f, x))
        if shortcut is not None:
            y += self.shortcut(shortcut, horizontal_shortcut)
        y = self.second(self.dropout(f(y)))
        if self.previous is not None and condition is not None and condition.shape.rank == 4:
            y += self.previous(self.bias(tf.zeros_like(y), condition))
        else:
            y = self.bias(y, condition)
        a, b = tf.split(y, 2, -1)
        return x + a * tf.sigmoid(b)

    def compute_output_shape(self, x_shape: tuple[int | None, ...], *_: Any) -> tuple[int | None, ...]:
        """[B, H, W, p]."""
        return tuple(x_shape)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; those of options that are off are left out, as in older files."""
        config = super().get_config()
        return {key: value for key, value in config.items() if key not in ("sparsity", "kernel_size") or value}
