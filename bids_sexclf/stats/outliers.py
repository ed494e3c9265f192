"""Find robust outliers among the values of a cohort."""

import numpy as np

LIMIT = 3.5
"""Robust standard deviations from the median at which a value stands out."""

FEWEST = 5
"""Known values below which nothing can stand out."""


def find_outliers(values, bad="both", limit=LIMIT):
    """Find the values that are outliers in the bad direction.

    Parameters
    ----------
    values : array-like, shape (n,)
        Unknown ones are not numbers, and never stand out.
    bad : {"high", "low", "both"}
    limit : float
        In robust standard deviations: 1.4826 times the median absolute deviation; where more than
        half of the values are equal, 1.2533 times the mean absolute deviation.

    Returns
    -------
    outlier : ndarray of bool, shape (n,)
        All False with fewer than five known values.
    distance : ndarray, shape (n,)
        Signed distance from the median in robust standard deviations; NaN where unknown, 0 where
        all values are equal.

    References
    ----------
    Iglewicz and Hoaglin 1993, How to detect and handle outliers, ISBN 978-0-87389-247-6.

    Examples
    --------
    >>> find_outliers([1, 2, 3, 4, 5, 60], "high")[0].tolist()
    [False, False, False, False, False, True]
    """
    values = np.asarray(values, float)
    middle, spread = _middle_and_spread(values)
    # Where all values are equal the numerator is 0, and the divisor does not matter.
    distance = (values - middle) / (spread or 1.0)
    if np.isfinite(values).sum() < FEWEST:
        return np.zeros(values.shape, bool), distance
    wrong = {"high": distance, "low": -distance, "both": np.abs(distance)}[bad]
    return np.nan_to_num(wrong, nan=-1.0) > limit, distance


def find_band(values, limit=LIMIT):
    """Return the lowest and the highest value that is not an outlier.

    Parameters
    ----------
    values : array-like, shape (n,)
    limit : float
        As for `find_outliers`.

    Returns
    -------
    (float, float)
        Infinite with fewer than five known values.
    """
    values = np.asarray(values, float)
    if np.isfinite(values).sum() < FEWEST:
        return -np.inf, np.inf
    middle, spread = _middle_and_spread(values)
    return float(middle - limit * spread), float(middle + limit * spread)


def _middle_and_spread(values):
    """Return the median and the robust standard deviation of the known values."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return np.nan, np.nan
    off = finite - np.median(finite)
    return np.median(finite), 1.4826 * np.median(np.abs(off)) or 1.2533 * np.mean(np.abs(off))
