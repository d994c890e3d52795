"""Block-sparse mixing of channels: most blocks of the matrix from input to output channels are zero and not stored.

    output blocks
    o  . # # . . #        every row keeps n of the I input blocks, every column m of the O output blocks;
       # . . # # .        n / I = m / O = density
       # . # . # .
       . # . # . #        input blocks i

Taps of a convolution share the layout: the mixing is sparse, the window is dense. Parameters and products are those of
the dense layer times the density, so that a network can be wider at equal cost. Reference: Gray, Radford, Kingma, GPU
Kernels for Block-Sparse Weights, 2017 (random layouts, blocks of 8, 16 and 32).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class BlockSparsity:
    """Chooses which blocks of a kernel are kept, as a function of the numbers of channels.

    Args:
        block_size: channels of a block; divides the channels of input and output.
        density: part of the blocks that is kept, in (0, 1]; density times the number of blocks is a whole number, of
            the input and of the output.
        seed: of the layout.

    Raises:
        ValueError: block_size is not positive, or density is not in (0, 1].

    Example:
        >>> sparsity = BlockSparsity(block_size=8, density=0.5)
        >>> sparsity.layout(32, 16).shape
        (2, 2)
        >>> sparsity.mask(32, 16).mean()
        np.float64(0.5)
    """

    block_size: int
    density: float
    seed: int = 0

    def __post_init__(self) -> None:
        if self.block_size < 1:
            raise ValueError(f"block_size must be at least 1, got {self.block_size}")
        if not 0 < self.density <= 1:
            raise ValueError(f"density must be in (0, 1], got {self.density}")

    def layout(self, in_channels: int, out_channels: int) -> np.ndarray:
        """Returns the input blocks of every output block, ascending: int [O, n].

        A random regular layout: every input block is used equally often. A function of the arguments and the seed
        alone, in every version of the library, since stored kernels rest on it.

        Raises:
            ValueError: block_size does not divide the channels, or density gives no whole number of blocks.
        """
        for name, channels in (("input", in_channels), ("output", out_channels)):
            if channels % self.block_size:
                raise ValueError(
                    f"block_size must divide the number of {name} channels, {channels}, got {self.block_size}"
                )
            blocks = channels // self.block_size
            kept = round(self.density * blocks)
            if kept < 1 or abs(kept - self.density * blocks) > 1e-6:
                raise ValueError(
                    f"density must keep a whole number of the {blocks} blocks of {name} channels, k / {blocks} for "
                    f"k = 1, ..., {blocks}, got {self.density}"
                )
        in_blocks, out_blocks = in_channels // self.block_size, out_channels // self.block_size
        return _regular_layout(in_blocks, out_blocks, round(self.density * in_blocks), self.seed)

    def mask(self, in_channels: int, out_channels: int) -> np.ndarray:
        """True where the dense matrix [in_channels, out_channels] has an entry that is kept."""
        layout = self.layout(in_channels, out_channels)
        blocks = np.zeros((in_channels // self.block_size, len(layout)), bool)
        blocks[layout, np.arange(len(layout))[:, None]] = True
        return blocks.repeat(self.block_size, 0).repeat(self.block_size, 1)

    def packed_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the kept entries of a kernel of `shape` [..., C, F]: [..., n * block_size, F].

        Entry n' * block_size + c of output channel f in block o is the weight from channel c of block layout[o, n'].
        """
        return (*shape[:-2], self.layout(*shape[-2:]).shape[1] * self.block_size, shape[-1])

    def expand(self, packed: tf.Tensor, in_channels: int) -> tf.Tensor:
        """Unpacks a kernel, [..., n * block_size, F] -> [..., in_channels, F]."""
        size, features = self.block_size, packed.shape[-1]
        layout = self.layout(in_channels, features)
        outputs, kept = layout.shape
        # Where the block of (input, output) is among the kept ones; the last is zero.
        place = np.full((in_channels // size, outputs), layout.size)
        place[layout, np.arange(outputs)[:, None]] = np.arange(layout.size).reshape(layout.shape)
        taps = packed.shape[:-2].num_elements()
        blocks = tf.transpose(tf.reshape(packed, [taps, kept, size, outputs, size]), [3, 1, 0, 2, 4])
        blocks = tf.pad(tf.reshape(blocks, [layout.size, taps, size, size]), [[0, 1], [0, 0], [0, 0], [0, 0]])
        dense = tf.transpose(tf.gather(blocks, place), [2, 0, 3, 1, 4])
        return tf.reshape(dense, [*packed.shape[:-2], in_channels, features])

    def multiply(self, x: tf.Tensor, packed: tf.Tensor) -> tf.Tensor:
        """[B, ..., C] times the matrix [C, F] that is packed as [n * block_size, F]."""
        layout = self.layout(x.shape[-1], packed.shape[-1])
        y = _block_product(layout, self.block_size)(tf.reshape(x, [-1, x.shape[-1]]), self._by_output(packed))
        y = tf.reshape(tf.transpose(y, [1, 0, 2]), [-1, packed.shape[-1]])
        return tf.reshape(y, [*_sizes(x)[:-1], packed.shape[-1]])

    def convolve(self, window: tf.Tensor, packed: tf.Tensor, strides: int = 1) -> tf.Tensor:
        """`tf.nn.conv2d(window, kernel, strides, "VALID")` of the kernel that is packed as [kh, kw, n * block_size, F].

        Every pixel is multiplied once by all taps, then the products are added up where they belong. Gathering the
        window of every output instead would copy kh * kw times as much, and a grouped convolution has no fast gradient
        under XLA on CPUs.
        """
        kh, kw, _, features = packed.shape
        channels, outputs = window.shape[-1], features // self.block_size
        layout = self.layout(channels, features)
        if strides > 1:
            # Most products would be of no use: the taps side by side as channels, one position per output.
            _, height, width, _ = _sizes(window)
            taps = [
                window[:, i : height - kh + i + 1 : strides, j : width - kw + j + 1 : strides]
                for i in range(kh)
                for j in range(kw)
            ]
            window = tf.concat(taps, -1)
            blocks = channels // self.block_size
            layout = np.concatenate([layout + tap * blocks for tap in range(kh * kw)], 1)
            packed, kh, kw = tf.reshape(packed, [1, 1, -1, features]), 1, 1
        sizes = _sizes(window)
        y = _block_product(layout, self.block_size)(tf.reshape(window, [-1, window.shape[-1]]), self._by_output(packed))
        y = _add_taps(kh, kw, self.block_size)(tf.reshape(y, [outputs, *sizes[:3], kh * kw * self.block_size]))
        return tf.reshape(tf.transpose(y, [1, 2, 3, 0, 4]), [sizes[0], sizes[1] - kh + 1, sizes[2] - kw + 1, features])

    def _by_output(self, packed: tf.Tensor) -> tf.Tensor:
        """[kh, kw, n * block_size, F] -> [O, n * block_size, kh * kw * block_size], one matrix per output block."""
        taps, rows, features = packed.shape[:-2].num_elements(), packed.shape[-2], packed.shape[-1]
        outputs = features // self.block_size
        matrices = tf.transpose(tf.reshape(packed, [taps, rows, outputs, self.block_size]), [2, 1, 0, 3])
        return tf.reshape(matrices, [outputs, rows, taps * self.block_size])


@functools.lru_cache(maxsize=4096)
def _regular_layout(in_blocks: int, out_blocks: int, kept: int, seed: int) -> np.ndarray:
    """Random [out_blocks, kept] without repetition in a row, each input equally often."""
    rows = (np.arange(out_blocks * kept) % in_blocks).reshape(out_blocks, kept).tolist()
    # Exchanges of two entries keep the layout regular, and reach every regular layout. RandomState: its numbers are
    # the same in every version of NumPy.
    entries = np.random.RandomState(seed).randint(out_blocks * kept, size=[10 * out_blocks * kept, 2])
    for first, second in entries.tolist():
        (a, i), (b, j) = divmod(first, kept), divmod(second, kept)
        if rows[b][j] not in rows[a] and rows[a][i] not in rows[b]:
            rows[a][i], rows[b][j] = rows[b][j], rows[a][i]
    layout = np.sort(rows, 1)
    layout.flags.writeable = False
    return layout


def _block_product(layout: np.ndarray, size: int) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """X [N, C], matrices [O, n * size, K] -> [O, N, K]: what output block o takes of its n input blocks.

    With a gradient of its own: the input blocks are gathered again rather than kept, n * O / I times the input, and the
    gradient of a regular gathering is again one, where TensorFlow would scatter.
    """
    outputs, kept = layout.shape
    # Where every input block went, [I, m].
    places = np.argsort(layout.ravel(), kind="stable").reshape(layout.max() + 1, -1)

    def gather(x: tf.Tensor) -> tf.Tensor:
        blocks = tf.gather(tf.reshape(x, [-1, len(places), size]), layout, axis=1)
        return tf.transpose(tf.reshape(blocks, [-1, outputs, kept * size]), [1, 0, 2])

    @tf.custom_gradient
    def product(x: tf.Tensor, matrices: tf.Tensor) -> tuple[tf.Tensor, Callable[..., tuple[tf.Tensor, tf.Tensor]]]:
        def gradient(dy: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            blocks = tf.transpose(tf.matmul(dy, matrices, transpose_b=True), [1, 0, 2])
            blocks = tf.reshape(blocks, [-1, outputs * kept, size])
            dx = tf.add_n([tf.gather(blocks, place, axis=1) for place in places.T])
            return tf.reshape(dx, [-1, len(places) * size]), tf.matmul(gather(x), dy, transpose_a=True)

        return tf.matmul(gather(x), matrices), gradient

    return product


def _add_taps(kh: int, kw: int, size: int) -> Callable[[tf.Tensor], tf.Tensor]:
    """[O, B, H, W, kh * kw * size] -> [O, B, H - kh + 1, W - kw + 1, size]: the sum of the taps' shifted products.

    With a gradient of its own, one concatenation, where TensorFlow would pad and add all channels for every tap.
    """
    taps = [(i, j) for i in range(kh) for j in range(kw)]

    @tf.custom_gradient
    def add(y: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        def gradient(dy: tf.Tensor) -> tf.Tensor:
            shifted = [tf.pad(dy, [[0, 0], [0, 0], [i, kh - 1 - i], [j, kw - 1 - j], [0, 0]]) for i, j in taps]
            return tf.concat(shifted, -1)

        _, _, height, width, _ = _sizes(y)
        parts = [
            y[:, :, i : height - kh + 1 + i, j : width - kw + 1 + j, tap * size : (tap + 1) * size]
            for tap, (i, j) in enumerate(taps)
        ]
        return tf.add_n(parts), gradient

    return add


def _sizes(x: tf.Tensor) -> list[int | tf.Tensor]:
    """Returns the shape of x, static where it is known."""
    dynamic = tf.shape(x)
    return [dynamic[axis] if size is None else size for axis, size in enumerate(x.shape)]
