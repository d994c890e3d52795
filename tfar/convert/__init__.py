"""Importers of published checkpoints: arrays by their published names into models of this library."""

from tfar.convert.ibab_wavenet import from_ibab_wavenet
from tfar.convert.r9y9_wavenet import from_r9y9_wavenet

__all__ = ["from_ibab_wavenet", "from_r9y9_wavenet"]
