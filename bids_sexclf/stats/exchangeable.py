"""Permute the sexes among exchangeable people: within sites, families as whole blocks.

Permuted is the residual of each person's sex on classes of exchangeable people and confounds.
Without confounds the test is exact; with confounds it is the test of Freedman and Lane.
"""

from dataclasses import dataclass

import numpy as np

from bids_sexclf.stats._evidence import check_draws, check_labels
from bids_sexclf.stats.design import dummy_columns, orthonormal
from bids_sexclf.stats.resampling import exchange

LEAST_PEOPLE = 6
"""With fewer people no deal of their sexes is rarer than one in ten."""
LEAST_LEFT = 1e-6
"""Share of the spread of sex below which confounds leave nothing of it."""


@dataclass(frozen=True)
class Deals:
    """The observed sexes, their permutations, and the nuisance basis of every measure.

    Attributes
    ----------
    sex : numpy.ndarray of float, shape (n,)
        Residual on `basis` of 1 for one sex and 0 for the other.
    dealt : numpy.ndarray of float, shape (deals, n)
        The same numbers, permuted.
    basis : numpy.ndarray of float, shape (n, q)
        Orthonormal; spans classes of exchangeable people and confounds.
    classes, family : numpy.ndarray of int, shape (n,)
    leverage : numpy.ndarray of float, shape (n,)
        Share of a person's own measure that the fit of `basis` removes, in [0, 1).
    exact : bool
        Whether permutations leave `basis` unchanged, which is so without confounds.
    """

    sex: np.ndarray
    dealt: np.ndarray
    basis: np.ndarray
    classes: np.ndarray
    family: np.ndarray
    leverage: np.ndarray
    exact: bool

    def residuals(self, measures):
        """Return the residuals of measures on classes and confounds, shape (n, k)."""
        basis = self.basis.astype(measures.dtype)
        return measures - basis @ (basis.T @ measures)


def exchange_classes(sex, stratum=None, group=None):
    """Sort people into classes whose families can exchange their sexes.

    Parameters
    ----------
    sex : array_like of int, shape (n,)
        0 and 1.
    stratum : array_like, shape (n,), optional
        Sites.
    group : array_like, shape (n,), optional
        Families.

    Returns
    -------
    classes : numpy.ndarray of int, shape (n,)
        Equal for families of the same site, size and number of people of their rarer sex: twins
        of one sex, who may resemble each other more, are exchanged only with such twins.
    family : numpy.ndarray of int, shape (n,)

    Examples
    --------
    >>> exchange_classes([0, 0, 1, 1, 0, 1], group=list("aabbcc"))[0].tolist()
    [0, 0, 0, 0, 1, 1]
    """
    sex = np.asarray(sex, dtype=int)
    family = np.arange(sex.size) if group is None else check_labels(group, sex.size, "group")
    site = np.zeros(sex.size, int) if stratum is None else check_labels(stratum, sex.size, "site")
    count = family.max() + 1
    size, n_ones = np.bincount(family), np.bincount(family, weights=sex).astype(int)
    low, high = np.full(count, sex.size), np.full(count, -1)
    np.minimum.at(low, family, site)
    np.maximum.at(high, family, site)
    kinds = np.column_stack(
        [np.where(low == high, low, -1), size, np.minimum(n_ones, size - n_ones)]
    )
    return np.unique(kinds, axis=0, return_inverse=True)[1].ravel()[family], family


def join_families(family, pairs):
    """Join the families of people who are as similar as relatives.

    Parameters
    ----------
    family : array_like, shape (n,)
        Labels of families.
    pairs : array_like of int, shape (k, 2)
        Rows of two people each.

    Returns
    -------
    numpy.ndarray of int, shape (n,)
        Codes 0, 1, ...

    Examples
    --------
    >>> join_families(list("abcd"), [(0, 2)]).tolist()
    [0, 1, 0, 2]
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    family = np.asarray(family)
    code = check_labels(family, family.size, "group")
    first, second = np.asarray(pairs, dtype=int).reshape(-1, 2).T
    links = coo_array((np.ones(first.size), (code[first], code[second])), [code.max() + 1] * 2)
    return connected_components(links, directed=False)[1][code].astype(int)


def find_obstacle(sex, confounds=None, stratum=None, group=None):
    """Return the reason why the sexes of some people cannot be compared, or None.

    Parameters
    ----------
    sex, confounds, stratum, group
        As for :func:`deal_sexes`.

    Returns
    -------
    str or None
    """
    sex = np.asarray(sex, dtype=int)
    if sex.size < LEAST_PEOPLE:
        return f"{sex.size} people, needed at least {LEAST_PEOPLE}"
    n_ones = int(sex.sum())
    if min(n_ones, sex.size - n_ones) < 2:
        return f"{min(n_ones, sex.size - n_ones)} people of one sex, needed at least 2 of each"
    classes, _ = exchange_classes(sex, stratum, group)
    centred = sex - (np.bincount(classes, weights=sex) / np.bincount(classes))[classes]
    if not np.any(np.abs(centred) > 1e-9):
        return "no two people or families of one site whose sexes differ could be exchanged"
    basis = _basis(classes, confounds)
    if sex.size - basis.shape[1] < LEAST_PEOPLE - 1:
        return f"{sex.size} people are too few for {basis.shape[1]} columns of sites and confounds"
    residual_sex = sex - basis @ (basis.T @ sex)
    if residual_sex @ residual_sex < LEAST_LEFT * sex.size:
        return "sites and confounds tell the sex of everyone"
    return None


def _basis(classes, confounds):
    columns = dummy_columns(classes)
    if confounds is not None:
        columns = np.column_stack([columns, confounds])
    return orthonormal(columns)


def deal_sexes(sex, confounds=None, stratum=None, group=None, n=1999, seed=0):
    """Permute the residuals of the sexes on confounds within classes of exchangeable families.

    Parameters
    ----------
    sex : array_like of int, shape (n people,)
        0 and 1.
    confounds : array_like of float, shape (n people, k), optional
        Columns of a linear model, such as :func:`bids_sexclf.stats.design.spline_columns` makes.
    stratum : array_like, shape (n people,), optional
        Sites; sexes are exchanged only within a site.
    group : array_like, shape (n people,), optional
        Families; a family gets the sexes of another of its site and kind, in random order.
    n : int
        Number of permutations.
    seed : int
        Equal seeds give equal permutations for people in equal order.

    Returns
    -------
    Deals

    Notes
    -----
    Freedman and Lane remove confounds from the measures, permute the residuals, add the confounds
    back, and fit sex and confounds again. The added part cancels in this fit, and permuting the
    residuals of measures is equivalent to permuting the residuals of the sexes [1]_ [2]_.

    References
    ----------
    .. [1] Freedman & Lane (1983). J. Bus. Econ. Stat. 1, 292. doi:10.1080/07350015.1983.10509354
    .. [2] Winkler et al. (2014). NeuroImage 92, 381. doi:10.1016/j.neuroimage.2014.01.060
    .. [3] Winkler et al. (2015). NeuroImage 123, 253. doi:10.1016/j.neuroimage.2015.05.092
    """
    n, _ = check_draws(n)
    sex = np.asarray(sex, dtype=float)
    classes, family = exchange_classes(sex, stratum, group)
    basis = _basis(classes, confounds)
    exact = basis.shape[1] == classes.max() + 1
    residual_sex = sex - basis @ (basis.T @ sex)
    deal = exchange(residual_sex, classes, np.arange(sex.size), family)
    rng = np.random.default_rng(seed)
    dealt = np.array([deal(rng) for _ in range(n)])
    leverage = np.minimum(np.sum(basis**2, axis=1), 1 - 1e-9)
    return Deals(residual_sex, dealt, basis, classes, family, leverage, exact)
