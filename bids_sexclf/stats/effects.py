"""Effect sizes of the difference between the sexes, in standard deviations, with intervals."""

import numpy as np

from bids_sexclf.errors import InputError
from bids_sexclf.stats._evidence import check_draws, check_labels
from bids_sexclf.stats.design import dummy_columns, orthonormal

PORTION = 64
"""Measures whose intervals are computed at once."""


def cohens_d(measures, sex, confounds=None, stratum=None, group=None, level=0.95):
    """Compute Cohen's d of each measure, adjusted for sites and confounds, with its interval.

    Parameters
    ----------
    measures : array_like of float, shape (people, k)
        In any unit, such as the mean of a map in each region.
    sex : array_like of int, shape (people,)
        0 and 1.
    confounds : array_like of float, shape (people, c), optional
        Columns of a linear model.
    stratum : array_like, shape (people,), optional
        Sites.
    group : array_like, shape (people,), optional
        Families, left out whole.
    level : float
        Coverage, in (0, 1).

    Returns
    -------
    d, low, high : numpy.ndarray of float, shape (k,)
        Coefficient of sex in a linear model with sites and confounds, divided by the residual
        standard deviation of that model; positive where people with sex 1 have larger values.
        ``nan`` where a measure is unknown for anyone or does not vary, or where sites and
        confounds determine the sex.

    Raises
    ------
    InputError
        If the number of rows differs from the number of people.

    Notes
    -----
    The standard error is the jackknife's, which leaves out one family after the other, and the
    interval has Student's t with as many degrees of freedom as families less columns [1]_ [2]_.

    References
    ----------
    .. [1] Bell & McCaffrey (2002). Surv. Methodol. 28, 169.
    .. [2] MacKinnon, Nielsen & Webb (2023). J. Appl. Econom. 38, 671. doi:10.1002/jae.2969

    Examples
    --------
    >>> d, low, high = cohens_d([[1.0], [2.0], [3.0], [2.0], [3.0], [4.0]], [0, 0, 0, 1, 1, 1])
    >>> float(d[0]), bool(low[0] < 0 < high[0])
    (1.0, True)
    """
    _, level = check_draws(1, level)
    measures, sex = np.asarray(measures, dtype=float), np.asarray(sex, dtype=float)
    if measures.ndim != 2 or len(measures) != sex.size:
        raise InputError(
            f"Found measures of shape {measures.shape} for {sex.size} people, needed one row per "
            "person. Take measures and sexes from the same table."
        )
    family = np.arange(sex.size) if group is None else check_labels(group, sex.size, "group")
    columns = np.ones((sex.size, 1)) if stratum is None else dummy_columns(stratum)
    if confounds is not None:
        columns = np.column_stack([columns, confounds])
    bounds = np.full((3, measures.shape[1]), np.nan)
    basis = orthonormal(columns)
    residual_sex = sex - basis @ (basis.T @ sex)
    if residual_sex @ residual_sex < 1e-6 * sex.size or sex.size - basis.shape[1] < 3:
        return tuple(bounds)
    design = np.column_stack([residual_sex / np.sqrt(residual_sex @ residual_sex), basis])
    centred = measures - measures[:1]
    centred = centred - centred.mean(axis=0)
    spread = np.sqrt(np.mean(centred**2, axis=0))
    largest = np.abs(np.nan_to_num(measures)).max(axis=0)
    good = np.flatnonzero(np.isfinite(spread) & (spread > 1e-9 * np.maximum(largest, 1e-300)))
    for start in range(0, good.size, PORTION):
        portion = good[start : start + PORTION]
        whole, without = _differences(centred[:, portion] / spread[portion], sex, design, family)
        bounds[:, portion] = _interval(whole, without, design.shape[1], level)
    return tuple(bounds)


def _differences(measures, sex, design, family):
    """Compute d of all people, shape (k,), and without each family, shape (families, k)."""
    # The model of each part contains sex itself; its residual on confounds differs by part.
    design = np.column_stack([sex - sex.mean(), design[:, 1:]])
    count, width = family.max() + 1, design.shape[1]
    squares = np.zeros((count, width, width))
    products = np.zeros((count, width, measures.shape[1]))
    powers = np.zeros((count, measures.shape[1]))
    np.add.at(squares, family, design[:, :, None] * design[:, None, :])
    np.add.at(products, family, design[:, :, None] * measures[:, None, :])
    np.add.at(powers, family, measures**2)
    people = np.bincount(family)
    whole = _ratio(*(one.sum(axis=0)[None] for one in (squares, products, powers)), people.sum())
    sums_without = [one.sum(axis=0) - one for one in (squares, products, powers)]
    return whole[0], _ratio(*sums_without, people.sum() - people)


def _ratio(squares, products, powers, people):
    """Divide the coefficient of sex by the residual standard deviation, for many parts at once."""
    inverse = np.linalg.pinv(squares, rcond=1e-10, hermitian=True)
    coefficients = inverse @ products
    residual_squares = powers - np.sum(products * coefficients, axis=1)
    rank = np.linalg.matrix_rank(squares, tol=1e-10 * np.abs(squares).max(), hermitian=True)
    freedom = np.maximum(np.atleast_1d(people) - rank, 1)
    variance = residual_squares / freedom[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(variance > 1e-12, coefficients[:, 0] / np.sqrt(variance), np.nan)


def _interval(whole, without, width, level):
    """Return d and the bounds of its interval, shape (3, k)."""
    from scipy.stats import t

    count = len(without)
    error = np.sqrt((count - 1) / count * np.sum((without - without.mean(axis=0)) ** 2, axis=0))
    reach = t.ppf((1 + level) / 2, max(count - width, 1)) * error
    return np.array([whole, whole - reach, whole + reach])
