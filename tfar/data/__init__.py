"""Data sets with written-down splits, their transforms, and deterministic batches."""

from tfar.data.batching import Batches, sequential
from tfar.data.data_info import DataInfo
from tfar.data.loading import load, load_arrays
from tfar.data.transforms import Binarize, DynamicBinarize, ReduceBits
from tfar.data.windows import WindowBatches

__all__ = [
    "Batches",
    "Binarize",
    "DataInfo",
    "DynamicBinarize",
    "ReduceBits",
    "WindowBatches",
    "load",
    "load_arrays",
    "sequential",
]
