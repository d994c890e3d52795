"""Importers of published checkpoints: arrays by their published names into models of this library."""

from tfar.convert.ibab_wavenet import from_ibab_wavenet
from tfar.convert.openai_pixel_cnn_pp import from_openai_pixel_cnn_pp
from tfar.convert.pixel_snail import from_pixel_snail
from tfar.convert.pyramid_pixel_cnn import from_pyramid_pixel_cnn
from tfar.convert.r9y9_wavenet import from_r9y9_wavenet

__all__ = [
    "from_ibab_wavenet",
    "from_openai_pixel_cnn_pp",
    "from_pixel_snail",
    "from_pyramid_pixel_cnn",
    "from_r9y9_wavenet",
]
