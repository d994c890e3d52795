"""The base class of layers with weights, with the arguments of Keras's own layers for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfar.core.configured import Configured, serialized
from tfar.core.policies import Typed

_GETTERS: dict[str, Callable[[Any], Any]] = {
    "kernel_initializer": keras.initializers.get,
    "bias_initializer": keras.initializers.get,
    "kernel_regularizer": keras.regularizers.get,
    "bias_regularizer": keras.regularizers.get,
    "bias_constraint": keras.constraints.get,
}


class WeightedLayer(Configured, keras.layers.Layer, metaclass=Typed):
    """A layer whose kernels and biases can be initialized and regularized as those of `keras.layers.Dense`.

    Kernels are the weights that are called so (kernel, condition_kernel, ...; with weight normalization V), but for
    recurrent ones. Of a masked kernel the entries that the mask leaves are regularized, the others are never used.

    Args:
        **kwargs: kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer, bias_constraint, by
            default None: what the layer says itself; and those of `keras.layers.Layer`, `activity_regularizer` and
            `dtype` among them.

    Raises:
        ValueError: a kernel_constraint.

    Example:
        >>> from tfar.layers import CausalConv1D
        >>> layer = CausalConv1D(2, 3, kernel_regularizer=keras.regularizers.L2(0.1), kernel_initializer="ones")
        >>> _ = layer(tf.zeros([1, 4, 5]))
        >>> round(float(layer.losses[0]), 3)                # 0.1 for each of 3 x 5 x 2 ones
        3.0
    """

    def __init__(self, **kwargs: Any):
        given = {name: kwargs.pop(name, None) for name in (*_GETTERS, "kernel_constraint")}
        constraint = given.pop("kernel_constraint")
        if constraint is not None:
            raise ValueError(
                "kernel_constraint must be None: Keras projects what is stored, entries that the mask leaves out and "
                "factors of weight normalization included, and averaged weights do not keep it; use "
                f"kernel_regularizer, got {constraint!r}"
            )
        super().__init__(**kwargs)
        options = {name: _GETTERS[name](value) for name, value in given.items() if value is not None}
        self._weight_options = options

    def add_weight(self, *args: Any, name: str = "weight", used: np.ndarray | None = None, **options: Any) -> Any:
        """As `keras.layers.Layer.add_weight`, with the arguments of the constructor for kernels and biases.

        Args:
            *args: of Keras.
            name: tells kernels and biases.
            used: bool or 0 and 1, the entries that a mask leaves; None for all.
            **options: of Keras.
        """
        role = "bias" if "bias" in name or name == "b" else "kernel" if "kernel" in name or name == "v" else None
        if role is not None and not (role == "kernel" and name.startswith("recurrent")):
            for part in ("initializer", "regularizer", "constraint"):
                value = self._weight_options.get(f"{role}_{part}")
                if value is not None:
                    options[part] = value.clone() if isinstance(value, keras.initializers.Initializer) else value
            if used is not None and role == "kernel" and options.get("regularizer") is not None:
                options["regularizer"] = _OfUsed(options["regularizer"], used)
        initializer = options.get("initializer")
        if self.variable_dtype == "bfloat16" and isinstance(initializer, str | keras.initializers.Orthogonal):
            # TensorFlow has no QR decomposition of bfloat16, which orthogonal kernels take.
            options["initializer"] = _made_in_float32(keras.initializers.get(initializer))
        return super().add_weight(*args, name=name, **options)

    def get_config(self) -> dict[str, Any]:
        """Arguments that make an equal layer; those of weights where they are given."""
        return {**super().get_config(), **{name: serialized(value) for name, value in self._weight_options.items()}}


def _made_in_float32(initializer: Callable[..., Any]) -> Callable[..., Any]:
    return lambda shape, dtype=None: keras.ops.cast(initializer(shape, "float32"), dtype)


class _OfUsed(keras.regularizers.Regularizer):
    """A regularizer of the entries of a kernel that are used."""

    def __init__(self, regularizer: Callable[[Any], Any], used: np.ndarray):
        self._regularizer, self._used = regularizer, used

    def __call__(self, x: Any) -> Any:
        x = tf.convert_to_tensor(x)
        return self._regularizer(x * tf.constant(self._used, x.dtype))
