"""PixelRNN: residual layers of two-dimensional LSTMs.

    p(x | h) = prod_(i,j,c) p(x_ijc | rows above, pixels to the left, earlier colours, h)

    Row LSTM                  Diagonal BiLSTM
    . x x x x x .             x x x x x x x
    . . x x x . .             x x x x x x x        o current pixel, x seen (one layer behind a small mask A)
    x x x o                   x x x o

The Row LSTM has a triangular context: with 3 x 1 kernels a state climbs one row and moves one column at a time. The
Diagonal BiLSTM sees every previous pixel.

Reference:
    van den Oord, Kalchbrenner, Kavukcuoglu, Pixel Recurrent Neural Networks, ICML 2016, sections 3.1 to 3.5, table 1.

Differences from the paper:
    The learned initial state of an LSTM is one vector c_0; h_0 is tanh(c_0).
    Behind a mask A alone, no feature of row i - 1 knows the last pixel of that row, so that pixel (i, j) would not see
    it before it comes into the window of the first layer. With the Diagonal BiLSTM the first layer therefore finds
    the last pixel of the row above left of every row, instead of 0.
    The table ends with two layers "ReLU, 1 x 1" of `head_filters` maps and the softmax; the map from these features
    to the logits is a third "ReLU, 1 x 1" here.
    A condition enters all gates as V h; the paper has none.
    Dropout on the states in front of the 1 x 1 convolutions (0 by default) and any head of `tfar.heads`.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfar.core.checks import check_choice, check_sizes
from tfar.core.event import Event
from tfar.core.protocols import Condition, EventShape, Head
from tfar.layers import DiagonalLSTM, MaskedConv2D, RowLSTM
from tfar.layers.composite import Composite
from tfar.models.autoregressive import AutoregressiveModel
from tfar.models.presets import MNIST, RGB

CELLS = ("row_lstm", "diagonal_bilstm")


@keras.saving.register_keras_serializable("tfar")
class PixelRNNBlock(Composite):
    r"""Figure 5, right: LSTMs with h features between maps of 2h, [B, H, W, 2h] -> [B, H, W, 2h].

        Row LSTM            x --- LSTM, h --- 1 x 1, 2h --->

        Diagonal BiLSTM     x --- LSTM from left to right, h ------------------- 1 x 1, 2h --- add -->
                              \-- LSTM from right to left, h, one row down ----- 1 x 1, 2h --- /

    The network adds x.
    """

    def __init__(
        self, cell: str, filters: int, kernel_size: int, groups: dict[str, Any], dropout: float, **kwargs: Any
    ):
        super().__init__(**kwargs)
        if cell == "row_lstm":
            self.lstms = [RowLSTM(filters, kernel_size, **groups)]
        else:
            self.lstms = [DiagonalLSTM(filters, "left_to_right", **groups)]
            self.lstms += [DiagonalLSTM(filters, "right_to_left", **groups)]
        self.dropout = keras.layers.Dropout(dropout)
        # The sum has one bias.
        self.expand = [
            MaskedConv2D(2 * filters, 1, "B", **groups, use_bias=lstm is self.lstms[0]) for lstm in self.lstms
        ]

    def call(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """[B, H, W, 2h] -> [B, H, W, 2h]."""
        states = [self.dropout(lstm(x, condition)) for lstm in self.lstms]
        return tf.add_n([expand(h) for expand, h in zip(self.expand, states, strict=True)])


@keras.saving.register_keras_serializable("tfar")
class PixelRNNNetwork(Composite):
    """Table 1: mask A, LSTM layers, and three times ReLU, 1 x 1: [B, H, W, F] -> [B, H, W, outputs]."""

    def __init__(
        self,
        first: MaskedConv2D,
        blocks: list[PixelRNNBlock],
        residual: bool,
        skip: bool,
        head_filters: int,
        outputs: int,
        groups: dict[str, Any],
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.first, self.blocks, self.residual = first, blocks, residual
        self.skips = [MaskedConv2D(first.filters, 1, "B", **groups) for _ in blocks] if skip else []
        self.hidden = [MaskedConv2D(head_filters, 1, "B", **groups) for _ in range(2)]
        # The parameters of a colour stand together, whatever the layout of the feature maps.
        last = {**groups, "input_groups": groups["channel_groups"], "channel_groups": "contiguous"}
        self.outputs = MaskedConv2D(outputs, 1, "B", **last)

    def call(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """Parameters of the head for every pixel."""
        h, skipped = self.first(x), []
        for index, block in enumerate(self.blocks):
            y = block(h, condition)
            h = h + y if self.residual else y
            if self.skips:
                skipped.append(self.skips[index](y))
        h = tf.add_n([h, *skipped])
        for layer in [*self.hidden, self.outputs]:
            h = layer(tf.nn.relu(h))
        return h


@keras.saving.register_keras_serializable("tfar")
class PixelRNN(AutoregressiveModel):
    """A density over images by two-dimensional LSTMs.

    Args:
        event_shape: (height, width, channels).
        head: distribution of a channel (`Bernoulli`, `Categorical`, `Mixture`: the network orders the colours) or of
            a whole pixel (`DiscretizedLogisticMixture`).
        cell: "row_lstm" (context: a triangle) or "diagonal_bilstm" (context: everything).
        filters: h of the paper; the residual stream has 2h maps (paper: 16 for MNIST, 128 for CIFAR-10).
        num_layers: LSTM layers (paper: 7 for MNIST, 12 for CIFAR-10).
        kernel_size: taps of the Row LSTM's input-to-state convolution (paper: 3).
        first_kernel_size: k of the mask A convolution (paper: 7).
        head_filters: maps of the 1 x 1 layers in front of the outputs; 2h by default (paper: 32 for MNIST, 1024).
        residual: add the input of every layer to its output.
        skip: lead every layer's output, through a 1 x 1 convolution, to the features in front of the head.
        condition: `Label`, `Vector` or `Spatial`.
        channel_groups: layout of the colours in the feature maps, "interleaved" or "contiguous".
        dropout: rate on the states of the LSTMs, in front of the 1 x 1 convolutions.
        embedding_dim: size of a learned embedding of the input values; None feeds scaled values.
        **kwargs: name and dtype.

    Raises:
        ValueError: unknown cell, no layer, or fewer maps than colours.

    Example:
        >>> import tfar
        >>> model = tfar.models.PixelRNN((4, 4, 1), tfar.heads.Categorical(4), "row_lstm", filters=4, num_layers=1)
        >>> x = model.sample(2, seed=0, jit_compile=False)
        >>> tuple(x.shape), tuple(model.log_prob(x).shape)
        ((2, 4, 4, 1), (2,))
    """

    _RGB = {**RGB, "num_layers": 12, "head_filters": 1024}
    PRESETS = {
        "pixel_rnn_tiny": {"filters": 4, "num_layers": 1, "first_kernel_size": 3},
        "pixel_rnn_small": {"filters": 16, "num_layers": 4},
        "pixel_rnn_mnist": {**MNIST, "cell": "diagonal_bilstm", "filters": 16, "num_layers": 7, "head_filters": 32},
        "pixel_rnn_cifar10": {**_RGB, "cell": "diagonal_bilstm", "filters": 128},
        "pixel_rnn_row_cifar10": {**_RGB, "cell": "row_lstm", "filters": 128},
        "pixel_rnn_row_imagenet32": {**_RGB, "cell": "row_lstm", "filters": 384},
    }

    def __init__(
        self,
        event_shape: EventShape,
        head: Head,
        cell: str = "diagonal_bilstm",
        filters: int = 16,
        num_layers: int = 7,
        kernel_size: int = 3,
        first_kernel_size: int = 7,
        head_filters: int | None = None,
        residual: bool = True,
        skip: bool = False,
        condition: Condition | None = None,
        channel_groups: str = "interleaved",
        dropout: float = 0.0,
        embedding_dim: int | None = None,
        **kwargs: Any,
    ):
        event = Event(event_shape, head)
        check_choice(CELLS, cell=cell)
        check_sizes(num_layers=num_layers)
        if filters < event.groups:
            raise ValueError(f"filters must be at least the number of colours {event.groups}, got {filters}")
        groups: dict[str, Any] = {"groups": event.groups, "channel_groups": channel_groups}
        # Values of a channel stand together in the input (an embedding has several features per channel).
        inputs: dict[str, Any] = {"input_groups": "contiguous", "wrap": cell == "diagonal_bilstm"}
        first = MaskedConv2D(2 * filters, first_kernel_size, "A", **groups, **inputs)
        blocks = [PixelRNNBlock(cell, filters, kernel_size, groups, dropout) for _ in range(num_layers)]
        hidden = head_filters or 2 * filters
        network = PixelRNNNetwork(first, blocks, residual, skip, hidden, event.num_outputs, groups)
        super().__init__(network, event_shape, head, condition, embedding_dim=embedding_dim, **kwargs)
