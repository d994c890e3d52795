"""Tiny models of sequences."""

from __future__ import annotations

from tfar import heads, models
from tfar.core.conditions import Label, Local, Vector
from tfar.testing.blind import blind_of_causal_conv_net, blind_of_wavenet
from tfar.testing.registry.cases import ModelCase, tiny

_causal = tiny(models.CausalConvNet, filters=4, num_layers=3, blind=blind_of_causal_conv_net)
_transformer = tiny(models.CausalTransformer, width=8, num_layers=1, num_heads=2)
_rnn = tiny(models.CharRNN, units=4)
_wavenet = tiny(
    models.WaveNet, residual_channels=4, dilation_channels=3, skip_channels=5, dilations=[1, 2], blind=blind_of_wavenet
)

SEQUENCES: list[ModelCase] = [
    _causal(
        "gated", (8,), heads.Categorical(3), condition=Label(3), enumerable=True, representative=True, runtimes=True
    ),
    _causal(
        "relu", (12,), heads.Categorical(5), activation="relu", dilations=[2, 4, 1], kernel_size=3, condition=Vector(2)
    ),
    _transformer(
        "learned", (5,), heads.Categorical(3), condition=Label(3), enumerable=True, representative=True, runtimes=True
    ),
    _transformer(
        "rotary", (6,), heads.Categorical(4), num_layers=2, positions="rotary", activation="relu", vocabulary="ehlo"
    ),
    _transformer("continuous", (4,), heads.Mixture("Normal", 2), condition=Vector(2)),
    _rnn("lstm", (6,), heads.Categorical(3), condition=Label(2), enumerable=True, representative=True, runtimes=True),
    _rnn("gru", (5,), heads.Categorical(4), cell="gru", vocabulary="ehlo", embedding_dim=2),
    _rnn("vanilla", (2, 2, 2), heads.Bernoulli(), units=5, cell="vanilla", condition=Vector(2), enumerable=True),
    _wavenet("one_hot", (7,), heads.Categorical(3), condition=Label(3), enumerable=True, representative=True),
    _wavenet(
        "local",
        (12,),
        heads.Categorical(5),
        condition=Local(2, hop=4),
        upsampling="transposed",
        embedding_dim=3,
        runtimes=True,
    ),
    _wavenet(
        "logistic",
        (10,),
        heads.DiscretizedLogisticMixture(2, bits=16),
        kernel_size=3,
        first_kernel_size=1,
        first_bias=True,
        residual_scale=0.7,
        skip_scale=0.5,
        condition=Vector(2),
    ),
]
