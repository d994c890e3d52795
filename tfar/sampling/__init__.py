"""Samplers: the naive one (the oracle) and the incremental one, with one interface.

    carry = sampler.start(stage, values, context)                     # known values [B, *grid, C]
    carry = sampler.advance(stage, carry, draw, context, start, stop)  # units start, ..., stop - 1
    values = sampler.values(stage, carry)

A unit is a row of an image, or a position of a sequence (for the naive sampler: always a position). `start` and
`stop` may be tensors, so that one compiled function serves every chunk of a long job.

Sequences of symbols can also be decoded: `decode` (by chance or greedily), `stream` (the same, piece by piece) and
`beam_search`.
"""

from tfar.sampling import incremental, naive
from tfar.sampling.beams import Beams, beam_search
from tfar.sampling.decoding import Decoded, decode, stream
from tfar.sampling.draw import Draw

__all__ = ["Beams", "Decoded", "Draw", "beam_search", "decode", "incremental", "naive", "stream"]
