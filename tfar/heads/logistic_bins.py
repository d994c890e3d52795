"""One logistic, discretized."""

from __future__ import annotations

import tensorflow as tf

from tfar.core.protocols import Tensor


def _log1mexp(log_d: Tensor) -> Tensor:
    """log(1 - exp(-d)) of d = exp(log_d), accurate and of finite gradient for every d > 0.

        1 - exp(-d) = 2 exp(-y) sinh(y)                              with y = d/2
        log(sinh(y) / y) = y^2/6 - y^4/180 + y^6/2835 - ...

    Below d = 0.1, where 1 - exp(-d) would cancel and d may underflow, three terms of the series
    are exact to 1e-15.
    """
    d = tf.exp(log_d)
    small = tf.minimum(d, 0.1)
    square = tf.square(0.5 * small)
    series = log_d - 0.5 * small + square * (1 / 6 - square * (1 / 180 - square / 2835))
    return tf.where(d < 0.1, series, tf.math.log(-tf.math.expm1(-tf.maximum(d, 0.1))))


def log_bin_prob(level: Tensor, loc: Tensor, log_width: Tensor, top: float) -> Tensor:
    """Log probability of `level` when a logistic is rounded to the grid 0 ... top.

    Everything is in units of levels, i.e. of bins: with d = 1/scale the width of a bin in scales,

        a = (level - loc + 1/2) d        b = (level - loc - 1/2) d        a - b = d
        log P = log(sigmoid(a) - sigmoid(b)) = log(1 - exp(-d)) - softplus(-a) - softplus(b)
        level = 0:    log sigmoid(a)       = -softplus(-a)         the edge bins are open-ended
        level = top:  log(1 - sigmoid(b))  = -softplus(b)

    In these units level - loc is exact near loc, so neighbouring bins agree on the edge they share
    and the sum over levels stays 1 in float32. On the [-1, 1] scale the rounding of x - loc would
    be amplified by 1/scale, up to 1097.
    """
    d = tf.exp(log_width)
    a = (level - loc + 0.5) * d
    b = (level - loc - 0.5) * d
    bottom, topmost = tf.equal(level, 0.0), tf.equal(level, float(top))
    zero = tf.zeros([], a.dtype)
    return (
        tf.where(bottom | topmost, zero, _log1mexp(log_width))
        - tf.where(topmost, zero, tf.math.softplus(-a))
        - tf.where(bottom, zero, tf.math.softplus(b))
    )
