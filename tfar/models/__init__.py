"""The models: one file per paper."""

from tfar.models.autoregressive import AutoregressiveModel
from tfar.models.bayes_net import BayesNet
from tfar.models.causal_conv_net import CausalConvNet
from tfar.models.causal_transformer import CausalTransformer
from tfar.models.chain import Chain
from tfar.models.char_rnn import CharRNN
from tfar.models.gated_pixel_cnn import GatedPixelCNN
from tfar.models.grayscale_pixel_cnn import GrayscalePixelCNN
from tfar.models.image_transformer import ImageTransformer
from tfar.models.loading import load
from tfar.models.locally_masked_pixel_cnn import LocallyMaskedPixelCNN
from tfar.models.made import MADE
from tfar.models.masked_attention import MaskedAttention
from tfar.models.multiscale_pixel_cnn import MultiscalePixelCNN
from tfar.models.part import Part
from tfar.models.per_conditional import PerConditional
from tfar.models.pixel_cnn import PixelCNN
from tfar.models.pixel_cnn_autoencoder import PixelCNNAutoencoder
from tfar.models.pixel_cnn_pp import PixelCNNPP
from tfar.models.pixel_rnn import PixelRNN
from tfar.models.pixel_snail import PixelSNAIL
from tfar.models.presets import from_preset, presets
from tfar.models.pyramid_pixel_cnn import PyramidPixelCNN
from tfar.models.subscale_pixel_network import SubscalePixelNetwork
from tfar.models.toy_histogram import ToyHistogram
from tfar.models.wavenet import WaveNet

__all__ = [
    "AutoregressiveModel",
    "MADE",
    "BayesNet",
    "CausalConvNet",
    "CausalTransformer",
    "Chain",
    "CharRNN",
    "GatedPixelCNN",
    "GrayscalePixelCNN",
    "ImageTransformer",
    "LocallyMaskedPixelCNN",
    "MaskedAttention",
    "MultiscalePixelCNN",
    "Part",
    "PixelCNN",
    "PixelCNNAutoencoder",
    "PixelCNNPP",
    "PixelSNAIL",
    "PixelRNN",
    "PerConditional",
    "PyramidPixelCNN",
    "SubscalePixelNetwork",
    "ToyHistogram",
    "WaveNet",
    "from_preset",
    "load",
    "presets",
]
