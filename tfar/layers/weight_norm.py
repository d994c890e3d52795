"""Weight normalization with data-dependent initialization.

    y = g * (x * V / ||V||) + b          ||V|| over all axes of V but the one of the outputs

Initialization on a batch of data, layer by layer: with m and v the mean and the variance over all positions and
examples of x * V / ||V||, g = s / sqrt(v + 1e-10) and b = -m g, so that y has mean 0 and standard deviation s.

Reference: Salimans, Kingma, Weight Normalization, 2016, sections 2 and 3; https://github.com/openai/pixel-cnn.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from tfar.core.invariants import invariant

_thread = threading.local()


@contextlib.contextmanager
def data_dependent_initialization() -> Iterator[None]:
    """Layers with weight normalization that are called in here, in parallel, first set g and b by their input."""
    _thread.initializing = True
    try:
        yield
    finally:
        _thread.initializing = False


def is_initializing() -> bool:
    """Whether this thread is inside of `data_dependent_initialization`."""
    return getattr(_thread, "initializing", False)


class KernelLayer(keras.layers.Layer):
    """Base of layers with one kernel and one bias, plain or with weight normalization.

    Args:
        use_bias: whether to add a bias.
        weight_norm: parametrize the kernel as g V / ||V||.
        init_scale: standard deviation of the output after data-dependent initialization.
        **kwargs: of `keras.layers.Layer`.

    Raises:
        ValueError: weight normalization without a bias, which data-dependent initialization needs.
    """

    def __init__(self, use_bias: bool = True, weight_norm: bool = False, init_scale: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        if weight_norm and not use_bias:
            raise ValueError("use_bias must be True with weight_norm, got False")
        self.use_bias, self.weight_norm, self.init_scale = use_bias, weight_norm, init_scale

    def add_kernel(self, shape: tuple[int, ...], output_axis: int = -1) -> None:
        """Creates kernel and bias, or V, g and b.

        Args:
            shape: of the kernel.
            output_axis: the axis of the output features.
        """
        self._axis = output_axis % len(shape)
        features = (shape[self._axis],)
        self.kernel = self.bias = None
        if self.weight_norm:
            normal = keras.initializers.RandomNormal(stddev=0.05)
            self.v = self.add_weight(shape=shape, initializer=normal, name="v", autocast=False)
            # The same values on every replica: data-dependent initialization reduces over replicas by itself.
            options = {"autocast": False, "aggregation": "mean"}
            self.g = self.add_weight(shape=features, initializer="ones", name="g", **options)
            self.b = self.add_weight(shape=features, initializer="zeros", name="b", **options)
            return
        self.kernel = self.add_weight(shape=shape, initializer="glorot_uniform", name="kernel")
        if self.use_bias:
            self.bias = self.add_weight(shape=features, initializer="zeros", name="bias")

    def used_kernel(self, dtype: tf.DType) -> tf.Tensor:
        """The kernel as it is multiplied by, g V / ||V|| where it is normalized."""
        if not self.weight_norm:
            return tf.cast(self.kernel, dtype)
        return invariant(self, ("kernel", dtype), lambda: tf.cast(self._direction() * self._along(self.g), dtype))

    def add_bias(self, y: tf.Tensor) -> tf.Tensor:
        """`y` and the bias."""
        bias = self.b if self.weight_norm else self.bias
        return y if bias is None else y + tf.cast(bias, y.dtype)

    def transform(self, multiply: Callable[[tf.Tensor], tf.Tensor], dtype: tf.DType) -> tf.Tensor:
        """`multiply(kernel)` and the bias; the parallel pass goes through here, where it initializes g and b.

        Args:
            multiply: linear in the kernel; the last axis of its result is that of the output features.
            dtype: of the kernel.
        """
        if self.weight_norm and is_initializing():
            self._initialize(multiply(tf.cast(self._direction(), dtype)))
        return self.add_bias(multiply(self.used_kernel(dtype)))

    def _along(self, x: tf.Tensor) -> tf.Tensor:
        """[features] in the shape of the kernel, for products."""
        shape = [1] * len(self.v.shape)
        shape[self._axis] = -1
        return tf.reshape(tf.convert_to_tensor(x), shape)

    def _direction(self) -> tf.Tensor:
        v = tf.convert_to_tensor(self.v)
        axes = [axis for axis in range(len(v.shape)) if axis != self._axis]
        return tf.nn.l2_normalize(v, axes)

    def _initialize(self, y: tf.Tensor) -> None:
        """Sets g and b by `y`, the output with g = 1 and b = 0."""
        y = tf.cast(y, self.g.dtype)
        axes = list(range(y.shape.rank - 1))
        mean, square = tf.reduce_mean(y, axes), tf.reduce_mean(tf.square(y), axes)
        replicas = tf.distribute.get_replica_context()
        if replicas is not None and replicas.num_replicas_in_sync > 1:
            mean, square = replicas.all_reduce(tf.distribute.ReduceOp.MEAN, [mean, square])
            variance = square - tf.square(mean)
        else:
            variance = tf.math.reduce_variance(y, axes)
        g = self.init_scale * tf.math.rsqrt(variance + 1e-10)
        self.g.assign(g)
        self.b.assign(-mean * g)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        config = {"weight_norm": self.weight_norm, "init_scale": self.init_scale} if self.weight_norm else {}
        return {**super().get_config(), "use_bias": self.use_bias, **config}
