"""Convolution of an image with a mask of its own at every position: any order of drawing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfar.core import scope as scopes
from tfar.core.checks import check_sizes
from tfar.core.example_orders import cells_at_ranks, gather_cells, inverse_order
from tfar.core.sizes import batch_size
from tfar.layers.weighted import WeightedLayer


@keras.saving.register_keras_serializable("tfar")
class LocallyMaskedConv2D(WeightedLayer):
    """A convolution whose kernel, at every pixel, keeps the taps on pixels that are drawn before it.

        order        patch around o (rank 6)     mask, inclusive     mask, exclusive
        0 1 2 3          1 2 3                       x x x               x x x
        7 6 5 4          6 5 4        o = 6          . o x               . . x       (7 and the rank 8 to 10 below
        8 9 ...          9 ...                       . . .               . . .        are drawn later)

    Patches [k * k * C] of all pixels are multiplied by the mask, then by the kernel as one matrix. With a raster order
    the layer is a masked convolution (mask B, or A where exclusive). In a step the layer looks up the neighbourhood of
    one pixel in a cached map, in which pixels that are not drawn yet are 0.

    Args:
        filters: number of output features.
        grid: (height, width) of the image, whose pixels come as a sequence.
        kernel_size: k, odd.
        exclusive: True for the first layer (the pixel itself is not seen).
        dilation_rate: distance between taps, in pixels.
        mask_channel: append a channel of ones to the input, which tells visible pixels from padding and from pixels
            that are not drawn yet.
        use_bias: whether to add a bias.
        bias_initializer: of the bias.

    Input shapes `[B, H * W, C]` (pixels as stored; in a step the pixel of this rank, or the one before where
    exclusive) and the order: the pixel of every rank, int `[H * W]` or `[B, H * W]`; raster without it. Output shape
    `[B, H * W, filters]`.

    Raises:
        ValueError: a size is not positive, or an exclusive kernel of one tap would see nothing.

    References:
        Jain, Abbeel, Pathak, Locally Masked Convolution for Autoregressive Models, UAI 2020, section 3.

    Example:
        >>> layer = LocallyMaskedConv2D(1, grid=(2, 3), exclusive=True)
        >>> print(layer.mask([0, 1, 2, 5, 4, 3])[4].reshape(3, 3).astype(int))
        [[1 1 1]
         [0 0 1]
         [0 0 0]]
    """

    def __init__(
        self,
        filters: int,
        grid: Sequence[int],
        kernel_size: int = 3,
        exclusive: bool = False,
        dilation_rate: int = 1,
        mask_channel: bool = False,
        use_bias: bool = True,
        bias_initializer: Any = "zeros",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_sizes(filters=filters, dilation_rate=dilation_rate)
        grid = tuple(grid)
        if len(grid) != 2 or min(grid) < 1:
            raise ValueError(f"grid must be (height, width), got {grid}")
        if kernel_size < 1 or kernel_size % 2 == 0 or (exclusive and kernel_size == 1):
            raise ValueError(f"kernel_size must be odd, and at least 3 where exclusive, got {kernel_size}")
        self.filters, self.grid, self.kernel_size, self.exclusive = filters, grid, kernel_size, exclusive
        self.dilation_rate, self.mask_channel, self.use_bias = dilation_rate, mask_channel, use_bias
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self._neighbours = _neighbours(grid, kernel_size, dilation_rate)

    @property
    def num_cells(self) -> int:
        """Pixels N."""
        return self.grid[0] * self.grid[1]

    def build(self, x_shape: tuple[int | None, ...], order_shape: Any = None) -> None:
        """Creates kernel and bias."""
        if len(x_shape) != 3:
            raise ValueError(f"x must be [B, {self.num_cells}, C], pixels of a grid {self.grid}, got {x_shape}")
        channels, taps = x_shape[-1] + int(self.mask_channel), self.kernel_size**2
        # Glorot with the fans that a mask leaves: half of the taps around the centre.
        seen = taps // 2 + int(not self.exclusive)
        limit = np.sqrt(6.0 / (seen * (channels + self.filters)))
        self.kernel = self.add_weight(
            shape=(self.kernel_size, self.kernel_size, channels, self.filters),
            initializer=keras.initializers.RandomUniform(-limit, limit),
            name="kernel",
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(shape=(self.filters,), initializer=self.bias_initializer, name="bias")

    def call(self, x: tf.Tensor, order: Any = None) -> tf.Tensor:
        """[B, N, C] -> [B, N, filters]."""
        order = tf.range(self.num_cells) if order is None else tf.convert_to_tensor(order)
        if self.mask_channel:
            x = tf.concat([x, tf.ones_like(x[..., :1])], -1)
        scope = scopes.current()
        patches = self._patches(x, order) if scope is None else self._patches_in_steps(scope, x, order)
        size = self.kernel_size**2 * x.shape[-1]
        flat = tf.reshape(patches, [batch_size(x), x.shape[1] or -1, size])
        y = tf.matmul(flat, tf.reshape(tf.cast(self.kernel, x.dtype), [size, self.filters]))
        return y if self.bias is None else y + tf.cast(self.bias, y.dtype)

    def _patches(self, x: tf.Tensor, order: tf.Tensor) -> tf.Tensor:
        """Masked patches of all pixels, [B, N, k * k, C]."""
        (height, width), rate = self.grid, self.dilation_rate
        side = self.kernel_size // 2 * rate
        image = tf.reshape(x, [-1, height, width, x.shape[-1]])
        padded = tf.pad(image, [[0, 0], [side, side], [side, side], [0, 0]])
        shifts = range(0, 2 * side + 1, rate)
        taps = tf.stack([padded[:, i : i + height, j : j + width] for i in shifts for j in shifts], 3)
        taps = tf.reshape(taps, [-1, self.num_cells, self.kernel_size**2, x.shape[-1]])
        return taps * tf.cast(self.mask(order), x.dtype)[..., None]

    def mask(self, order: Any) -> Any:
        """Returns which taps are seen, bool [N, k * k] or [B, N, k * k], in an order [N] or [B, N]."""
        static = tf.get_static_value(tf.convert_to_tensor(order))
        if static is None:
            ranks = inverse_order(order)
            outside = tf.fill(tf.concat([tf.shape(ranks)[:-1], [1]], 0), self.num_cells)
            around = tf.gather(tf.concat([ranks, outside], -1), self._neighbours, axis=-1)
        else:
            ranks = np.argsort(static, -1)
            outside = np.full([*ranks.shape[:-1], 1], self.num_cells)
            around = np.concatenate([ranks, outside], -1)[..., self._neighbours]
        return around < ranks[..., None] if self.exclusive else around <= ranks[..., None]

    def _patches_in_steps(self, scope: scopes.Incremental, x: tf.Tensor, order: tf.Tensor) -> tf.Tensor:
        """Patches [B, n, k * k, C] of the pixels of the scope's ranks; x has the pixels drawn at or before them.

        State: map [B, N + 1, C]. Entry N is what lies outside of the image, and stays 0.
        """
        if scope.phase != "step":
            raise RuntimeError(f"layer {self.name!r} works on sequences of pixels and has no {scope.phase} phase")
        state, batch, outside = scope.state_of(self), batch_size(x), self.num_cells
        first, length = scope.at, scope.length
        target = cells_at_ranks(order, first, length)
        known = target
        if self.exclusive:
            # Nothing is drawn before rank 0: the zero that is given is written where zeros are.
            before = tf.concat([tf.fill([*tf.unstack(tf.shape(order))[:-1], 1], outside), order], -1)
            known = cells_at_ranks(before, first, length)
            x *= tf.cast(known < outside, x.dtype)[..., None]
        features = state.read("map", [batch, outside + 1, x.shape[-1]], x.dtype)
        examples = tf.broadcast_to(tf.range(batch)[:, None], [batch, length])
        index = tf.stack([examples, tf.broadcast_to(known, [batch, length])], -1)
        features = tf.tensor_scatter_nd_update(features, index, x)
        state.write("map", features)
        around = tf.gather(self._neighbours, target)  # [n, k * k] or [B, n, k * k]
        patches = _look_up(features, around)
        if length > 1:
            # The map knows what is drawn later in the block, too.
            mask = tf.cast(self.mask(order), x.dtype)
            seen = tf.gather(mask, target) if len(mask.shape) == 2 else gather_cells(mask, target)
            patches *= seen[..., None]
        return patches

    def compute_output_shape(self, x_shape: tuple[int | None, ...], order_shape: Any = None) -> tuple[Any, ...]:
        """[B, N, filters]."""
        return (*x_shape[:-1], self.filters)


def _neighbours(grid: tuple[int, ...], kernel_size: int, rate: int) -> np.ndarray:
    """Returns the pixels [N, k * k] below the taps of a kernel at every pixel; N stands for the outside."""
    height, width = grid
    i, j = (axis.reshape(-1, 1) for axis in np.indices(grid))
    offsets = np.arange(-(kernel_size // 2), kernel_size // 2 + 1) * rate
    down, right = (axis.reshape(1, -1) for axis in np.meshgrid(offsets, offsets, indexing="ij"))
    rows, columns = i + down, j + right
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    return np.where(inside, rows * width + columns, height * width).astype(np.int32)


def _look_up(features: tf.Tensor, around: tf.Tensor) -> tf.Tensor:
    """Entries [n, k] or [B, n, k] of features [B, N + 1, C]: [B, n, k, C]."""
    return tf.gather(features, around, axis=1, batch_dims=around.shape.rank - 2)
