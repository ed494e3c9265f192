"""Columns of a linear model for confounds: linear splines for numbers, 0 and 1 for sites."""

import numpy as np

from bids_sexclf.errors import InputError

ONE_KNOT, TWO_KNOTS = 50, 100
"""People from which on a number gets one knot, and two."""


def spline_columns(values):
    """Return a number as a linear spline, so that a linear model can fit a curved effect.

    Parameters
    ----------
    values : array_like of float, shape (n,)
        Finite, in any unit, such as brain volumes in mL.

    Returns
    -------
    numpy.ndarray of float, shape (n, k)
        The standardised number, and its part above each knot. There is a knot at the median from
        50 people on, and knots at both terciles from 100 people on. No columns where the number
        does not vary; no knots where it has fewer than six different values.

    Raises
    ------
    InputError
        If a value is not finite.

    Examples
    --------
    >>> spline_columns([1.0, 2.0, 3.0]).round(2).tolist()
    [[-1.22], [0.0], [1.22]]
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise InputError(
            f"Found a confound of shape {values.shape} with {int((~np.isfinite(values)).sum())} "
            "unknown values, needed one known number per person. Leave out who has none."
        )
    spread = values.std()
    if not spread > 1e-9 * max(1.0, np.abs(values).max()):
        return np.empty((values.size, 0))
    scaled = (values - values.mean()) / spread
    knots = 0 if values.size < ONE_KNOT else 1 if values.size < TWO_KNOTS else 2
    if len(np.unique(values)) < 6:
        knots = 0
    at = np.quantile(scaled, np.arange(1, knots + 1) / (knots + 1))
    return np.column_stack([scaled, *(np.maximum(scaled - knot, 0) for knot in at)])


def dummy_columns(labels):
    """Return labels as columns of 0 and 1, one for each label.

    Parameters
    ----------
    labels : array_like, shape (n,)

    Returns
    -------
    numpy.ndarray of float, shape (n, labels)

    Examples
    --------
    >>> dummy_columns(["a", "b", "a"]).tolist()
    [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]
    """
    _, code = np.unique(np.asarray(labels), return_inverse=True)
    return (code[:, None] == np.arange(code.max() + 1)).astype(float)


def orthonormal(columns):
    """Compute an orthonormal basis of the span of columns.

    Parameters
    ----------
    columns : numpy.ndarray of float, shape (n, k)

    Returns
    -------
    numpy.ndarray of float, shape (n, rank)
        The rank is smaller than k where columns depend on each other.
    """
    if not columns.shape[1]:
        return columns
    length = np.sqrt(np.sum(columns**2, axis=0))
    scaled = columns[:, length > 0] / length[length > 0]
    basis, size, _ = np.linalg.svd(scaled, full_matrices=False)
    return basis[:, size > 1e-8 * size.max(initial=0)]
