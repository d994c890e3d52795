"""mu-law codes."""

import pathlib

import numpy as np
import pytest

from tfar.core.mu_law import mu_law_decode, mu_law_encode

GOLDEN = np.load(pathlib.Path(__file__).resolve().parent.parent / "golden" / "mulaw_ibab.npz")


def test_golden_codes():
    np.testing.assert_array_equal(mu_law_encode(GOLDEN["x"]), GOLDEN["enc"])
    np.testing.assert_allclose(mu_law_decode(GOLDEN["codes"]), GOLDEN["dec"], rtol=1e-5)


def test_facts():
    assert mu_law_encode(np.array([0.0, -1.0, 1.0, -3.0, 3.0])).tolist() == [128, 0, 255, 0, 255]
    codes = np.arange(256)
    np.testing.assert_array_equal(mu_law_encode(mu_law_decode(codes)), codes)
    assert np.abs(mu_law_decode(codes)).min() == pytest.approx(8.6e-5, rel=0.01)


def test_errors():
    with pytest.raises(ValueError, match="codes must lie in 0 to 255, got 0 to 256"):
        mu_law_decode(np.array([0, 256]))
    with pytest.raises(ValueError, match="x must hold finite samples"):
        mu_law_encode(np.array([0.0, np.nan]))
    with pytest.raises(ValueError, match="levels must be at least 2"):
        mu_law_encode(np.zeros(1), levels=1)
