"""Weight normalization with data-dependent initialization.

    y = g * (x * V / ||V||) + b          ||V|| over all axes of V but the one of the outputs

Initialization on a batch of data, layer by layer: with m and v the mean and the variance over all positions and
examples of x * V / ||V||, g = s / sqrt(v + 1e-10) and b = -m g, so that y has mean 0 and standard deviation s.

Reference: Salimans, Kingma, Weight Normalization, 2016, sections 2 and 3; https://github.com/openai/pixel-cnn.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import tensorflow as tf

from tfar.core import compat
from tfar.core import scope as scopes
from tfar.core.evaluation import evaluating, evaluation
from tfar.core.invariants import invariant
from tfar.layers.block_sparse import BlockSparsity
from tfar.layers.weighted import WeightedLayer


def data_dependent_initialization() -> contextlib.AbstractContextManager[None]:
    """Lets layers with weight normalization set g and b by their input, in parallel passes inside of the block."""
    return evaluating(initializing=True)


def is_initializing() -> bool:
    """Returns whether this thread is inside of `data_dependent_initialization`."""
    return evaluation().initializing


@contextlib.contextmanager
def folded(model: keras.layers.Layer) -> Iterator[list[tf.Variable]]:
    """Lets the layers of a model use plain kernels in place of g V / ||V||; graphs traced inside hold those.

    Yields:
        The variables of the model, g and V replaced by the kernels.
    """
    built = [layer for layer in compat.all_layers(model) if isinstance(layer, KernelLayer) and layer.built]
    layers = [layer for layer in built if layer.weight_norm]
    replaced = {id(weight) for layer in layers for weight in (layer.v, layer.g)}
    variables = [weight.value for weight in model.weights if id(weight) not in replaced]
    try:
        for layer in layers:
            layer._folded = tf.Variable(layer._stored_kernel(tf.as_dtype(layer.v.dtype)), trainable=False)
        yield [*variables, *(layer._folded for layer in layers)]
    finally:
        for layer in layers:
            layer._folded = None


class KernelLayer(WeightedLayer):
    """Base of layers with one kernel and one bias, plain or with weight normalization.

    Args:
        use_bias: whether to add a bias.
        weight_norm: parametrize the kernel as g V / ||V||.
        init_scale: standard deviation of the output after data-dependent initialization.
        sparsity: a `tfar.layers.block_sparse.BlockSparsity` (or its arguments by name): only some blocks of channels
            are connected, and only they are stored and multiplied.
        **kwargs: of `WeightedLayer`.

    Raises:
        ValueError: weight normalization without a bias, which data-dependent initialization needs, or with
            a kernel_regularizer.
    """

    def __init__(
        self,
        use_bias: bool = True,
        weight_norm: bool = False,
        init_scale: float = 1.0,
        sparsity: BlockSparsity | Mapping[str, Any] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if weight_norm and not use_bias:
            raise ValueError("use_bias must be True with weight_norm, got False")
        if weight_norm and "kernel_regularizer" in self._weight_options:
            raise ValueError(
                "kernel_regularizer must be None with weight_norm: of V the direction alone counts, a penalty on it "
                f"says nothing of the kernel, got {kwargs['kernel_regularizer']!r}"
            )
        self.use_bias, self.weight_norm, self.init_scale = use_bias, weight_norm, init_scale
        self.sparsity = BlockSparsity(**sparsity) if isinstance(sparsity, Mapping) else sparsity
        self._folded: tf.Variable | None = None

    def add_kernel(self, shape: tuple[int, ...], output_axis: int = -1, bias_axis: int | None = None) -> None:
        """Creates kernel and bias, or V, g and b.

        Args:
            shape: of the kernel.
            output_axis: the axis of the output features, along which V is normalized and g scales.
            bias_axis: the axis of the output features where it is another one than that of the normalization.

        Raises:
            ValueError: the blocks of `sparsity` do not fit the shape, or the layer cannot be sparse.
        """
        self._axis = output_axis % len(shape)
        features = (shape[self._axis],)
        outputs = features if bias_axis is None else (shape[bias_axis],)
        if self.sparsity is not None:
            if self._axis != len(shape) - 1:
                raise ValueError(f"sparsity must be None for a {type(self).__name__}, got {self.sparsity}")
            self._in_channels = shape[-2]
            shape = self.sparsity.packed_shape(shape)
        self.kernel = self.bias = None
        if self.weight_norm:
            normal = keras.initializers.RandomNormal(stddev=0.05)
            self.v = self.add_weight(shape=shape, initializer=normal, name="v", autocast=False)
            # The same values on every replica: data-dependent initialization reduces over replicas by itself.
            options: dict[str, Any] = {"autocast": False, "aggregation": "mean"}
            self.g = self.add_weight(shape=features, initializer="ones", name="g", **options)
            self.b = self.add_weight(shape=outputs, initializer="zeros", name="b", **options)
            return
        self.kernel = self.add_weight(shape=shape, initializer="glorot_uniform", name="kernel")
        if self.use_bias:
            self.bias = self.add_weight(shape=outputs, initializer="zeros", name="bias")

    def used_kernel(self, dtype: tf.DType) -> tf.Tensor:
        """Returns the effective kernel, g V / ||V|| where it is normalized; of a sparse layer with its zeros."""
        if not self.weight_norm and self.sparsity is None:
            return tf.cast(self.kernel, dtype)
        scope = scopes.current()
        if scope is not None and scope.creating:  # of interest are shapes alone
            return self._expand(tf.zeros((self.v if self.weight_norm else self.kernel).shape, dtype))
        return invariant(self, ("kernel", dtype), lambda: self._expand(self._stored_kernel(dtype)))

    def _stored_kernel(self, dtype: tf.DType) -> tf.Tensor:
        """Returns the effective kernel; of a sparse layer the blocks that are kept."""
        if self._folded is not None:
            return tf.cast(self._folded, dtype)
        return tf.cast(self._direction() * self._along(self.g) if self.weight_norm else self.kernel, dtype)

    def _expand(self, kernel: tf.Tensor) -> tf.Tensor:
        return kernel if self.sparsity is None else self.sparsity.expand(kernel, self._in_channels)

    def add_bias(self, y: tf.Tensor) -> tf.Tensor:
        """`y` and the bias."""
        bias = self.b if self.weight_norm else self.bias
        return y if bias is None else y + tf.cast(bias, y.dtype)

    def transform(self, multiply: Callable[[tf.Tensor], tf.Tensor], dtype: tf.DType) -> tf.Tensor:
        """Returns `multiply(kernel)` plus the bias; a parallel pass may first initialize g and b here.

        Args:
            multiply: linear in the kernel; the last axis of its result is that of the output features.
            dtype: of the kernel.
        """
        if self.weight_norm and is_initializing():
            self._initialize(multiply(self._expand(tf.cast(self._direction(), dtype))))
        return self.add_bias(multiply(self.used_kernel(dtype)))

    def convolve(self, window: tf.Tensor, strides: int = 1) -> tf.Tensor:
        """The convolution without padding, and the bias; of a sparse layer, in parallel, at the cost of its blocks.

        In steps products are small, and a kernel with its zeros, which is made once, serves all of them.

        Args:
            window: [B, H, W, C], or [B, ..., C] where the kernel is a matrix [C, features].
            strides: of rows and columns.
        """
        dtype = window.dtype
        if self.sparsity is None or scopes.current() is not None:
            return self.transform(lambda kernel: _convolve(window, kernel, strides), dtype)
        if self.weight_norm and is_initializing():
            self._initialize(self._convolve_blocks(window, tf.cast(self._direction(), dtype), strides))
        return self.add_bias(self._convolve_blocks(window, self._stored_kernel(dtype), strides))

    def _convolve_blocks(self, window: tf.Tensor, kernel: tf.Tensor, strides: int) -> tf.Tensor:
        if len(kernel.shape) == 2:
            return self.sparsity.multiply(window, kernel)
        return self.sparsity.convolve(window, kernel, strides)

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
        if self.g.shape != self.b.shape:  # g belongs to the inputs, and cannot scale every output by itself
            variance = tf.reduce_mean(variance)
        g = self.init_scale * tf.math.rsqrt(variance + 1e-10)
        self.g.assign(tf.broadcast_to(g, self.g.shape))
        self.b.assign(-mean * g)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; those of options that are off are left out, as in older files."""
        absent = {"weight_norm", "init_scale"} if not self.weight_norm else set()
        absent |= {"sparsity"} if self.sparsity is None else set()
        return {name: value for name, value in super().get_config().items() if name not in absent}


def strided_shape(input_shape: tuple[int | None, ...], strides: int, filters: int) -> tuple[int | None, ...]:
    """[B, H, W, C] -> [B, H / strides, W / strides, filters], rounded up."""
    height, width = (None if size is None else -(-size // strides) for size in input_shape[1:3])
    return (input_shape[0], height, width, filters)


def multiply(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Multiplies [B, ..., C] by [C, filters] as one product of matrices."""
    y = tf.matmul(tf.reshape(x, [-1, x.shape[-1]]), kernel)
    lead = [-1 if size is None else size for size in x.shape[:-1]]
    if lead.count(-1) > 1:
        dynamic = tf.shape(x)
        lead = [dynamic[axis] if size is None else size for axis, size in enumerate(x.shape[:-1])]
    return tf.reshape(y, [*lead, kernel.shape[-1]])


def _convolve(window: tf.Tensor, kernel: tf.Tensor, strides: int) -> tf.Tensor:
    return multiply(window, kernel) if len(kernel.shape) == 2 else tf.nn.conv2d(window, kernel, strides, "VALID")
