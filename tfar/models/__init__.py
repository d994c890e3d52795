"""The models: one file per paper."""

from tfar.models.autoregressive import AutoregressiveModel
from tfar.models.gated_pixel_cnn import GatedPixelCNN
from tfar.models.presets import from_preset, load, presets

__all__ = ["AutoregressiveModel", "GatedPixelCNN", "from_preset", "load", "presets"]
