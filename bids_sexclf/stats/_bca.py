"""Compute an interval, and the p-value that agrees with it, from bootstrap draws."""

import numpy as np
from scipy.special import ndtr, ndtri

FEW = 5
"""Draws in a tail from which on it is a normal curve's: so few of them do not tell its shape."""
SLOWEST = 0.1
"""Least share of its pace to which acceleration may slow a deviate."""
UNDEFINED = 0.05
"""Share of undefined draws above which nothing is claimed."""


def acceleration(left_out, stratum):
    """Compute the acceleration (change of the standard error with the estimate) by the jackknife.

    Parameters
    ----------
    left_out : numpy.ndarray of float, shape (blocks,)
        Estimates without one block each.
    stratum : numpy.ndarray of int, shape (blocks,)
        Strata within which blocks are drawn.

    Returns
    -------
    float
        0 where it is undefined.
    """
    cubes = squares = 0.0
    for s in np.unique(stratum):
        values = left_out[stratum == s]
        pull = (1 - 1 / values.size) * (values.mean() - values)
        cubes, squares = cubes + np.sum(pull**3), squares + np.sum(pull**2)
    if not np.isfinite(squares) or squares == 0:
        return 0.0
    return float(np.clip(cubes / squares**1.5 / 6, -0.25, 0.25))


def _below(draws, value):
    """Return the share of draws below a value; ties count half; never exactly 0 or 1."""
    margin = 1e-12 * max(abs(value), np.abs(draws).max())
    share = (np.mean(draws < value - margin) + np.mean(draws <= value + margin)) / 2
    return np.clip(share, 0.5 / draws.size, 1 - 0.5 / draws.size)


def interval(draws, estimate, speed, level, factor=1.0):
    """Compute the bias-corrected and accelerated interval (BCa).

    Parameters
    ----------
    draws : numpy.ndarray of float, shape (n,)
        Estimates of the resamples; undefined ones are ``nan``.
    estimate : float
    speed : float
        See :func:`acceleration`.
    level : float
        Coverage, in (0, 1).
    factor : float
        Variance to tell over that of the draws: the interval reaches out by its root more
        standard errors.

    Returns
    -------
    low, high : float
        Both ``nan`` if the estimate or more than one draw in twenty is undefined, or if
        all draws are equal: constant data do not show their variability.

    References
    ----------
    .. [1] Efron (1987). J. Am. Stat. Assoc. 82, 171. doi:10.1080/01621459.1987.10478410
    """
    defined = draws[np.isfinite(draws)]
    if not np.isfinite(estimate) or defined.size < (1 - UNDEFINED) * draws.size:
        return np.nan, np.nan
    if np.ptp(defined) <= 1e-12 * np.abs(defined).max():
        return np.nan, np.nan
    bias = ndtri(_below(defined, estimate))
    # A variance doubled by an independent equal part divides the skewness by the root of two.
    root = np.sqrt(factor)
    shifted = bias + root * ndtri([(1 - level) / 2, (1 + level) / 2])
    slowed = np.maximum(1 - speed / root * shifted, SLOWEST)
    low, high = (_value_at(defined, z) for z in bias + shifted / slowed)
    return low, high


def p_of_zero(draws, estimate, speed, factor=1.0):
    """Compute the two-sided p-value of zero: 1 - level of the interval whose end is zero.

    Parameters
    ----------
    draws, estimate, speed, factor
        See :func:`interval`.

    Returns
    -------
    float
        In [1 / (n + 1), 1]; 1 if all draws are zero, ``nan`` where there is no interval. Apart
        from the resolution of single draws, p is smaller than 1 - level if and only if the
        interval of that level excludes zero.
    """
    defined = draws[np.isfinite(draws)]
    if not np.isfinite(estimate) or defined.size < (1 - UNDEFINED) * draws.size:
        return np.nan
    if not defined.any():
        return 1.0
    bias = ndtri(_below(defined, estimate))
    distance = _deviate_of(defined, 0.0) - bias
    root = np.sqrt(factor)
    z = (distance / max(1 + speed / root * distance, SLOWEST) - bias) / root
    return float(np.clip(2 * min(ndtr(z), ndtr(-z)), 1 / (defined.size + 1), 1))


def _tails(draws):
    """Return deviate, value and slope at the start of the lower and the upper tail, or None."""
    shares = np.array([1, 4]) * FEW / draws.size
    if shares[1] >= 0.5:
        return None
    ends = []
    for side in (shares, 1 - shares):
        (outer, inner), z = np.quantile(draws, side), ndtri(side)
        slope = (inner - outer) / (z[1] - z[0])
        ends.append((z[0], outer, slope if slope > 0 else np.std(draws)))
    return ends


def _value_at(draws, z):
    """Return the value at a normal deviate: a quantile, or a line beyond the last few draws."""
    tails = _tails(draws)
    if tails and np.isfinite(z):
        (low, first, rise), (high, last, fall) = tails
        if z < low:
            return float(first + rise * (z - low))
        if z > high:
            return float(last + fall * (z - high))
    return float(np.quantile(draws, ndtr(z)))


def _deviate_of(draws, value):
    """Return the normal deviate of a value, the inverse of ``_value_at``; ties count half."""
    tails = _tails(draws)
    if tails:
        (low, first, rise), (high, last, fall) = tails
        if value < first:
            return low + (value - first) / rise
        if value > last:
            return high + (value - last) / fall
    return ndtri(_below(draws, value))
