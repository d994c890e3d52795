"""The models: one file per paper."""

from tfar.models.autoregressive import AutoregressiveModel
from tfar.models.bayes_net import BayesNet
from tfar.models.causal_conv_net import CausalConvNet
from tfar.models.causal_transformer import CausalTransformer
from tfar.models.char_rnn import CharRNN
from tfar.models.gated_pixel_cnn import GatedPixelCNN
from tfar.models.made import MADE
from tfar.models.per_conditional import PerConditional
from tfar.models.pixel_cnn import PixelCNN
from tfar.models.presets import from_preset, load, presets
from tfar.models.toy_histogram import ToyHistogram
from tfar.models.wavenet import WaveNet

__all__ = [
    "AutoregressiveModel",
    "MADE",
    "BayesNet",
    "CausalConvNet",
    "CausalTransformer",
    "CharRNN",
    "GatedPixelCNN",
    "PixelCNN",
    "PerConditional",
    "ToyHistogram",
    "WaveNet",
    "from_preset",
    "load",
    "presets",
]
