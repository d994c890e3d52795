r"""WaveNet: dilated gated convolutions over raw audio, with global and local conditions.

    p(x | h) = prod_t p(x_t | x_(t-1), ..., x_(t-R), h)

    x_(t-1) --- first convolution ---> block 1 ---> block 2 ---> ...
                                        z_1|         z_2|
                                           +---- + -----+---- ... ---> ReLU, 1 x 1, ReLU, 1 x 1, head

    R = taps of the first convolution + (k - 1) (sum of the dilations), the receptive field

Reference:
    van den Oord, Dieleman, Zen, Simonyan, Vinyals, Graves, Kalchbrenner, Senior, Kavukcuoglu,
    WaveNet: A Generative Model for Raw Audio, 2016.

Differences from the paper:
    The output at t is the distribution of x_t, in the paper that of x_(t+1): here p(x_1) exists.
    Any head: besides the 256-way softmax of mu-law codes, for instance a mixture of logistics on 16 bits.
    Factors on residual and skip outputs, and a choice of up-sampling networks, so that the public implementations
    tensorflow-wavenet and wavenet_vocoder are special cases (`tfar.convert`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfar.core.conditions import Joint, Label, Local, Vector
from tfar.core.event import Event
from tfar.core.protocols import Condition, EventShape, Head
from tfar.core.request import Request
from tfar.layers import AlignedSequence, CausalConv1D, GatedActivation, SkipSum, Upsampling1D
from tfar.layers.composite import Composite
from tfar.models.autoregressive import AutoregressiveModel

INPUTS = ("one_hot", "scaled", "embedding")


@keras.saving.register_keras_serializable("tfar")
class WaveNetBlock(Composite):
    r"""Sections 2.3 and 2.5: [B, T, residual] -> the next block's input, and the gate z [B, T, dilation].

    x --- k taps, dilated, + V h + V y --- tanh * sigmoid --+--- 1 x 1 --- add, scale -->
      \_____________________________________________________|_____________/
                                                            z --> skip outputs
    """

    def __init__(self, filters: int, gates: int, convolution: dict[str, Any], options: dict[str, Any], **kwargs: Any):
        super().__init__(**kwargs)
        bias, self.scale = convolution["use_bias"], options["residual_scale"]
        self.dropout = keras.layers.Dropout(options["dropout"])
        # The first element stands for "nothing yet"; the next block reads a block's output for it as zero padding.
        self.convolution = CausalConv1D(2 * gates, ignore_first=True, **convolution)
        self.local = keras.layers.Dense(2 * gates, use_bias=False) if options["local"] else None
        self.gate = GatedActivation()
        self.residual = keras.layers.Dense(filters, use_bias=bias) if options["residual"] else None

    def call(
        self, x: tf.Tensor, projected: tf.Tensor | None = None, local: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Input, V h [B, 2 dilation] and y [B, T, C] -> output [B, T, residual] and z [B, T, dilation]."""
        y = self.convolution(self.dropout(x))
        if projected is not None:
            y = y + projected[:, None]
        if local is not None:
            y = y + self.local(local)
        z = self.gate(y)
        return x if self.residual is None else (x + self.residual(z)) * self.scale, z


@keras.saving.register_keras_serializable("tfar")
class WaveNetNetwork(Composite):
    """First convolution, blocks, sum of the skip outputs, ReLU, 1 x 1, ReLU, 1 x 1: [B, T, F] -> [B, T, outputs]."""

    def __init__(
        self,
        first: CausalConv1D,
        blocks: list[WaveNetBlock],
        skip: SkipSum,
        head: tuple[keras.layers.Layer, keras.layers.Layer],
        projection: keras.layers.Layer,
        upsampling: Upsampling1D | None,
        local_delay: int,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.first, self.blocks, self.skip, (self.hidden, self.outputs) = first, blocks, skip, head
        self.projection, self.upsampling, self.local_delay = projection, upsampling, local_delay
        self.aligned = None if upsampling is None else AlignedSequence()

    def prepare(self, vector: tf.Tensor | None, frames: tf.Tensor | None) -> dict[str, tf.Tensor]:
        """Computes what all steps share: V h of every block [B, L, 2 dilation], and y [B, S, C]."""
        context = {}
        if vector is not None:
            projected = self.projection(vector)
            context["projected"] = tf.reshape(
                projected, [-1, len(self.blocks), projected.shape[-1] // len(self.blocks)]
            )
        if frames is not None:
            context["local"] = tf.pad(self.upsampling(frames), [[0, 0], [self.local_delay, 0], [0, 0]])
        return context

    def call(self, x: tf.Tensor, context: dict[str, tf.Tensor] | None = None) -> tf.Tensor:
        """Parameters of the head for every element."""
        projected, local = (None, None) if context is None else (context.get("projected"), context.get("local"))
        if local is not None:
            local = self.aligned(x, local)
        x, gates = self.first(x), []
        for index, block in enumerate(self.blocks):
            x, z = block(x, None if projected is None else projected[:, index], local)
            gates.append(z)
        y = self.skip(tf.concat(gates, -1))
        return self.outputs(tf.nn.relu(self.hidden(tf.nn.relu(y))))


def _sizes(channels: int, skip_channels: int, num_stacks: int, layers_per_stack: int) -> dict[str, Any]:
    return {
        "residual_channels": channels,
        "dilation_channels": channels,
        "skip_channels": skip_channels,
        "num_stacks": num_stacks,
        "layers_per_stack": layers_per_stack,
    }


@keras.saving.register_keras_serializable("tfar")
class WaveNet(AutoregressiveModel):
    """A density over sequences of any length, built for audio.

    Args:
        event_shape: (None,) for any length, or (length,).
        head: `Categorical(256)` for mu-law codes, `DiscretizedLogisticMixture(K, bits=16)` for 16-bit samples.
        residual_channels: features between blocks.
        dilation_channels: features of a gate.
        skip_channels: features of the summed skip outputs.
        head_channels: features in front of the outputs; `skip_channels` by default.
        num_stacks: repetitions of the dilations 1, 2, 4, ... (paper: 1 to 512, repeated).
        layers_per_stack: blocks of a repetition.
        dilations: one dilation per block, instead of these two.
        kernel_size: taps k of the dilated convolutions (paper: 2).
        first_kernel_size: taps of the first convolution; `kernel_size` by default.
        condition: `Label` or `Vector` for the whole event, `Local` for a slower sequence, or a `Joint` of two.
        inputs: encoding of a value: "one_hot" (paper), "scaled" (one number in [-1, 1]) or "embedding".
            None: "embedding" where `embedding_dim` is given, else "one_hot" up to 256 levels, else "scaled".
        embedding_dim: size of the learned embedding.
        upsampling: method of `tfar.layers.Upsampling1D` ("repeat" and "transposed" are the paper's), or all its
            arguments but hop.
        residual_scale: factor of input plus residual.
        skip_scale: factor of the summed skip outputs.
        use_bias, first_bias: whether there are biases, and one in the first convolution.
        last_residual: give the last block a residual output too, which no layer reads, as public checkpoints have it.
        dropout: rate on the input of every block's convolution.
        **kwargs: name and dtype.

    Raises:
        ValueError: an argument is out of range, or the condition is of another kind.

    Example:
        >>> import tfar
        >>> model = tfar.models.WaveNet((None,), tfar.heads.Categorical(256), 4, 4, 8, num_stacks=1, layers_per_stack=3)
        >>> model.receptive_field
        9
        >>> x = model.sample(2, seed=0, length=16, jit_compile=False)
        >>> tuple(x.shape), tuple(model.log_prob(x).shape)
        ((2, 16), (2,))
    """

    network: WaveNetNetwork

    PRESETS = {
        "wavenet_tiny": _sizes(4, 8, 1, 3),
        "wavenet_small": _sizes(32, 64, 2, 9),
        # 30 layers, dilations to 512: the paper's receptive field; it gives no channels.
        "wavenet_30": _sizes(32, 64, 3, 10),
        "wavenet_30_wide": _sizes(64, 128, 3, 10),
        # Defaults of https://github.com/ibab/tensorflow-wavenet: 1,515,968 parameters.
        "wavenet_ibab": {
            **_sizes(32, 512, 5, 10),
            "event_shape": (None,),
            "head": ("Categorical", 256),
            "last_residual": True,
        },
        # Defaults of https://github.com/r9y9/wavenet_vocoder for 16-bit audio, without conditions.
        "wavenet_r9y9": {
            **_sizes(128, 128, 4, 6),
            "event_shape": (None,),
            "head": ("DiscretizedLogisticMixture", 10, 16),
            "kernel_size": 3,
            "first_kernel_size": 1,
            "first_bias": True,
            "residual_scale": math.sqrt(1 / 2),
            "skip_scale": math.sqrt(1 / 24),
            "last_residual": True,
            "dropout": 0.05,
        },
    }

    def __init__(
        self,
        event_shape: EventShape,
        head: Head,
        residual_channels: int = 32,
        dilation_channels: int = 32,
        skip_channels: int = 128,
        head_channels: int | None = None,
        num_stacks: int = 2,
        layers_per_stack: int = 9,
        dilations: Sequence[int] | None = None,
        kernel_size: int = 2,
        first_kernel_size: int | None = None,
        condition: Condition | None = None,
        inputs: str | None = None,
        embedding_dim: int | None = None,
        upsampling: str | dict[str, Any] = "repeat",
        residual_scale: float = 1.0,
        skip_scale: float = 1.0,
        use_bias: bool = True,
        first_bias: bool = False,
        last_residual: bool = False,
        dropout: float = 0.0,
        **kwargs: Any,
    ):
        event = Event(event_shape, head, "sequence")
        rates = list(dilations or [2**index for index in range(layers_per_stack)] * num_stacks)
        vector, local = _parts(condition)
        levels = event.head.levels
        kind = inputs or ("embedding" if embedding_dim else "one_hot" if levels and levels <= 256 else "scaled")
        if kind not in INPUTS or (kind == "embedding") != bool(embedding_dim):
            raise ValueError(f"inputs must be one of {INPUTS}, and embedding_dim be given for the last, got {inputs!r}")
        options = {"residual_scale": residual_scale, "dropout": dropout, "local": local is not None}
        blocks = [
            WaveNetBlock(
                residual_channels,
                dilation_channels,
                {"kernel_size": kernel_size, "dilation_rate": rate, "use_bias": use_bias},
                {**options, "residual": last_residual or index + 1 < len(rates)},
            )
            for index, rate in enumerate(rates)
        ]
        upsampling = {"method": upsampling} if isinstance(upsampling, str) else dict(upsampling)
        sizes = (head_channels or skip_channels, event.num_outputs)
        network = WaveNetNetwork(
            CausalConv1D(residual_channels, first_kernel_size or kernel_size, exclusive=True, use_bias=first_bias),
            blocks,
            SkipSum(skip_channels, len(rates), skip_scale, use_bias),
            tuple(keras.layers.Dense(size, use_bias=use_bias) for size in sizes),
            None if vector is None else keras.layers.Dense(2 * dilation_channels * len(rates), use_bias=False),
            None if local is None else Upsampling1D(local.hop, **upsampling),
            0 if local is None else local.delay,
        )
        if local is not None:
            condition = _with_extra_frames(condition, network.upsampling.num_extra_frames)
        # Needed while the base class makes the weights, before attributes of the model can be set.
        network.one_hot_levels = levels if kind == "one_hot" else None
        super().__init__(network, event_shape, head, condition, None, embedding_dim, "sequence", **kwargs)
        self.dilation_rates, self.upsampling = rates, upsampling

    @property
    def receptive_field(self) -> int:
        """R: x_t depends on x_(t-1), ..., x_(t-R)."""
        return (self.first_kernel_size or self.kernel_size) + (self.kernel_size - 1) * sum(self.dilation_rates)

    def _encode_cells(self, x: tf.Tensor) -> tf.Tensor:
        """Values [..., 1] -> network input [..., F]."""
        levels = self.network.one_hot_levels
        return super()._encode_cells(x) if levels is None else tf.one_hot(tf.cast(x[..., 0], tf.int32), levels)

    def features(self, request: Request) -> Any:
        """Computes the features of the condition once per event, see `WaveNetNetwork.prepare`."""
        values = request.condition if len(self.condition.parts) > 1 else (request.condition,)
        parts = zip(self.condition.parts, values, strict=True)
        features = {isinstance(part, Local): part.encode(value) for part, value in parts}
        return self.network.prepare(features.get(False), features.get(True))


def _with_extra_frames(condition: Any, frames: int) -> Any:
    """The condition, whose frames are counted as the up-sampling reads them."""
    if isinstance(condition, Joint):
        return Joint([_with_extra_frames(part, frames) for part in condition.parts])
    return condition.with_extra(frames) if isinstance(condition, Local) else condition


def _parts(condition: Condition | None) -> tuple[Condition | None, Local | None]:
    """Returns the condition of the whole event and the local one, None where there is none."""
    parts = () if condition is None else condition.parts
    vectors: list[Condition] = [part for part in parts if isinstance(part, Label | Vector)]
    locals_ = [part for part in parts if isinstance(part, Local)]
    if len(vectors) + len(locals_) != len(parts) or max(len(vectors), len(locals_)) > 1:
        raise ValueError(f"condition must be a Label, a Vector, a Local or a Joint of two kinds, got {condition!r}")
    return next(iter(vectors), None), next(iter(locals_), None)
