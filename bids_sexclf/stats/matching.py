"""Match two groups one to one by a number."""

import numpy as np

from bids_sexclf.errors import InputError


def match_pairs(first, second, caliper):
    """Pair members of two groups whose numbers differ by at most a caliper.

    The number of pairs is the largest possible; among such pairings, the sum of differences is
    the smallest.

    Parameters
    ----------
    first : array_like of float, shape (n,)
    second : array_like of float, shape (m,)
        In the same unit.
    caliper : float
        Largest difference within a pair, in that unit.

    Returns
    -------
    ndarray of int, shape (k, 2)
        Indices in `first` and `second`, ascending in `first`; k <= min(n, m).

    Raises
    ------
    InputError
        If numbers are not finite, or the caliper is not above 0.

    Notes
    -----
    If one group has larger numbers than the other, pairs differ in that direction too, by at most
    the caliper.

    Examples
    --------
    >>> match_pairs([1.0, 5.0, 9.0], [5.5, 1.2, 20.0], 1.0).tolist()
    [[0, 1], [1, 0]]
    """
    from scipy.optimize import linear_sum_assignment

    first, second = (np.asarray(group, dtype=np.float64).ravel() for group in (first, second))
    if not (np.isfinite(first).all() and np.isfinite(second).all() and caliper > 0):
        raise InputError(
            f"Found {int((~np.isfinite(first)).sum() + (~np.isfinite(second)).sum())} unknown "
            f"numbers and a caliper of {caliper}, needed finite numbers and a caliper above 0. "
            "Leave these participants out, or correct the caliper."
        )
    apart = np.abs(first[:, None] - second)
    near = apart <= caliper
    # One more pair outweighs any sum of differences.
    cost = np.where(near, apart, (min(apart.shape) + 1) * caliper)
    rows, columns = linear_sum_assignment(cost)
    within = near[rows, columns]
    return np.stack([rows[within], columns[within]], axis=1)
