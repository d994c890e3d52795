"""CharRNN: stacked recurrent layers over the characters of a text.

    p(x) = prod_t p(x_t | x_1, ..., x_(t-1))

    p(x_1)   p(x_2)   p(x_3)   p(x_4)
      |        |        |        |
      o -----> o -----> o -----> o -->     layer 2          --> the state goes on: along the text when it is scored,
      |        |        |        |                              from window to window in training (truncated
      o -----> o -----> o -----> o -->     layer 1              back-propagation), from draw to draw in sampling
      |        |        |        |
      0       x_1      x_2      x_3        one-hot or embedded; zeros in front of the first character

References:
    Karpathy, The Unreasonable Effectiveness of Recurrent Neural Networks, 2015, and its code,
    https://github.com/karpathy/char-rnn. Graves, Generating Sequences With Recurrent Neural Networks, 2013.

Differences from the code:
    p(x_1) is learned, from a zero input; there the first character is given, or drawn uniformly.
    The state is reset where the training text begins again (an epoch later); there it is carried over the end.
    Initial weights other than U(-0.08, 0.08), Adam, dropout, an embedding and a condition are additions; the preset
    `char_rnn_karpathy` is the published network, with one bias vector for W x and one for U h (240,321 weights).
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfar.core.checks import check_sizes
from tfar.core.conditions import Label, Vector
from tfar.core.event import Event
from tfar.core.protocols import Condition, EventShape, Head
from tfar.core.vocabulary import Vocabulary
from tfar.heads import Categorical
from tfar.layers import Recurrent
from tfar.layers.composite import Composite
from tfar.models.autoregressive import AutoregressiveModel


@keras.saving.register_keras_serializable("tfar")
class CharRNNNetwork(Composite):
    """Recurrent layers with dropout behind each, then a decoder: [B, T, F] -> [B, T, outputs].

    Args:
        layers: the recurrent layers, the first one exclusive.
        dropout: rate between layers and in front of the decoder.
        outputs: numbers per element.
        init_scale: s of the decoder's U(-s, s); None for Glorot's rule.
    """

    def __init__(
        self, layers: list[Recurrent], dropout: float, outputs: int, init_scale: float | None = None, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.layers = layers
        self.dropouts = [keras.layers.Dropout(dropout) for _ in layers]
        initializers: dict[str, Any] = {}
        if init_scale is not None:
            uniform = keras.initializers.RandomUniform
            initializers = {
                "kernel_initializer": uniform(-init_scale, init_scale),
                "bias_initializer": uniform(-init_scale, init_scale),
            }
        self.decoder = keras.layers.Dense(outputs, **initializers)

    def call(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """Parameters of the head for every element."""
        for layer, dropout in zip(self.layers, self.dropouts, strict=True):
            x = dropout(layer(x) if condition is None else layer(x, condition))
        return self.decoder(x)


@keras.saving.register_keras_serializable("tfar")
class CharRNN(AutoregressiveModel):
    """A density over sequences of symbols by recurrent layers; every element depends on all before it.

    Symbols of a `Categorical` head enter one-hot, or as a learned embedding; values of other heads enter scaled.

    Args:
        event_shape: (None,) for any length, (length,), or (height, width, channels), read in raster order.
        head: distribution of an element; `Categorical(vocabulary size)` for text.
        units: size of the hidden state of every layer (char-rnn: 128).
        num_layers: recurrent layers (char-rnn: 2).
        cell: "lstm", "gru" or "vanilla".
        dropout: rate between layers and in front of the decoder (char-rnn: 0).
        embedding_dim: size of a learned embedding of the input; None feeds it one-hot.
        vocabulary: the characters that the symbols stand for, in their order; None where they are no text, and for
            bytes, where the head has 256 levels.
        condition: `Label` or `Vector`, added to the gates of every layer.
        init_scale: weights begin as U(-s, s) with forget biases 1 (char-rnn: 0.08); None: Glorot, orthogonal, zeros.
        **kwargs: name and dtype.

    Attributes:
        text_vocabulary: a `tfar.core.Vocabulary` that encodes and decodes text, or None.

    Raises:
        ValueError: an argument is out of range, the condition is a map, or the vocabulary is not of the head's size.

    Example:
        >>> import tfar
        >>> model = tfar.models.CharRNN((None,), tfar.heads.Categorical(4), units=3, vocabulary="ehlo")
        >>> text = model.text_vocabulary
        >>> tuple(model.score(text.encode("hello")[None]).shape)
        (1, 5)
        >>> x = model.sample(1, seed=0, length=8, prompt=text.encode("he"), jit_compile=False)
        >>> text.decode(x[0])[:2]
        'he'
    """

    CONDITIONS = (Label, Vector)
    PRESETS = {
        "char_rnn_tiny": {"units": 4, "num_layers": 2, "event_shape": (None,)},
        "char_rnn_small": {"units": 256, "num_layers": 2, "event_shape": (None,)},
        # The vocabulary of tinyshakespeare has 65 characters; another head may be given.
        "char_rnn_karpathy": {
            "units": 128,
            "num_layers": 2,
            "init_scale": 0.08,
            "event_shape": (None,),
            "head": ("Categorical", 65),
        },
    }

    def __init__(
        self,
        event_shape: EventShape,
        head: Head,
        units: int = 128,
        num_layers: int = 2,
        cell: str = "lstm",
        dropout: float = 0.0,
        embedding_dim: int | None = None,
        vocabulary: str | None = None,
        condition: Condition | None = None,
        init_scale: float | None = None,
        **kwargs: Any,
    ):
        event = Event(event_shape, head, "sequence")
        check_sizes(num_layers=num_layers)
        self.text_vocabulary = Vocabulary.of_model(vocabulary, event.head.levels)
        layers = [
            Recurrent(units, cell, exclusive=index == 0, init_scale=init_scale, name=f"{cell}_{index}")
            for index in range(num_layers)
        ]
        network = CharRNNNetwork(layers, dropout, event.num_outputs, init_scale)
        super().__init__(network, event_shape, head, condition, None, embedding_dim, "sequence", **kwargs)

    def _encode_cells(self, x: tf.Tensor) -> tf.Tensor:
        """Values [..., C] -> network input [..., F]: symbols one-hot, unless they are embedded."""
        if self.embedding_dim is not None or not isinstance(self.head, Categorical):
            return super()._encode_cells(x)
        symbols = tf.one_hot(tf.cast(x, tf.int32), self.head.levels)
        shape = tf.concat([tf.shape(x)[:-1], [self.event.channels * self.head.levels]], 0)
        return tf.ensure_shape(tf.reshape(symbols, shape), [*x.shape[:-1], self.event.channels * self.head.levels])
