"""A decoder-only transformer over sequences: masked self-attention, a cache of keys and values, any length.

    p(x) = prod_t p(x_t | x_(t-1), ..., x_1)

Reference:
    Radford, Wu, Child, Luan, Amodei, Sutskever, Language Models are Unsupervised Multitask Learners (GPT-2), 2019,
    section 2.3: the decoder of Vaswani et al., Attention Is All You Need, 2017, with layer normalization in front of
    every sub-layer.

Differences from the paper:
    The input is shifted right and begins with zeros, so that p(x_1) is modelled too.
    Rotary positions (Su et al., RoFormer, 2021) as an alternative to learned ones.
    Weights of the embedding and of the outputs are not shared. Labels and vectors may condition the model.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfar.core.checks import check_choice, check_sizes
from tfar.core.conditions import Label, Vector
from tfar.core.event import Event
from tfar.core.protocols import Condition, EventShape, Head
from tfar.core.vocabulary import Vocabulary
from tfar.layers import CausalAttention, ConditionalBias, LearnedPositions, RotaryPositions, ShiftRight
from tfar.layers.composite import Composite
from tfar.models.autoregressive import AutoregressiveModel

POSITIONS = ("learned", "rotary")
ACTIVATIONS = ("gelu", "relu")

# Positions of a model of any length, unless it says otherwise.
_MAX_LENGTH = 256


@keras.saving.register_keras_serializable("tfar")
class CausalTransformerBlock(Composite):
    r"""Attention and a small network at every position: [B, T, width] -> [B, T, width].

    x --- norm --- q, k, v --- attention --- project --- add --- norm --- hidden --- project --- add -->
      \___________________________________________________/ \_____________________________________/
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        hidden: int,
        rotary: bool,
        max_length: int,
        activation: str,
        dropout: float,
        attention_dropout: float,
        last_stddev: float,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        small = keras.initializers.RandomNormal(stddev=last_stddev)
        self.attention_norm = keras.layers.LayerNormalization(epsilon=1e-5)
        self.qkv = keras.layers.Dense(3 * width)
        self.rotate = RotaryPositions(2 * num_heads) if rotary else None
        self.attention = CausalAttention(num_heads, max_length=max_length, dropout=attention_dropout)
        # Rotary networks begin with zeros at the first position; a bias keeps normalization from magnifying nothing
        # (with zeros the norm of the first gradient is 10^9 at width 192, with this bias 6).
        bias = keras.initializers.RandomNormal(stddev=0.02)
        self.attention_project = keras.layers.Dense(width, kernel_initializer=small, bias_initializer=bias)
        self.mlp_norm = keras.layers.LayerNormalization(epsilon=1e-5)
        self.mlp_hidden = keras.layers.Dense(hidden)
        self.activation = activation
        self.mlp_project = keras.layers.Dense(width, kernel_initializer=small)
        self.dropout = keras.layers.Dropout(dropout) if dropout else None

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """[B, T, width] -> [B, T, width]."""
        query_key, value = tf.split(self.qkv(self.attention_norm(x)), [2 * x.shape[-1], x.shape[-1]], -1)
        if self.rotate is not None:
            query_key = self.rotate(query_key)  # the heads of queries, then those of keys
        query, key = tf.split(query_key, 2, -1)
        x += self._drop(self.attention_project(self.attention(query, key, value)))
        hidden = self.mlp_hidden(self.mlp_norm(x))
        hidden = tf.nn.relu(hidden) if self.activation == "relu" else tf.nn.gelu(hidden, approximate=True)
        return x + self._drop(self.mlp_project(hidden))

    def _drop(self, x: tf.Tensor) -> tf.Tensor:
        return x if self.dropout is None else self.dropout(x)


@keras.saving.register_keras_serializable("tfar")
class CausalTransformerNetwork(Composite):
    """Shift, embed, add the condition, blocks, normalize: [B, T, F] -> [B, T, outputs]."""

    def __init__(
        self,
        embed: keras.layers.Layer | None,
        positions: LearnedPositions | None,
        blocks: list[CausalTransformerBlock],
        outputs: int,
        dropout: float,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.shift = ShiftRight()
        self.embed, self.positions, self.blocks = embed, positions, blocks
        self.condition_bias = ConditionalBias()
        self.dropout = keras.layers.Dropout(dropout) if dropout else None
        self.norm = keras.layers.LayerNormalization(epsilon=1e-5)
        self.outputs = keras.layers.Dense(outputs, kernel_initializer=keras.initializers.RandomNormal(stddev=0.02))

    def call(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """Parameters of the head for every element."""
        x = self.shift(x)
        if self.embed is not None:
            x = self.embed(x)
        if self.positions is not None:
            x = self.positions(x)
        x = self.condition_bias(x, condition)
        if self.dropout is not None:
            x = self.dropout(x)
        for block in self.blocks:
            x = block(x)
        return self.outputs(self.norm(x))


@keras.saving.register_keras_serializable("tfar")
class CausalTransformer(AutoregressiveModel):
    """A density over sequences by masked self-attention.

    Args:
        event_shape: (None,) for any length, (length,), or (height, width, channels), read in raster order.
        head: distribution of an element; heads with levels have their symbols embedded.
        width: features of every layer.
        num_layers: blocks.
        num_heads: heads of every attention; they split the width.
        mlp_ratio: hidden features of a block in units of the width.
        positions: "learned" (a vector for each of `max_length` positions) or "rotary" (relative; any length).
        max_length: positions that are cached, and seen at most; by default the length of the event, or 256. With
            learned positions no event may be longer; with rotary ones an element sees the last `max_length`.
        activation: "gelu" or "relu".
        dropout: rate on the embedding and on the output of every sub-layer.
        attention_dropout: rate on the attention weights.
        vocabulary: the characters that the symbols stand for, in their order; None where they are no text, and for
            bytes, where the head has 256 levels.
        condition: `Label` or `Vector`, added to the embedding of every element.
        **kwargs: name and dtype.

    Attributes:
        text_vocabulary: a `tfar.core.Vocabulary` that encodes and decodes text, or None.

    Raises:
        ValueError: an argument is out of range, the condition is a map, or the vocabulary is not of the head's size.

    Example:
        >>> import tfar
        >>> model = tfar.models.CausalTransformer((None,), tfar.heads.Categorical(4), width=8, num_layers=1)
        >>> x = model.sample(2, length=5, prompt=[3, 1], seed=0, jit_compile=False)
        >>> x[:, :2].numpy().tolist(), tuple(model.log_prob(x).shape)
        ([[3, 1], [3, 1]], (2,))
    """

    CONDITIONS = (Label, Vector)
    PRESETS = {
        "causal_transformer_tiny": {"width": 8, "num_layers": 2, "num_heads": 2},
        "causal_transformer_small": {"width": 128, "num_layers": 4, "num_heads": 4, "positions": "rotary"},
        # Table 2 of the paper, first row; its vocabulary has 50,257 symbols.
        "causal_transformer_gpt2": {
            "event_shape": (None,),
            "head": ("Categorical", 50257),
            "width": 768,
            "num_layers": 12,
            "num_heads": 12,
            "max_length": 1024,
            "dropout": 0.1,
            "attention_dropout": 0.1,
        },
    }

    def __init__(
        self,
        event_shape: EventShape,
        head: Head,
        width: int = 128,
        num_layers: int = 4,
        num_heads: int = 4,
        mlp_ratio: float = 4.0,
        positions: str = "learned",
        max_length: int | None = None,
        activation: str = "gelu",
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        vocabulary: str | None = None,
        condition: Condition | None = None,
        **kwargs: Any,
    ):
        event = Event(event_shape, head, "sequence")
        check_sizes(width=width, num_layers=num_layers, num_heads=num_heads)
        check_choice(ACTIVATIONS, activation=activation)
        check_choice(POSITIONS, positions=positions)
        multiple = 2 * num_heads if positions == "rotary" else num_heads
        if width % multiple:
            raise ValueError(
                f"width must be a multiple of {multiple} ({positions} positions, {num_heads} heads), got {width}"
            )
        self.text_vocabulary = Vocabulary.of_model(vocabulary, event.head.levels)
        length = event.grid[0]
        slots = max_length or length or _MAX_LENGTH
        if positions == "learned" and length is not None and slots < length:
            raise ValueError(f"max_length must be at least the length of the event, {length}, got {max_length}")
        blocks = [
            CausalTransformerBlock(
                width,
                num_heads,
                int(mlp_ratio * width),
                positions == "rotary",
                slots,
                activation,
                dropout,
                attention_dropout,
                # The paper's: the sum of 2 L residuals keeps its scale.
                last_stddev=0.02 * (2 * num_layers) ** -0.5,
            )
            for _ in range(num_layers)
        ]
        symbols = head.levels is not None
        network = CausalTransformerNetwork(
            None if symbols and event.channels == 1 else keras.layers.Dense(width),
            LearnedPositions(slots) if positions == "learned" else None,
            blocks,
            event.num_outputs,
            dropout,
        )
        size = width if symbols else None
        super().__init__(network, event_shape, head, condition, None, size, "sequence", **kwargs)
        self.max_length = slots

    @property
    def longest_event(self) -> int | None:
        """Elements of the longest event that the model is defined for; None where there is no limit."""
        return self.max_length if self.positions == "learned" else None
