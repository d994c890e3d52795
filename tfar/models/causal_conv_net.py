"""CausalConvNet: masked temporal convolution, dilated or not.

    p(x | h) = prod_t p(x_t | x_(t-1), ..., x_(t-R), h)        R = 1 + (k - 1) (d_1 + ... + d_L), the receptive field

    kernel 2, dilations 1, 1, 1           kernel 2, dilations 1, 2, 4
    p(x_t)           o                    p(x_t)                o
                   / |                                 ______/  |
                  o  o                                o         o
                / |/ |                             __/|      __/|
               o  o  o                            o   o     o   o
             / |/ |/ |                           /|  /|    /|  /|
            x  x  x  x   up to x_(t-1)          x x x x   x x x x   up to x_(t-1)

Reference:
    van den Oord, Dieleman, Zen, Simonyan, Vinyals, Graves, Kalchbrenner, Senior, Kavukcuoglu,
    WaveNet: A Generative Model for Raw Audio, 2016, section 2.1: figure 2 (causal convolutions) and figure 3 (dilated).

Differences from the paper:
    The figures show the connections alone. The layer (gated unit or ReLU, 1 x 1, residual) and the head (ReLU, 1 x 1,
    ReLU, 1 x 1) are section 2.3's and 2.4's without skip connections; the whole WaveNet is another model.
    The output at t is the distribution of x_t; in the paper it is that of x_(t+1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfar.core.checks import check_choice, check_sizes
from tfar.core.conditions import Label, Vector
from tfar.core.event import Event
from tfar.core.protocols import Condition, EventShape, Head
from tfar.layers import CausalConv1D, ConditionalBias, GatedActivation
from tfar.layers.composite import Composite
from tfar.models.autoregressive import AutoregressiveModel

ACTIVATIONS = ("gated", "relu")
DILATIONS = ("linear", "exponential")


@keras.saving.register_keras_serializable("tfar")
class CausalConvBlock(Composite):
    r"""One causal convolution with its activation: [B, T, F] -> [B, T, filters].

    x --- k taps, dilated --- gate (or + V h, ReLU) --- 1 x 1 --- add -->        (no residual in the first layer,
      \____________________________________________________________/              which sees strictly before t)
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        dilation_rate: int,
        first: bool,
        activation: str,
        dropout: float,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.first, self.gated = first, activation == "gated"
        width = 2 * filters if self.gated else filters
        self.convolution = CausalConv1D(width, kernel_size, dilation_rate, exclusive=first)
        self.activation = GatedActivation() if self.gated else ConditionalBias()
        self.dropout = keras.layers.Dropout(dropout)
        self.project = keras.layers.Dense(filters)

    def call(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """[B, T, F] -> [B, T, filters]."""
        y = self.activation(self.convolution(x), condition)
        y = self.project(self.dropout(y if self.gated else tf.nn.relu(y)))
        return y if self.first else x + y


@keras.saving.register_keras_serializable("tfar")
class CausalConvNetwork(Composite):
    """Blocks, then ReLU, 1 x 1, ReLU, 1 x 1: [B, T, F] -> [B, T, outputs]."""

    def __init__(self, blocks: list[CausalConvBlock], head_filters: int, outputs: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.blocks = blocks
        self.hidden = keras.layers.Dense(head_filters)
        self.outputs = keras.layers.Dense(outputs)

    def call(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """Parameters of the head for every element."""
        for block in self.blocks:
            x = block(x, condition)
        return self.outputs(tf.nn.relu(self.hidden(tf.nn.relu(x))))


@keras.saving.register_keras_serializable("tfar")
class CausalConvNet(AutoregressiveModel):
    """A density over sequences by masked temporal convolution; the number of weights does not depend on the length.

    Args:
        event_shape: (length,), (None,) for any length, or (height, width, channels), read in raster order.
        head: distribution of an element.
        filters: feature maps of every layer.
        num_layers: causal convolutions L, the first one included.
        kernel_size: taps k of every convolution (paper: 2).
        dilations: "exponential" (1, 2, 4, ...; figure 3), "linear" (1, 1, 1, ...; figure 2), or one number per layer.
        activation: "gated" (tanh * sigmoid) or "relu".
        head_filters: features of the 1 x 1 layer in front of the outputs; `filters` by default.
        condition: `Label` or `Vector`.
        dropout: rate behind every activation.
        embedding_dim: size of a learned embedding of the input values; None feeds scaled values.
        **kwargs: name and dtype.

    Raises:
        ValueError: an argument is out of range, or the condition is a map.

    Example:
        >>> import tfar
        >>> model = tfar.models.CausalConvNet((16,), tfar.heads.Categorical(4), filters=4, num_layers=3)
        >>> model.receptive_field
        8
        >>> x = model.sample(2, seed=0, jit_compile=False)
        >>> tuple(x.shape), tuple(model.log_prob(x).shape)
        ((2, 16), (2,))
    """

    CONDITIONS = (Label, Vector)
    PRESETS = {
        "causal_conv_net_tiny": {"filters": 4, "num_layers": 3},
        "causal_conv_net_small": {"filters": 32, "num_layers": 8},
        # The receptive fields 5 and 16 are the paper's; it does not give the number of maps.
        "causal_conv_net_wavenet_figure2": {"filters": 32, "num_layers": 4, "dilations": "linear"},
        "causal_conv_net_wavenet_figure3": {"filters": 32, "num_layers": 4, "dilations": "exponential"},
    }

    def __init__(
        self,
        event_shape: EventShape,
        head: Head,
        filters: int = 32,
        num_layers: int = 8,
        kernel_size: int = 2,
        dilations: str | Sequence[int] = "exponential",
        activation: str = "gated",
        head_filters: int | None = None,
        condition: Condition | None = None,
        dropout: float = 0.0,
        embedding_dim: int | None = None,
        **kwargs: Any,
    ):
        event = Event(event_shape, head, "sequence")
        check_sizes(num_layers=num_layers)
        check_choice(ACTIVATIONS, activation=activation)
        rates = _dilation_rates(dilations, num_layers)
        blocks = [
            CausalConvBlock(filters, kernel_size, rate, index == 0, activation, dropout)
            for index, rate in enumerate(rates)
        ]
        network = CausalConvNetwork(blocks, head_filters or filters, event.num_outputs)
        super().__init__(network, event_shape, head, condition, None, embedding_dim, "sequence", **kwargs)
        self.dilation_rates = rates

    @property
    def receptive_field(self) -> int:
        """R: x_t depends on x_(t-1), ..., x_(t-R)."""
        return 1 + (self.kernel_size - 1) * sum(self.dilation_rates)


def _dilation_rates(dilations: str | Sequence[int], num_layers: int) -> list[int]:
    if isinstance(dilations, str):
        if dilations not in DILATIONS:
            raise ValueError(f"dilations must be one of {DILATIONS} or a list of numbers, got {dilations!r}")
        return [2**index if dilations == "exponential" else 1 for index in range(num_layers)]
    rates = [int(rate) for rate in dilations]
    if len(rates) != num_layers or min(rates) < 1:
        raise ValueError(f"dilations must be {num_layers} positive numbers, one per layer, got {rates}")
    return rates
