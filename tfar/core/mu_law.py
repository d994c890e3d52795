"""mu-law companding: a sound wave in [-1, 1] as one of `levels` codes, finer where it is quiet."""

from __future__ import annotations

import numpy as np


def mu_law_encode(x: np.ndarray, levels: int = 256) -> np.ndarray:
    """Samples to codes: y = sign(x) ln(1 + mu |x|) / ln(1 + mu), code = floor((y + 1) / 2 mu + 1/2), mu = levels - 1.

    Args:
        x: float samples, any shape; what lies outside of [-1, 1] is clipped.
        levels: number of codes, at least 2.

    Returns:
        int32 codes 0 ... levels - 1, shape of `x`. Silence (0) has the code levels / 2.

    Raises:
        ValueError: `levels` is too small, or samples are not finite.

    References:
        ITU-T Recommendation G.711; van den Oord et al., WaveNet, 2016, section 2.2.

    Example:
        >>> mu_law_encode(np.array([-1.0, 0.0, 0.01, 1.0])).tolist()
        [0, 128, 157, 255]
    """
    mu = _mu(levels)
    x = np.asarray(x, np.float64)
    if not np.isfinite(x).all():
        raise ValueError("x must hold finite samples")
    y = np.sign(x) * np.log1p(mu * np.minimum(np.abs(x), 1.0)) / np.log1p(mu)
    return np.floor((y + 1) / 2 * mu + 0.5).astype(np.int32)


def mu_law_decode(codes: np.ndarray, levels: int = 256) -> np.ndarray:
    """Codes to samples, the inverse of `mu_law_encode` up to rounding: encode(decode(code)) = code for every code.

    Args:
        codes: integers 0 ... levels - 1, any shape.
        levels: number of codes.

    Returns:
        float32 samples in [-1, 1], shape of `codes`.

    Raises:
        ValueError: a code is out of range.

    Example:
        >>> codes = np.arange(256)
        >>> bool((mu_law_encode(mu_law_decode(codes)) == codes).all())
        True
    """
    mu = _mu(levels)
    codes = np.asarray(codes)
    if codes.size and (codes.min() < 0 or codes.max() >= levels):
        raise ValueError(f"codes must lie in 0 to {levels - 1}, got {codes.min()} to {codes.max()}")
    # In float32, as the reference has it: near silence the difference cancels, which shows in the fifth digit.
    y = np.float32(2) * (codes.astype(np.float32) / np.float32(mu)) - np.float32(1)
    return (np.sign(y) * np.expm1(np.abs(y).astype(np.float64) * np.log1p(mu)) / mu).astype(np.float32)


def _mu(levels: int) -> int:
    if levels < 2:
        raise ValueError(f"levels must be at least 2, got {levels}")
    return levels - 1
