"""Test region by region whether the voxels differ between the sexes, without a trained model.

Where a region differs, people of one sex resemble each other more than people of different sexes.
The statistic sums the similarity of all pairs of people of different families: positive for pairs
of one sex, negative for others. Permuted sexes give its distribution under the null.
"""

import numpy as np

from bids_sexclf.errors import InputError

SINGLE_PRECISION = 250
"""People from which on sums are made in single precision, whose ties no longer matter."""
FLAT = 1e-6
"""Spread of a voxel, in relation to its largest value, below which it counts as constant."""
NO_VOXEL = "no voxel of the region lies in the brain on the grid of the study"
NO_VALUE = "no voxel of the region has a value in everyone"
CONSTANT = "no voxel of the region varies among these people beyond sites and confounds"


class _Voxels:
    """Similarities of all pairs of people, stored as the voxels over which they are summed.

    Parameters
    ----------
    table : numpy.ndarray of float, shape (people, voxels)
    """

    def __init__(self, table):
        self.table = table

    def forms(self, labels):
        """Sum over all pairs, weighed by the labels of both; shape (deals,)."""
        sums = labels @ self.table
        return np.einsum("ij,ij->i", sums, sums)

    def entries(self, first, second):
        """Return the resemblance of one person and another, for many pairs."""
        return np.einsum("ij,ij->i", self.table[first], self.table[second])

    def square_sum(self):
        """Sum the squares of all entries."""
        return np.sum((self.table.T @ self.table).astype(np.float64) ** 2)

    def respread(self, scale, classes):
        """Multiply each person's voxels by a number, and centre them within classes."""
        wide = self.table * scale[:, None]
        return _Voxels(wide - _class_means(wide, classes))


class _Kernel:
    """The same as a matrix of people by people, which is smaller if there are many voxels.

    Parameters
    ----------
    matrix : numpy.ndarray of float, shape (people, people)
    """

    def __init__(self, matrix):
        self.matrix = matrix

    def forms(self, labels):
        """Sum over all pairs, weighed by the labels of both; shape (deals,)."""
        return np.einsum("ij,ij->i", labels @ self.matrix, labels)

    def entries(self, first, second):
        """Return the resemblance of one person and another, for many pairs."""
        return self.matrix[first, second]

    def square_sum(self):
        """Sum the squares of all entries."""
        return np.sum(self.matrix.astype(np.float64) ** 2)

    def respread(self, scale, classes):
        """Multiply each person's voxels by a number, and centre them within classes."""
        wide = self.matrix * scale[:, None] * scale
        wide = wide - _class_means(wide, classes)
        return _Kernel(wide - _class_means(wide.T, classes).T)


def _class_means(table, classes):
    """Return the mean of its class for each person."""
    sums = np.zeros((classes.max() + 1, table.shape[1]), dtype=table.dtype)
    np.add.at(sums, classes, table)
    return (sums / np.bincount(classes)[:, None].astype(table.dtype))[classes]


class _Form:
    """The sum over pairs of different families, for one set of labels.

    Parameters
    ----------
    labels : numpy.ndarray of float, shape (deals, people)
    family : numpy.ndarray of int, shape (people,)
    leverage : numpy.ndarray of float, shape (people,)
        Share of a person's own measure that was taken out.
    dtype : numpy.dtype
    """

    def __init__(self, labels, family, leverage, dtype):
        self.labels = np.ascontiguousarray(labels, dtype=dtype)
        self.squares = self.labels**2
        self.people = np.arange(family.size)
        mean = np.bincount(family, weights=leverage) / np.bincount(family)
        # Removing common effects makes people of different families less similar.
        # Products within families with this weight bring the expected sum back to zero.
        self.own = (1 / (1 - mean))[family].astype(dtype)
        self.first, self.second = _pairs(family)
        self.products = 2 * self.labels[:, self.first] * self.labels[:, self.second]

    def sums(self, resemblance):
        """Sum the similarity of all pairs of different families, shape (deals,)."""
        alone = resemblance.entries(self.people, self.people) * self.own
        whole = resemblance.forms(self.labels) - self.squares @ alone
        if self.first.size:
            pairs = resemblance.entries(self.first, self.second) * self.own[self.first]
            whole = whole - self.products @ pairs
        return whole

    def norm(self, resemblance):
        """Compute the root of the summed squares of all pairs of different families."""
        total = resemblance.square_sum()
        alone = resemblance.entries(self.people, self.people).astype(np.float64)
        pairs = resemblance.entries(self.first, self.second).astype(np.float64)
        return float(np.sqrt(max(total - alone @ alone - 2 * pairs @ pairs, 0)))


def _pairs(family):
    """List the pairs of different people of one family."""
    members = [np.flatnonzero(family == f) for f in np.flatnonzero(np.bincount(family) > 1)]
    pairs = [
        (i, j) for relatives in members for k, i in enumerate(relatives) for j in relatives[k + 1 :]
    ]
    table = np.array(pairs, dtype=int).reshape(-1, 2)
    return table[:, 0], table[:, 1]


class Regions:
    """Test regions one by one against the same permutations, and correct over all at the end.

    One region is in memory at a time; only its sums are kept.

    Parameters
    ----------
    deals : exchangeable.Deals

    Examples
    --------
    >>> from bids_sexclf.stats.exchangeable import deal_sexes
    >>> rng = np.random.default_rng(1)
    >>> sex = np.arange(40) % 2
    >>> tests = Regions(deal_sexes(sex, n=199))
    >>> for effect in (0.0, 2.0):
    ...     _ = tests.add(rng.standard_normal((40, 9)) + effect * sex[:, None])
    >>> (tests.finish()["p_fwe"] < 0.05).tolist()
    [False, True]
    """

    def __init__(self, deals):
        self.deals = deals
        self.dtype = np.float32 if deals.sex.size > SINGLE_PRECISION else np.float64
        self.observed = _Form(deals.sex[None], deals.family, deals.leverage, self.dtype)
        size = np.bincount(deals.classes)[deals.classes]
        scale = np.sqrt((1 - 1 / size) / (1 - deals.leverage))
        self.scale = scale.astype(self.dtype)
        self.null = _Form(deals.dealt, deals.family, np.where(size > 1, 1 / size, 0), self.dtype)
        self.statistic, self.chance, self.voxels, self.reasons = [], [], [], []

    def add(self, measures):
        """Add one region, and compute its statistics.

        Parameters
        ----------
        measures : array_like of float, shape (people, voxels)
            In any unit. Voxels that are unknown in anyone, or constant, count for nothing.

        Returns
        -------
        int
            Number of voxels used.
        """
        standard, reason = standardise(measures, self.deals, self.dtype)
        people, voxels = standard.shape
        self.voxels.append(voxels)
        alike = _Voxels(standard) if voxels <= people else _Kernel(standard @ standard.T)
        norm = self.observed.norm(alike) if reason is None else 0.0
        if not norm > 0:
            self.reasons.append(reason or CONSTANT)
            self.statistic.append(np.nan)
            self.chance.append(np.full(len(self.deals.dealt), -np.inf, dtype=self.dtype))
            return voxels
        self.reasons.append(None)
        self.statistic.append(float(self.observed.sums(alike)[0]) / norm)
        if not self.deals.exact:
            # Rescale residuals to the variance of the errors before confounds were removed.
            alike = alike.respread(self.scale, self.deals.classes)
        self.chance.append(self.null.sums(alike) / self.dtype(norm))
        return voxels

    def finish(self):
        """Correct over all regions added.

        Returns
        -------
        dict
            ``statistic`` (without unit; about 0 where sexes do not differ), ``p`` (uncorrected),
            ``p_fwe`` (corrected over all regions by the step-down maximum of Westfall and Young),
            ``n_voxels``, and ``reason`` (None, or why there is no number); each of shape
            (regions,). Regions that could not be tested have ``nan``.
        """
        statistic = np.array(self.statistic, dtype=float)
        tested = np.isfinite(statistic)
        p, p_fwe = np.full((2, statistic.size), np.nan)
        if tested.any():
            chance = np.array(self.chance)[tested]
            p[tested], p_fwe[tested] = step_down(statistic[tested], chance)
        return {
            "statistic": statistic,
            "p": p,
            "p_fwe": p_fwe,
            "n_voxels": np.array(self.voxels, dtype=int),
            "reason": self.reasons,
        }


def standardise(measures, deals, dtype=np.float64):
    """Remove classes and confounds from each voxel, and scale it to unit variance over people.

    Parameters
    ----------
    measures : array_like of float, shape (people, voxels)
    deals : exchangeable.Deals
    dtype : numpy.dtype
        Of the sums.

    Returns
    -------
    standard : numpy.ndarray of float, shape (people, kept voxels)
    reason : str or None
        Why no voxel can be used.

    Raises
    ------
    InputError
        If the number of rows differs from the number of people.
    """
    measures = np.asarray(measures)
    if measures.ndim != 2 or len(measures) != deals.sex.size:
        raise InputError(
            f"Found measures of shape {measures.shape} for {deals.sex.size} people, needed one row "
            "per person. Take measures and sexes from the same table."
        )
    if not measures.shape[1]:
        return np.empty(measures.shape), NO_VOXEL
    is_known = np.isfinite(measures).all(axis=0)
    if not is_known.any():
        return np.empty((len(measures), 0)), NO_VALUE
    measures = measures if is_known.all() else measures[:, is_known]
    # Deviations from one person keep constant voxels at exactly 0.
    residuals = np.subtract(measures, measures[0], dtype=np.promote_types(measures.dtype, dtype))
    residuals = deals.residuals(residuals.astype(dtype, copy=False))
    spread = np.sqrt(np.einsum("ij,ij->j", residuals, residuals) / len(residuals))
    varies = spread > FLAT * np.maximum(np.abs(measures).max(axis=0), np.finfo(np.float32).tiny)
    if not varies.any():
        return np.empty((len(measures), 0)), CONSTANT
    residuals = residuals if varies.all() else residuals[:, varies]
    return residuals / spread[varies].astype(dtype), None


def step_down(statistic, chance, slack=None):
    """Compute step-down corrected p-values of several tests by their maximum.

    Parameters
    ----------
    statistic : numpy.ndarray of float, shape (tests,)
        Large ones speak against the null.
    chance : numpy.ndarray of float, shape (tests, deals)
        The same statistics of dealt labels; all tests share the deals.
    slack : float, optional
        Statistics that differ by less are equal; by default 1e-9 of the largest, or 1e-5 in single
        precision.

    Returns
    -------
    p : numpy.ndarray of float, shape (tests,)
        Uncorrected, in [1 / (deals + 1), 1].
    p_fwe : numpy.ndarray of float, shape (tests,)
        It controls the family-wise error in the strong sense. It is never below p, and never
        smaller for a smaller statistic.

    References
    ----------
    .. [1] Westfall & Young (1993). Resampling-Based Multiple Testing. Wiley.
    .. [2] Ge, Dudoit & Speed (2003). Test 12, 1. doi:10.1007/BF02595811

    Examples
    --------
    >>> p, p_fwe = step_down(np.array([1.0, 3.0]), np.array([[0.0, 2.0, 0.5], [2.0, 0.0, 0.5]]))
    >>> p.tolist(), p_fwe.tolist()
    ([0.5, 0.25], [0.5, 0.25])
    """
    if slack is None:
        slack = (1e-5 if chance.dtype == np.float32 else 1e-9) * max(1e-30, np.abs(chance).max())
    deals = chance.shape[1]
    p = (1 + np.sum(chance >= statistic[:, None] - slack, axis=1)) / (deals + 1)
    order = np.argsort(-statistic, kind="stable")
    largest = np.maximum.accumulate(chance[order[::-1]], axis=0)[::-1]
    reached = (1 + np.sum(largest >= statistic[order, None] - slack, axis=1)) / (deals + 1)
    p_fwe = np.empty_like(p)
    p_fwe[order] = np.maximum.accumulate(reached)
    return p, p_fwe
