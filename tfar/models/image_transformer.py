r"""Image Transformer: self-attention over an image, from every block of pixels to its neighbourhood.

    p(x) = prod_t p(x_t | x_(t-1), ..., x_1)        t: sub-pixels (R, G, B of a pixel after each other), or whole pixels

    token_t = embed(x_(t-1)) + position_t + V h
    y = norm(x + drop(attention(x))),   norm(y + drop(W2 relu(W1 y)))                      times num_layers

    local_1d    raster order cut into blocks: a block sees itself, causally, and the block before
    local_2d    blocks of h x w pixels, drawn one after the other: a block sees itself, causally, and the pixels drawn
                before of a flange above, left and right of it
    full        every token sees all tokens before it

References:
    Parmar, Vaswani, Uszkoreit, Kaiser, Shazeer, Ku, Tran, Image Transformer, 2018;
    https://github.com/tensorflow/tensor2tensor (`imagetransformer_cifar10_base`, `imagetransformer_cifar10_base_dmol`).

Differences from the paper:
    Decoder only: no super-resolution. Blocks of `local_2d` are counted in pixels, those of `local_1d` in sub-pixels as
    there. Kernels are initialized by Glorot's rule; embedding and outputs share no weights. Normalization stands behind
    every sub-layer, as in the paper; `norm="pre"` puts it in front, which trains without a long warm-up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfar.core import orderings
from tfar.core.checks import check_choice, check_sizes
from tfar.core.conditions import Label, Spatial, Vector
from tfar.core.event import Event
from tfar.core.example_orders import gather_cells
from tfar.core.protocols import Condition, EventShape, Head
from tfar.layers import CausalAttention, ConditionalBias, LocalAttention1D, LocalAttention2D, Ordered
from tfar.layers.composite import Composite
from tfar.layers.image_positions import ImagePositions
from tfar.layers.recompute import recomputed
from tfar.models.autoregressive import AutoregressiveModel
from tfar.models.ensemble import flat_ordering
from tfar.models.presets import RGB, RGB_PIXELS

ATTENTIONS = ("local_1d", "local_2d", "full")
NORMS = ("post", "pre")


@keras.saving.register_keras_serializable("tfar")
class ImageTransformerBlock(Composite):
    """Attention and a small network at every position: [B, T, width] -> [B, T, width]."""

    def __init__(
        self, width: int, ff_width: int, attention: Any, attention_width: int, norm: str, dropout: float, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.qkv = keras.layers.Dense(3 * attention_width, use_bias=False)
        self.attention = attention
        self.project = keras.layers.Dense(width, use_bias=False)
        self.hidden = keras.layers.Dense(ff_width, activation="relu")
        self.ff_project = keras.layers.Dense(width)
        self.norms = [keras.layers.LayerNormalization(epsilon=1e-6) for _ in range(2)]
        self.norm_first = norm == "pre"
        self.dropout = keras.layers.Dropout(dropout)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """[B, T, width] -> [B, T, width]."""
        attend = lambda x: self.project(self.attention(*tf.split(self.qkv(x), 3, -1)))  # noqa: E731
        for norm, function in zip(self.norms, (attend, lambda x: self.ff_project(self.hidden(x))), strict=True):
            if self.norm_first:
                x += self.dropout(function(norm(x)))
            else:
                x = norm(x + self.dropout(function(x)))
        return x


@keras.saving.register_keras_serializable("tfar")
class ImageTransformerNetwork(Composite):
    """Order, shift, embed, blocks, outputs, order back: [B, N, F] -> [B, N, outputs].

    Args:
        order: int [N], the cell of every rank.
        colours: cells of a pixel; the features of a cell are then an embedding for each of them.
        embed: of an encoded cell; None takes it times the square root of the width.
        positions: added to the tokens.
        blocks: causal blocks over the order of drawing.
        norm: of the last block's output, or None.
        outputs: numbers per cell.
        dropout: rate on the tokens.
        map_features: of the map that conditions the network, or None.
        recompute: whether training recomputes the activations of the blocks.
    """

    def __init__(
        self,
        order: np.ndarray,
        colours: int,
        embed: keras.layers.Layer | None,
        positions: ImagePositions,
        blocks: list[ImageTransformerBlock],
        norm: keras.layers.Layer | None,
        outputs: int,
        dropout: float,
        map_features: keras.layers.Layer | None,
        recompute: bool,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._order, self._colours, self._recompute = order, colours, recompute
        self.ordered = Ordered()
        self.embed, self.positions, self.map, self.blocks = embed, positions, map_features, blocks
        self.condition_bias = ConditionalBias() if map_features is None else None
        self.dropout, self.norm, self.outputs = keras.layers.Dropout(dropout), norm, keras.layers.Dense(outputs)

    def call(self, x: tf.Tensor, condition: tf.Tensor | None = None, training: bool | None = None) -> tf.Tensor:
        """Parameters of the head for every cell as stored; in a step those of the cell at this rank."""
        x = self._own_colour(self.ordered(x, self._order))
        x = x * x.shape[-1] ** 0.5 if self.embed is None else self.embed(x)
        x = self.positions(x)
        if self.map is None:
            x = self.condition_bias(x, condition)
        else:
            count = condition.shape[1] * condition.shape[2]
            pixels = tf.reshape(condition, [tf.shape(condition)[0], count, condition.shape[-1]])
            x += self.map(gather_cells(pixels, self.ordered.targets(self._order) // (len(self._order) // count)))
        x = self.dropout(x)
        for block in self.blocks:
            x = recomputed(block, x, training=training) if self._recompute else block(x)
        return self.ordered.restore(self.outputs(x if self.norm is None else self.norm(x)), self._order)

    def _own_colour(self, x: tf.Tensor) -> tf.Tensor:
        """Of embeddings in the tables of all colours [B, n, colours * E] those in the cell's own, [B, n, E]."""
        if self._colours == 1:
            return x
        colour = tf.one_hot(self.ordered.sources(self._order) % self._colours, self._colours, dtype=x.dtype)
        tables = tf.reshape(x, [tf.shape(x)[0], x.shape[1], self._colours, x.shape[-1] // self._colours])
        return tf.reduce_sum(tables * colour[..., None], 2)


@keras.saving.register_keras_serializable("tfar")
class ImageTransformer(AutoregressiveModel):
    """A density over images by local self-attention.

    Args:
        event_shape: (height, width, channels).
        head: a categorical one models sub-pixels one after the other; `DiscretizedLogisticMixture` whole pixels.
        attention: "local_1d", "local_2d" or "full", see above.
        block_size: of "local_1d": sub-pixels of a block, or pixels where the head models those (paper: 256).
        block_shape: of "local_2d": (height, width) of a block in pixels, clipped to the image and a divisor of it.
        memory_flange: of "local_2d": (rows above, columns on either side) that a block sees; `block_shape` by default.
        num_layers: blocks (paper: 12).
        width: features of every layer (paper: 512, for mixtures 256).
        ff_width: hidden features of a block; 4 times the width by default.
        num_heads: heads of every attention; they split its features.
        attention_width: features of queries, keys and values; the width by default (paper, for mixtures: 512).
        dropout: rate on the tokens and on the output of every sub-layer (paper: 0.3, for mixtures 0.1).
        positions: "sine" or "learned" (paper, for mixtures), of row and column.
        norm: "post" (paper) or "pre".
        condition: `Label` or `Vector`, added to every token; of a `Spatial` map every token gets its pixel.
        embedding_dim: size of a learned embedding of the values, which a matrix takes to the width. None embeds
            sub-pixels in the width itself, times its square root, in a table for each colour (paper); whole pixels and
            numbers without levels are scaled.
        recompute: keep only the blocks' inputs while training and compute the rest again in the backward pass: memory
            for one more forward pass, see `tfar.layers.recompute`. Results do not depend on it.
        **kwargs: name and dtype, condition_dropout.

    Raises:
        ValueError: an argument is out of range, or blocks do not fill the image.

    Example:
        >>> import tfar
        >>> sizes = {"num_layers": 1, "width": 8, "num_heads": 2}
        >>> model = ImageTransformer((4, 4, 3), tfar.heads.Categorical(8), "local_2d", block_shape=(2, 2), **sizes)
        >>> model.ordering.ranks.reshape(4, 4, 3)[:2, :, 0].tolist()
        [[0, 3, 12, 15], [6, 9, 18, 21]]
    """

    CONDITIONS = (Label, Vector, Spatial)
    PRESETS = {
        "image_transformer_tiny": {"num_layers": 1, "width": 8, "num_heads": 2, "block_size": 4, "dropout": 0.0},
        "image_transformer_small": {"num_layers": 4, "width": 128, "num_heads": 4, "dropout": 0.1},
        "image_transformer_cifar10": {
            **RGB,
            "num_layers": 12,
            "width": 512,
            "ff_width": 2048,
            "num_heads": 4,
            "dropout": 0.3,
        },
        "image_transformer_cifar10_dmol": {
            **RGB_PIXELS,
            "num_layers": 12,
            "width": 256,
            "ff_width": 512,
            "num_heads": 8,
            "attention_width": 512,
            "dropout": 0.1,
            "positions": "learned",
        },
    }

    def __init__(
        self,
        event_shape: EventShape,
        head: Head,
        attention: str = "local_1d",
        block_size: int = 256,
        block_shape: Sequence[int] = (8, 32),
        memory_flange: Sequence[int] | None = None,
        num_layers: int = 12,
        width: int = 512,
        ff_width: int | None = None,
        num_heads: int = 4,
        attention_width: int | None = None,
        dropout: float = 0.0,
        positions: str = "sine",
        norm: str = "post",
        condition: Condition | None = None,
        embedding_dim: int | None = None,
        recompute: bool = False,
        **kwargs: Any,
    ):
        event = Event(event_shape, head, "sequence")
        image = event.image_shape
        check_sizes(num_layers=num_layers, width=width, num_heads=num_heads, block_size=block_size, ff_width=ff_width)
        check_choice(ATTENTIONS, attention=attention)
        check_choice(NORMS, norm=norm)
        features = attention_width or width
        if features % num_heads:
            raise ValueError(f"attention_width must be a multiple of num_heads={num_heads}, got {features}")
        block = (min(block_shape[0], image[0]), min(block_shape[1], image[1]))
        colours = event.num_cells // int(np.prod(image))
        pixels = orderings.blocks(image[0], image[1], block) if attention == "local_2d" else orderings.raster(*image)
        ordering = flat_ordering(pixels, event)
        order = ordering.permutation

        def layer() -> ImageTransformerBlock:
            attend: keras.layers.Layer = CausalAttention(num_heads, max_length=event.num_cells)
            if attention == "local_1d":
                attend = LocalAttention1D(num_heads, block_size)
            elif attention == "local_2d":
                attend = LocalAttention2D(num_heads, image, block, memory_flange or block, colours)
            return ImageTransformerBlock(width, ff_width or 4 * width, attend, features, norm, dropout)

        symbols = event.head.levels is not None and event.head.autoregressive_channels
        network = ImageTransformerNetwork(
            order,
            colours if symbols else 1,
            None if symbols and embedding_dim is None else keras.layers.Dense(width),
            ImagePositions(order // colours // image[1], order % (image[1] * colours), positions),
            [layer() for _ in range(num_layers)],
            keras.layers.LayerNormalization(epsilon=1e-6) if norm == "pre" else None,
            event.num_outputs,
            dropout,
            keras.layers.Dense(width, use_bias=False) if isinstance(condition, Spatial) else None,
            recompute,
        )
        size = colours * (embedding_dim or width) if symbols else embedding_dim
        super().__init__(network, event_shape, head, condition, ordering, size, "sequence", **kwargs)
        self._embedding_dim = embedding_dim
