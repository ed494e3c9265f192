"""Deal the sexes anew among people who may stand in for each other: within sites, families whole.

What is dealt is the sex of each person, less what classes of exchangeable people and confounds
tell of it. Without confounds the test is exact; with confounds it is that of Freedman and Lane.
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
    """Sexes as they are and as they were dealt, and what is taken out of every measure.

    Attributes
    ----------
    sex : numpy.ndarray of float, shape (n,)
        1 for one sex, 0 for the other, less what `basis` tells of it.
    dealt : numpy.ndarray of float, shape (deals, n)
        The same numbers, dealt anew.
    basis : numpy.ndarray of float, shape (n, q)
        Orthonormal; spans classes of exchangeable people and confounds.
    classes, family : numpy.ndarray of int, shape (n,)
    leverage : numpy.ndarray of float, shape (n,)
        How much of a person's own measure `basis` takes out, in [0, 1).
    exact : bool
        Whether dealing changes nothing of `basis`, as where there are no confounds.
    """

    sex: np.ndarray
    dealt: np.ndarray
    basis: np.ndarray
    classes: np.ndarray
    family: np.ndarray
    leverage: np.ndarray
    exact: bool

    def residuals(self, measures):
        """Take classes and confounds out of measures, shape (n, k)."""
        basis = self.basis.astype(measures.dtype)
        return measures - basis @ (basis.T @ measures)


def exchange_classes(sex, stratum=None, group=None):
    """Sort people into classes whose families may take each other's sexes.

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
        One for families of one site, one size and one number of people of their rarer sex: twins of
        one sex, who may resemble each other more, are exchanged with twins of one sex only.
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
    size, ones = np.bincount(family), np.bincount(family, weights=sex).astype(int)
    low, high = np.full(count, sex.size), np.full(count, -1)
    np.minimum.at(low, family, site)
    np.maximum.at(high, family, site)
    kinds = np.column_stack([np.where(low == high, low, -1), size, np.minimum(ones, size - ones)])
    return np.unique(kinds, axis=0, return_inverse=True)[1].ravel()[family], family


def join_families(family, pairs):
    """Join the families of people who resemble each other like relatives.

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
    """Describe why the sexes of some people cannot be compared; None where they can.

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
    ones = int(sex.sum())
    if min(ones, sex.size - ones) < 2:
        return f"{min(ones, sex.size - ones)} people of one sex, needed at least 2 of each"
    classes, _ = exchange_classes(sex, stratum, group)
    centred = sex - (np.bincount(classes, weights=sex) / np.bincount(classes))[classes]
    if not np.any(np.abs(centred) > 1e-9):
        return "no two people or families of one site whose sexes differ could be exchanged"
    basis = _basis(classes, confounds)
    if sex.size - basis.shape[1] < LEAST_PEOPLE - 1:
        return f"{sex.size} people are too few for {basis.shape[1]} columns of sites and confounds"
    left = sex - basis @ (basis.T @ sex)
    if left @ left < LEAST_LEFT * sex.size:
        return "sites and confounds tell the sex of everyone"
    return None


def _basis(classes, confounds):
    columns = dummy_columns(classes)
    if confounds is not None:
        columns = np.column_stack([columns, confounds])
    return orthonormal(columns)


def deal_sexes(sex, confounds=None, stratum=None, group=None, n=1999, seed=0):
    """Deal sexes within classes of exchangeable families, less what confounds tell of them.

    Parameters
    ----------
    sex : array_like of int, shape (n people,)
        0 and 1.
    confounds : array_like of float, shape (n people, k), optional
        Columns of a linear model, such as :func:`bids_sexclf.stats.design.spline_columns` makes.
    stratum : array_like, shape (n people,), optional
        Sites; nobody takes the sex of a person of another site.
    group : array_like, shape (n people,), optional
        Families; one takes the sexes of another of its site and kind, in a random order within.
    n : int
        Number of deals.
    seed : int
        Equal seeds give equal deals for people in equal order.

    Returns
    -------
    Deals

    Notes
    -----
    Freedman and Lane take confounds out of the measures, permute what is left, add the confounds
    back, and fit sex and confounds again. What is added falls out of that fit, and permuting
    people's remains is permuting the sexes that are left of confounds [1]_ [2]_.

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
    left = sex - basis @ (basis.T @ sex)
    deal = exchange(left, classes, np.arange(sex.size), family)
    rng = np.random.default_rng(seed)
    dealt = np.array([deal(rng) for _ in range(n)])
    leverage = np.minimum(np.sum(basis**2, axis=1), 1 - 1e-9)
    return Deals(left, dealt, basis, classes, family, leverage, exact)
