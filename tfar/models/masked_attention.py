r"""Masked self-attention over the cells of an image or a sequence, in any order of drawing.

    p(x | h) = prod_t p(x_(pi_t) | x_(pi_1), ..., x_(pi_(t-1)), h)            pi: the order, the cell of every rank

The network gathers the cells in the order of drawing and shifts them by one, so that a causal mask serves every order.
A token holds the cell drawn last (its source) and the position drawn next (its target):

    token_t = embed(x_(pi_(t-1))) + source[pi_(t-1)] + target[pi_t] + V h

    order  2, 0, 1        token 1: 0,  nothing -> 2        sees token 1
                          token 2: x2,       2 -> 0        sees tokens 1, 2
                          token 3: x0,       0 -> 1        sees tokens 1, 2, 3

Without the target two different cells would be predicted from the same token where orders vary.

References:
    Chen et al., Generative Pretraining from Pixels (Image GPT), 2020: the decoder, in raster order.
    Yang et al., XLNet, 2019; Yu et al., Randomized Autoregressive Visual Generation, 2024: other orders, the target
        position, annealing.

Differences from the papers:
    Layer normalization of the GPT-2 decoder (the block is that of `CausalTransformer`); a learned vector for every
    source and every target. Embedding and outputs share no weights. The first token is learned (its source).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfar.core.checks import check_choice, check_sizes
from tfar.core.conditions import Label, Spatial, Vector
from tfar.core.event import Event
from tfar.core.example_orders import gather_cells, select_order
from tfar.core.orderings import Ordering
from tfar.core.protocols import Condition, EventShape, Head
from tfar.layers import ConditionalBias, Ordered
from tfar.layers.composite import Composite
from tfar.models.any_order import AnyOrder, trained_orderings
from tfar.models.causal_transformer import ACTIVATIONS, CausalTransformerBlock


@keras.saving.register_keras_serializable("tfar")
class SourceAndTarget(keras.layers.Layer):
    """x_t + source[pi_(t-1)] + target[pi_t]: [B, n, C] in the order of drawing -> the same shape."""

    def __init__(self, num_cells: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.num_cells = num_cells

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates both tables; the last source stands for the beginning."""
        small, features = keras.initializers.RandomNormal(stddev=0.02), input_shape[-1]
        self.source = self.add_weight(shape=(self.num_cells + 1, features), initializer=small, name="source")
        self.target = self.add_weight(shape=(self.num_cells, features), initializer=small.clone(), name="target")

    def call(self, x: tf.Tensor, source: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
        """Adds the vectors of the cells `source` and `target`, [n] or [B, n] each."""
        return x + self._look_up(self.source, source, x) + self._look_up(self.target, target, x)

    def _look_up(self, table: keras.Variable, cells: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
        return tf.gather(tf.cast(tf.convert_to_tensor(table), x.dtype), cells)


@keras.saving.register_keras_serializable("tfar")
class MaskedAttentionNetwork(Composite):
    """Gather, shift, embed, blocks, normalize, scatter: [B, N, F] -> [B, N, outputs].

    Args:
        permutations: int [M, N], the order of every member.
        embed: of an encoded cell, or None.
        blocks: causal blocks.
        outputs: numbers per cell.
        dropout: rate on the tokens.
        map_features: of the map that conditions the network, or None.
        cells_per_pixel: of the map.
    """

    def __init__(
        self,
        permutations: np.ndarray,
        embed: keras.layers.Layer | None,
        blocks: list[CausalTransformerBlock],
        outputs: int,
        dropout: float,
        map_features: keras.layers.Layer | None,
        cells_per_pixel: int,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._permutations, self._cells_per_pixel = permutations, cells_per_pixel
        self.ordered = Ordered()
        self.embed, self.map, self.blocks = embed, map_features, blocks
        self.positions = SourceAndTarget(permutations.shape[1])
        self.condition_bias = ConditionalBias() if map_features is None else None
        self.dropout = keras.layers.Dropout(dropout) if dropout else None
        self.norm = keras.layers.LayerNormalization(epsilon=1e-5)
        self.outputs = keras.layers.Dense(outputs, kernel_initializer=keras.initializers.RandomNormal(stddev=0.02))

    def call(self, x: tf.Tensor, condition: Any = None, order: Any = None, member: Any = None) -> tf.Tensor:
        """Parameters of the head for every cell; in a step those of the cell at this rank.

        Args:
            x: encoded cells as stored, [B, N, F]; in a step the cell that was drawn last, [B, n, F].
            condition: its features.
            order: int [B, N], an order for every example instead of the model's.
            member: index of one of the trained orders, a scalar or [B].
        """
        order = select_order(self._permutations, order, member)
        target = self.ordered.targets(order)
        tokens = self.ordered(x, order)
        tokens = tokens if self.embed is None else self.embed(tokens)
        tokens = self.positions(tokens, self.ordered.sources(order), target)
        if self.condition_bias is None:
            pixels = tf.reshape(condition, [tf.shape(condition)[0], -1, condition.shape[-1]])
            tokens += self.map(gather_cells(pixels, target // self._cells_per_pixel))
        else:
            tokens = self.condition_bias(tokens, condition)
        if self.dropout is not None:
            tokens = self.dropout(tokens)
        for block in self.blocks:
            tokens = block(tokens)
        return self.ordered.restore(self.outputs(self.norm(tokens)), order)


@keras.saving.register_keras_serializable("tfar")
class MaskedAttention(AnyOrder):
    """A density over images or sequences by masked self-attention, in any order.

    Args:
        event_shape: (height, width, channels) or (length,). Cells are values (those of a pixel follow each other in
            an order of pixels), or whole pixels where the head models them.
        head: distribution of a cell.
        ordering: the order or the orders: an `Ordering` of the pixels or of the cells, a name ("raster",
            "reversed_raster", "column_major", "snake", "zigzag", "hilbert", "snakes"), a list of these, or "random"
            for all orders of the cells; see `tfar.models.any_order.AnyOrder`. Raster by default.
        num_layers: blocks.
        width: features of every layer.
        num_heads: heads of every attention; they split the width.
        ff_width: hidden features of a block; 4 times the width by default.
        dropout: rate on the tokens and on the output of every sub-layer.
        attention_dropout: rate on the attention weights.
        condition: `Label` or `Vector`, added to every token; of a `Spatial` map every token gets its target's pixel.
        embedding_dim: size of a learned embedding of the input values; None feeds scaled values.
        order_annealing: (begin, end): see `AnyOrder`.
        activation: of the hidden features, "gelu" or "relu".
        **kwargs: name and dtype.

    Raises:
        ValueError: sizes or orders that do not fit.

    Example:
        >>> import tfar
        >>> model = MaskedAttention((2, 2, 1), tfar.heads.Bernoulli(), "random", num_layers=1, width=8, num_heads=2)
        >>> corners = np.array([[1, 0], [0, 1]], bool)[..., None]
        >>> x = model.complete(np.ones([3, 2, 2, 1], int), corners, seed=0, jit_compile=False)
        >>> tuple(model.score(x, ordering=tfar.orderings.column_major(2, 2)).shape)
        (3, 2, 2, 1)
    """

    CONDITIONS = (Label, Vector, Spatial)
    PRESETS = {
        "masked_attention_tiny": {"num_layers": 1, "width": 8, "num_heads": 2},
        "masked_attention_small": {"num_layers": 4, "width": 64, "num_heads": 4},
        # Image GPT-S, 76M parameters: one of 512 colours of a palette per pixel, 24 layers of 512 features, 8 heads.
        "masked_attention_image_gpt_s": {
            "event_shape": (32, 32, 1),
            "head": ("Categorical", 512),
            "num_layers": 24,
            "width": 512,
            "num_heads": 8,
            "embedding_dim": 512,
        },
    }

    def __init__(
        self,
        event_shape: EventShape,
        head: Head,
        ordering: Ordering | str | Sequence[Ordering | str] | None = None,
        num_layers: int = 4,
        width: int = 64,
        num_heads: int = 4,
        ff_width: int | None = None,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        condition: Condition | None = None,
        embedding_dim: int | None = None,
        order_annealing: Sequence[int] | None = None,
        activation: str = "gelu",
        **kwargs: Any,
    ):
        event = Event(event_shape, head, "sequence")
        check_sizes(num_layers=num_layers, width=width, num_heads=num_heads, ff_width=ff_width)
        if width % num_heads:
            raise ValueError(f"width must be a multiple of num_heads={num_heads}, got {width}")
        check_choice(ACTIVATIONS, activation=activation)
        spatial = isinstance(condition, Spatial)
        if spatial and len(event.event_shape) != 3:
            raise ValueError(f"condition must be a Label or a Vector for a sequence, got {condition!r}")
        permutations = np.stack([each.permutation for each in trained_orderings(ordering, event)])
        blocks = [
            CausalTransformerBlock(
                width,
                num_heads,
                ff_width or 4 * width,
                rotary=False,
                max_length=event.num_cells,
                activation=activation,
                dropout=dropout,
                attention_dropout=attention_dropout,
                last_stddev=0.02 * (2 * num_layers) ** -0.5,
            )
            for _ in range(num_layers)
        ]
        network = MaskedAttentionNetwork(
            permutations,
            None
            if embedding_dim is not None and embedding_dim * event.channels == width
            else keras.layers.Dense(width),
            blocks,
            event.num_outputs,
            dropout,
            keras.layers.Dense(width, use_bias=False) if spatial else None,
            event.num_cells // int(np.prod(event.event_shape[:2])) if spatial else 1,
        )
        own: dict[str, Any] = {"condition": condition, "embedding_dim": embedding_dim}
        super().__init__(network, event_shape, head, ordering, order_annealing, **own, **kwargs)
