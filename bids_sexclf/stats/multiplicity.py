"""Correct p-values for multiple tests."""

import numpy as np

from bids_sexclf.errors import InputError


def check_p(p):
    """Check p-values, and return them as floats.

    Parameters
    ----------
    p : array_like of float, shape (tests,)

    Returns
    -------
    numpy.ndarray of float, shape (tests,)

    Raises
    ------
    InputError
        If the shape is wrong, or a value is missing or outside [0, 1].
    """
    p = np.asarray(p, dtype=float)
    if p.ndim != 1:
        raise InputError(
            f"Found p-values of shape {p.shape}, needed (tests,): correct one family of tests "
            "at a time."
        )
    bad = np.flatnonzero(~((p >= 0) & (p <= 1)))
    if bad.size:
        raise InputError(
            f"Found {bad.size} of {p.size} p-values missing or outside [0, 1] (first: {p[bad[0]]} "
            f"at {bad[0]}), needed none: leave tests that were not made out of the family."
        )
    return p


def holm(p):
    """Correct p-values by Holm's method, which controls the family-wise error.

    Parameters
    ----------
    p : array_like of float, shape (tests,)
        In [0, 1].

    Returns
    -------
    numpy.ndarray of float, shape (tests,)
        In [0, 1], in the same order. Rejecting those below alpha keeps the family-wise
        error below alpha, for any dependence of the tests.

    Raises
    ------
    InputError
        If a p-value is missing or outside [0, 1].

    References
    ----------
    .. [1] Holm (1979). Scand. J. Stat. 6, 65. https://www.jstor.org/stable/4615733

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03]).round(4).tolist()
    [0.03, 0.06, 0.06]
    """
    p = check_p(p)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    return np.minimum(adjusted, 1)


def benjamini_hochberg(p):
    """Correct p-values by Benjamini and Hochberg, which controls the false discovery rate.

    Parameters
    ----------
    p : array_like of float, shape (tests,)
        In [0, 1].

    Returns
    -------
    numpy.ndarray of float, shape (tests,)
        In [0, 1], in the same order. Rejecting those below q keeps the false discovery
        rate below q for independent or positively dependent tests.

    Raises
    ------
    InputError
        If a p-value is missing or outside [0, 1].

    References
    ----------
    .. [1] Benjamini & Hochberg (1995). J. R. Stat. Soc. B 57, 289.
       doi:10.1111/j.2517-6161.1995.tb02031.x

    Examples
    --------
    >>> benjamini_hochberg([0.01, 0.04, 0.03]).round(4).tolist()
    [0.03, 0.04, 0.04]
    """
    p = check_p(p)
    falling = np.argsort(p, kind="stable")[::-1]
    adjusted = np.empty_like(p)
    scaled = p[falling] * p.size / np.arange(p.size, 0, -1)
    adjusted[falling] = np.minimum.accumulate(scaled)
    return np.minimum(adjusted, 1)
