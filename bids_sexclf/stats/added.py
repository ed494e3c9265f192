"""Test whether the evidence of a model adds information on sex beyond confounds: a score test."""

import numpy as np
from scipy.special import expit, ndtr

from bids_sexclf.stats._evidence import check_evidence, check_labels
from bids_sexclf.stats._recalibration import firth
from bids_sexclf.stats.design import orthonormal
from bids_sexclf.stats.exchangeable import LEAST_PEOPLE
from bids_sexclf.stats.matched import standardise_within

LEAST_INFORMATION = 1.0
"""Sum of p (1 - p) below which confounds alone tell the sex of nearly everyone."""


def adds(target, evidence, confounds, *, fold=None, group=None, participant=None, factor=1.0):
    """Test whether evidence adds information on sex beyond confounds.

    Parameters
    ----------
    target : array_like, shape (rows,)
        1 for the positive class, 0 for the other.
    evidence : array_like of float, shape (rows,)
        Of people outside the training data; positive for the positive class.
    confounds : array_like of float, shape (rows, k)
        Columns of a linear model, such as :func:`bids_sexclf.stats.design.spline_columns` makes.
    fold : array_like, shape (rows,), optional
        The model that computed the evidence, which is standardised within each fold.
    group, participant : array_like, shape (rows,), optional
        Families; participants, whose rows are averaged.
    factor : float
        Factor of the variance; see :func:`bids_sexclf.stats.folds.variance_factor`.

    Returns
    -------
    dict
        ``z`` (about standard normal where the evidence adds nothing), ``p`` (one-sided: it adds),
        ``n`` (participants) and ``reason`` (None, or why z and p are ``nan``).

    Raises
    ------
    InputError
        If rows differ in number, or values are not finite.

    Notes
    -----
    Let p be the probability by a logistic regression on the confounds, and e the residual of the
    evidence on the confounds, weighted by p (1 - p). The efficient score, the sum of
    (target - p) e, has an expected value of zero where the evidence adds nothing. It is divided by
    its standard deviation: the root of the sum of p (1 - p) e², or for families of several members
    of the squared sums over each family [1]_. The association of confounds with sex does not
    matter.

    References
    ----------
    .. [1] Cox & Hinkley (1974). Theoretical Statistics. doi:10.1007/978-1-4899-2887-0
    .. [2] Boos (1992). Am. Stat. 46, 327. doi:10.1080/00031305.1992.10475921
    """
    target, evidence, fold = check_evidence(target, evidence, fold)
    rows = evidence.size
    confounds = np.asarray(confounds, dtype=float).reshape(rows, -1)
    unit = (
        np.arange(rows) if participant is None else check_labels(participant, rows, "participant")
    )
    family = unit if group is None else check_labels(group, rows, "group")
    mean = standardise_within(evidence, np.zeros(rows, int) if fold is None else fold, unit)
    people = np.bincount(unit)
    first = np.unique(unit, return_index=True)[1]
    sums = np.zeros((people.size, confounds.shape[1]))
    np.add.at(sums, unit, confounds)
    return _score(target[first].astype(float), mean, sums / people[:, None], family[first], factor)


def _score(target, evidence, confounds, family, factor):
    n = target.size
    basis = orthonormal(np.column_stack([np.ones(n), confounds])) * np.sqrt(n)
    unknown = {"z": np.nan, "p": np.nan, "n": n}
    if n < LEAST_PEOPLE + basis.shape[1] - 1 or min(target.sum(), n - target.sum()) < 2:
        return unknown | {"reason": f"too few people of each sex ({n} in all) for the confounds"}
    beta = firth(target, basis)
    if beta is None:
        return unknown | {"reason": "no regression of sex on the confounds was found"}
    p = expit(basis @ beta)
    weight = p * (1 - p)
    if weight.sum() < LEAST_INFORMATION:
        return unknown | {"reason": "the confounds alone tell the sex of nearly everyone"}
    root = np.sqrt(weight)
    slope = np.linalg.lstsq(basis * root[:, None], evidence * root, rcond=1e-10)[0]
    residual_evidence = evidence - basis @ slope
    _, family, size = np.unique(family, return_inverse=True, return_counts=True)
    score = np.bincount(family, weights=(target - p) * residual_evidence)
    expected = np.bincount(family, weights=weight * residual_evidence**2)
    # Correct the squared sums of families for the variance removed by the fit of p.
    lacking = size.size / max(size.size - basis.shape[1], 1)
    variance = np.sum(np.where(size == 1, expected, lacking * score**2))
    if not variance > 1e-9 * max(1e-30, np.sum(weight * evidence**2)):
        return unknown | {"reason": "the evidence is a function of the confounds, or constant"}
    z = score.sum() / np.sqrt(variance * factor)
    return {"z": float(z), "p": float(ndtr(-z)), "n": n, "reason": None}
