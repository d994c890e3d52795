"""Tests of `tfar.data.transforms`."""

import numpy as np
import pytest

from tfar.data import transforms as transforms_lib
from tfar.data.transforms import Binarize, DynamicBinarize, ReduceBits, resolve


def test_binarize_threshold():
    """1 where x >= threshold * (levels - 1)."""
    x = np.arange(256, dtype=np.uint8)[None]
    binary, levels = Binarize()(x, 256)
    assert levels == 2 and binary.dtype == np.uint8 and binary.sum() == 128 and binary[0, 128]
    assert Binarize(1.0)(x, 256)[0].sum() == 1
    assert Binarize()(np.arange(17), 17)[0].tolist() == [0] * 8 + [1] * 9


def test_dynamic_binarize_is_bernoulli(rng):
    """The mean of many draws is x / (levels - 1); the ends are certain."""
    x = np.tile(np.array([0, 4, 8, 16], np.uint8), (20_000, 1))
    drawn, levels = DynamicBinarize()(x, 17, rng)
    assert levels == 2 and drawn.dtype == np.uint8
    np.testing.assert_allclose(drawn.mean(0), [0, 0.25, 0.5, 1], atol=0.015)
    assert not drawn[:, 0].any() and drawn[:, 3].all()


def test_dynamic_binarize_is_deterministic():
    """The draw is a function of the generator's seed."""
    x = np.full((5000, 3), 100, np.uint8)
    draws = [DynamicBinarize()(x, 256, np.random.default_rng(seed))[0] for seed in (1, 1, 2)]
    assert np.array_equal(draws[0], draws[1]) and not np.array_equal(draws[0], draws[2])


def test_reduce_bits():
    """A right shift; 2^16 levels become uint8 where they fit."""
    x, levels = ReduceBits(4)(np.array([[0, 15, 16, 255]], np.uint8), 256)
    assert (x.tolist(), levels, x.dtype) == ([[0, 0, 1, 15]], 16, np.uint8)
    x, levels = ReduceBits(8)(np.array([[65_535]], np.int32), 65_536)
    assert (x.tolist(), levels, x.dtype) == ([[255]], 256, np.uint8)
    assert ReduceBits(1)(np.array([[0, 1]]), 2)[0].tolist() == [[0, 1]]


@pytest.mark.parametrize("transform", [Binarize(0.3), DynamicBinarize(), ReduceBits(5)])
def test_strings_round_trip(transform):
    """A transform is its string, which is what a run config stores."""
    assert resolve(str(transform)) == (transform,) == resolve([transform])


def test_resolve():
    """One or several, strings or objects."""
    assert resolve("binarize") == (Binarize(0.5),)
    assert resolve(["bits:4", DynamicBinarize()]) == (ReduceBits(4), DynamicBinarize())
    assert resolve(()) == ()


def test_chain_and_descriptions(rng):
    """Levels pass through a chain; only random transforms say when they are drawn."""
    chain = resolve(["bits:4", "dynamic_binarize"])
    assert transforms_lib.output_levels(chain, 256) == 2
    assert transforms_lib.apply(chain, np.full((2, 3), 255, np.uint8), 256, rng).all()
    assert transforms_lib.describe(chain, "drawn once") == (
        "bits=4",
        "binarization=dynamic (drawn once)",
    )


@pytest.mark.parametrize("spec", ["binarise", "bits", "bits:x", "bits:0", "bits:17", "binarize:", "binarize:0", 3, [3]])
def test_bad_specs(spec, one_line_error):
    """An unknown or malformed transform is named."""
    one_line_error(ValueError, "transforms", resolve, spec)


def test_errors(one_line_error, rng):
    """Continuous data, a wrong number of levels, no generator."""
    x = np.zeros((1, 2), np.uint8)
    for transform in (Binarize(), DynamicBinarize(), ReduceBits(1)):
        one_line_error(ValueError, "needs discrete data", transform, x, None, rng)
    one_line_error(ValueError, "power of two .* got levels=17", ReduceBits(2), x, 17)
    one_line_error(ValueError, "at least 16, got levels=8", ReduceBits(4), x, 8)
    one_line_error(ValueError, "generator must be", DynamicBinarize(), x, 256)
    one_line_error(ValueError, "threshold must be .* got 1.5", Binarize, 1.5)
    one_line_error(ValueError, "bits must be .* got 2.0", ReduceBits, 2.0)
