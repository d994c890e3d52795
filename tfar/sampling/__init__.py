"""Samplers with one interface: the naive one (the oracle), the incremental one, and fixed-point iteration.

    state = sampler.start(stage, inputs, context)                            what is known lies on the canvas
    state = sampler.advance(stage, state, inputs, context, start, stop)      units start, ..., stop - 1
    values = sampler.values(stage, state, context)                           [B, *grid, C]

A unit is a row of an image, or a position of a sequence (for the naive sampler: always a cell). `start` and `stop` may
be tensors, so that one compiled function serves every chunk of a long job; `spans(stage, first, units, chunks)` names
them, and `known(stage, length, units)` says how many known units are read at once. Orders with equal ranks have a
sampler of their own, `by_rank`.

Sequences of symbols can also be decoded: `decode` (by chance or greedily, with a draft model if wished), `stream` (the
same, piece by piece) and `beam_search`.
"""

from tfar.sampling import by_rank, incremental, naive
from tfar.sampling.beams import Beams, beam_search
from tfar.sampling.decoding import Decoded, decode, stream
from tfar.sampling.fixed_point import FixedPoint, Passes
from tfar.sampling.inputs import SampleInputs
from tfar.sampling.speculative import Speculation

__all__ = [
    "Beams",
    "Decoded",
    "FixedPoint",
    "Passes",
    "SampleInputs",
    "Speculation",
    "beam_search",
    "by_rank",
    "decode",
    "incremental",
    "naive",
    "stream",
]
