"""Equality up to rounding, on every processor."""

import numpy as np


def assert_close(found, expected, tolerance=1e-5, err_msg=""):
    """|found - expected| <= tolerance times the largest |expected|, or 1 where all are smaller.

    A sum in float32 is off by the rounding of what is summed, however small the sum itself is: processors and numbers
    of threads add in different orders.
    """
    size = max(1.0, float(np.abs(np.asarray(expected)).max(initial=0)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * size, err_msg=err_msg)
